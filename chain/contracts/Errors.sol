// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Every reason for which the contract refuses a call, in one place.
library Errors {
    // Operators

    /// @notice No operator has this id.
    error Datanet_OperatorUnknown(uint32 operator);
    /// @notice The operator has retired: it takes no deposits any more.
    error Datanet_OperatorRetired(uint32 operator);
    /// @notice Only the operator's own account may do this.
    error Datanet_NotOperatorAccount(uint32 operator, address caller);
    /// @notice This deployment is gated and the caller is not its registrar.
    error Datanet_NotRegistrar(address caller);
    /// @notice This deployment is gated and the registrar has not admitted the caller.
    error Datanet_NotAdmitted(address caller);
    /// @notice A field of Timing breaks its bound; `field` is its name in ASCII.
    error Datanet_TimingOutOfBounds(bytes32 field);
    /// @notice The hash of a server or device key must not be zero.
    error Datanet_SpkiHashZero();
    /// @notice The payout address must not be zero.
    error Datanet_PayoutZero();
    /// @notice The metadata URI is longer than the contract stores.
    error Datanet_MetadataTooLong(uint256 length, uint256 limit);

    // BLS keys

    /// @notice A key is 128 bytes and a proof 256 bytes in EIP-2537 coding.
    error Datanet_BlsCodingLength(uint256 keyLength, uint256 proofLength);
    /// @notice The point at infinity is nobody's key.
    error Datanet_BlsKeyInfinity();
    /// @notice The key was used with this operator before.
    error Datanet_BlsKeyUsed(uint32 operator, bytes32 pkHash);
    /// @notice The proof of possession doesn't verify for this key, account, contract, chain and
    /// operator.
    error Datanet_PossessionInvalid(uint32 operator, address account);
    /// @notice This chain lacks a precompile of EIP-2537, or the precompile refused our own input.
    error Datanet_PrecompileFailed(address precompile);

    // Deposits

    /// @notice The token address holds no contract.
    error Datanet_TokenMissing(address token);
    /// @notice The zero address can't hold a deposit.
    error Datanet_ConsumerZero();
    /// @notice Parts must name strictly increasing operators.
    error Datanet_SplitOrder(uint32 previous, uint32 operator);
    /// @notice The parts sum to nothing.
    error Datanet_DepositZero();
    /// @notice The channel would reach 2^96 base units.
    error Datanet_DepositTooLarge(uint32 operator, address consumer, uint256 deposit);
    /// @notice The token moved another amount than was asked for.
    error Datanet_TransferMismatch(uint256 expected, uint256 received);

    // Device keys and signed requests

    /// @notice A disabled device key stays disabled.
    error Datanet_DeviceKeyDisabled(address consumer, bytes32 spkiHash);
    /// @notice The signed request is past its deadline.
    error Datanet_RequestExpired(uint64 deadline);
    /// @notice The request was signed by another account than it names.
    error Datanet_SignerMismatch(address named, address signer);

    // Clock

    /// @notice The call belongs into the operator's open window; `phase` is the second of its
    /// period now.
    error Datanet_NotOpen(uint32 operator, uint256 phase);
    /// @notice Blocks are taken in the operator's commitment window only.
    error Datanet_NotCommitment(uint32 operator, uint256 phase);

    // Merchants

    /// @notice No merchant of the operator has this id, or it has left.
    error Datanet_MerchantNotActive(uint32 operator, uint32 merchant);
    /// @notice Only the merchant's account (for a lock also the operator's) may do this.
    error Datanet_NotMerchantAccount(uint32 operator, uint32 merchant, address caller);
    /// @notice The account is a merchant of the operator, or has left it in the present block.
    error Datanet_MerchantKnown(uint32 operator, address account);
    /// @notice An approval must end before the open window does.
    error Datanet_ApprovalTooLong(uint64 validUntil, uint256 windowEnds);
    /// @notice The key is not this merchant's.
    error Datanet_BlsKeyMismatch(uint32 operator, uint32 merchant);
    /// @notice Merchant 1 stays while its operator is active.
    error Datanet_OperatorMustStay(uint32 operator);
    /// @notice The merchant has missed fewer blocks than its operator's eta.
    error Datanet_NotMissingLongEnough(uint32 operator, uint32 merchant, uint64 missed);
    /// @notice The merchant didn't sign the last block.
    error Datanet_MerchantMissing(uint32 operator, uint32 merchant);
    /// @notice The merchant isn't missing, so it can't return.
    error Datanet_MerchantNotMissing(uint32 operator, uint32 merchant);
    /// @notice The merchant joined after the last block, which has no leaf for it.
    error Datanet_JoinedLater(uint32 operator, uint32 merchant);

    // Leaves and locks

    /// @notice The leaf has more entries or shards than the contract serves, or no such shard.
    error Datanet_LeafTooLarge(uint256 entries, uint16 shard, uint16 shardCount);
    /// @notice Entries must rise by consumer and be above zero; `index` breaks it.
    error Datanet_EntryOrder(uint256 index);
    /// @notice Another leaf of the same block has another number of shards.
    error Datanet_ShardCountMismatch(uint16 expected, uint16 shardCount);
    /// @notice The leaf is not under the root of the last block.
    error Datanet_LeafNotInBlock(bytes32 leaf, bytes32 root);
    /// @notice The shard was locked or withdrawn in this block already.
    error Datanet_ShardSettled(uint32 operator, uint32 merchant, uint16 shard);
    /// @notice A lock of an older block is there; unlock it first.
    error Datanet_LockStale(uint32 operator, uint32 merchant);
    /// @notice The lock belongs to the last block, or an exit would leave it behind.
    error Datanet_LockLive(uint32 operator, uint32 merchant);
    /// @notice This leaf is not what is locked for the shard.
    error Datanet_LockMismatch(bytes32 locked, bytes32 leaf);
    /// @notice The vouchers seen don't cover a new lock of this consumer.
    error Datanet_NotCovered(uint32 operator, address consumer, uint256 needed, uint256 covered);

    // Blocks

    /// @notice A block was notarized in this period already.
    error Datanet_PeriodUsed(uint32 operator, uint64 period);
    /// @notice A root must not be zero.
    error Datanet_RootZero();
    /// @notice tau must lie after the start of the period and not in the future.
    error Datanet_TauOutOfWindow(uint64 tau);
    /// @notice Ids must rise strictly, from 2 on.
    error Datanet_MerchantOrder(uint32 previous, uint32 merchant);
    /// @notice A merchant goes missing only after all its leaves were locked or withdrawn.
    error Datanet_NotLocked(uint32 operator, uint32 merchant);
    /// @notice Keys are 128 bytes per named merchant, a signature 256.
    error Datanet_BlockCodingLength(uint256 keysLength, uint256 signatureLength);
    /// @notice With everybody gone nobody could sign.
    error Datanet_NobodySigns(uint32 operator);
    /// @notice The signature is not by exactly those who don't miss the block.
    error Datanet_BlockSignatureInvalid(uint32 operator, uint64 k);

    // Vouchers and payments

    /// @notice A voucher above the channel's deposit is worth nothing.
    error Datanet_VoucherAboveDeposit(uint32 operator, address consumer, uint96 amount);
    /// @notice Payments to the zero address are refused.
    error Datanet_RecipientZero();
    /// @notice Nothing waits for the caller.
    error Datanet_NothingToClaim(address account);

    // Shifts

    /// @notice A shift is from one operator to another.
    error Datanet_ShiftToSelf(uint32 operator);
    /// @notice One shift at a time per channel.
    error Datanet_ShiftPending(uint32 from, address consumer);
    /// @notice No shift is pending.
    error Datanet_ShiftUnknown(uint32 from, address consumer);
    /// @notice The amount is zero or more than what no voucher has spent.
    error Datanet_ShiftAmount(uint96 amount, uint256 available);
    /// @notice A challenge has succeeded not long ago.
    error Datanet_ShiftCooling(uint64 until);
    /// @notice No voucher takes anything from the pending shift.
    error Datanet_ChallengeFailed(uint32 from, address consumer);
    /// @notice The challenge runs until `challengeEnds`, and a block of a later period must be
    /// notarized.
    error Datanet_ShiftTooEarly(uint256 challengeEnds, uint64 period);

    // Activity

    /// @notice The activity begins before the last one ended, ends before it begins or in the
    /// future.
    error Datanet_ActivityTime(uint64 start, uint64 end, uint64 lastEnd);
    /// @notice More is said to be paid than was ever deposited, or no channel exists.
    error Datanet_ActivityPaid(uint96 paid, uint256 deposit);
    /// @notice No verifier has this number.
    error Datanet_VerifierUnknown(uint8 verifier);
    /// @notice The verifier doesn't take the evidence.
    error Datanet_EvidenceRefused(uint8 verifier);

    // Verifiers of evidence

    /// @notice Attestors must rise strictly, and the threshold be from 1 to their number.
    error Datanet_AttestorsMalformed();
    /// @notice Fewer of the operator's attestors signed than its threshold, or not in rising order.
    error Datanet_NotAttested(uint32 operator);
    /// @notice The point is not on the curve P-256.
    error Datanet_DevicePointInvalid();
}

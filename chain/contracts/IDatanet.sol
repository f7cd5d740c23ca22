// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IActivities} from "./IActivities.sol";
import {
    Channel,
    DeviceKey,
    DeviceKeyState,
    Leaf,
    Merchant,
    Operator,
    OperatorInfo,
    Shift,
    ShiftRequest,
    SignedVoucher,
    Split,
    Timing
} from "./Types.sol";

/// @title Datanet: escrow of consumers with the operators of access points.
/// @notice One contract holds the deposits for all operators, one channel per (operator, consumer).
/// Merchants, the owners of access points, are paid from them by what consumers' vouchers and the
/// operator's notarized blocks say. Nobody owns it: it has no pause, no upgrade and no power over
/// funds. A registrar, where one is set, only admits new operators.
/// @dev Typed data is signed in the EIP-712 domain ("PayPlace", "1", chainId, this contract). In
/// each channel withdrawn + reserved <= highest voucher <= deposit, always. "Open" is the
/// operator's open window: phases (gamma + delta, beta - delta) of its period.
interface IDatanet {
    /// @notice As in Errors, which says what it means. Raised by the companion contract that holds
    /// the curve and passed on; declared here so that callers' interfaces know it.
    error Datanet_PrecompileFailed(address precompile);

    // Operators

    /// @notice The registrar lets `account` register one operator.
    event OperatorAdmitted(address indexed account);
    event OperatorRegistered(
        uint32 indexed operator,
        address indexed account,
        address payout,
        bytes32 serverSpkiHash,
        string metadataURI,
        Timing timing
    );
    /// @notice The operator's record after an update. With a non-zero `nextServerSpkiHash` both
    /// hashes are valid before `spkiChangesAt`, and only the next one from then on.
    event OperatorUpdated(
        uint32 indexed operator,
        string metadataURI,
        bytes32 serverSpkiHash,
        bytes32 nextServerSpkiHash,
        uint64 spkiChangesAt
    );
    event OperatorRetired(uint32 indexed operator);

    // Channels

    /// @notice `amount` was added for `consumer`; its deposit with the operator is `newDeposit`
    /// now.
    event Deposited(
        uint32 indexed operator, address indexed consumer, uint96 amount, uint128 newDeposit
    );
    /// @notice A shift changed a channel; all its numbers.
    event ChannelUpdated(
        uint32 indexed operator,
        address indexed consumer,
        uint128 deposit,
        uint128 reserved,
        uint128 highestVoucher,
        uint128 withdrawn
    );
    /// @notice A voucher raised the highest amount that the contract has seen.
    event VoucherSeen(uint32 indexed operator, address indexed consumer, uint96 amount);

    // Device keys

    event DeviceKeySet(address indexed consumer, bytes32 indexed spkiHash, bool enabled);

    // Merchants and blocks

    /// @notice A payee joined; the operator itself is merchant 1. `blsKey` is in EIP-2537 coding.
    event MerchantRegistered(
        uint32 indexed operator, uint32 indexed merchant, address indexed account, bytes blsKey
    );
    event MerchantExited(uint32 indexed operator, uint32 indexed merchant, uint64 k, bool forced);
    event Notarized(
        uint32 indexed operator,
        uint64 indexed k,
        uint64 indexed period,
        bytes32 root,
        uint64 tau,
        uint32[] newlyMissing,
        uint32[] returning
    );
    /// @notice The entries of a leaf of block k were reserved for an absent merchant.
    event Locked(
        uint32 indexed operator,
        uint32 indexed merchant,
        uint16 shard,
        uint64 k,
        bytes32 leaf,
        bytes32[] entries
    );
    event Unlocked(uint32 indexed operator, uint32 indexed merchant, uint16 shard, bytes32 leaf);
    /// @notice A shard was paid: to the merchant or, where `Credited` follows, into its credit.
    /// `entries` say by how much each consumer's `withdrawn` grew and, if `fromLock`, its
    /// `reserved` fell; k is the last block.
    event Withdrawn(
        uint32 indexed operator,
        uint32 indexed merchant,
        uint16 shard,
        uint64 k,
        uint256 total,
        bool fromLock,
        bytes32[] entries
    );
    /// @notice A withdrawal paid less than the block says: a sign of a dishonest block.
    event ShortPaid(
        uint32 indexed operator,
        uint32 indexed merchant,
        address indexed consumer,
        uint96 due,
        uint96 paid
    );
    /// @notice A forced payment waits for `account` to claim it.
    event Credited(address indexed account, uint256 amount);
    event Claimed(address indexed account, address indexed to, uint256 amount);

    // Shifts

    /// @notice `period`: the shift waits for a block of a later one.
    event ShiftRequested(
        uint32 indexed from,
        uint32 indexed to,
        address indexed consumer,
        uint96 amount,
        uint64 requestedAt,
        uint64 period,
        uint96 bond
    );
    /// @notice A voucher lowered a pending shift to `amountLeft`; zero ends it.
    event ShiftChallenged(
        uint32 indexed from,
        address indexed consumer,
        address indexed challenger,
        uint96 amountLeft
    );
    event ShiftFinalized(
        uint32 indexed from, uint32 indexed to, address indexed consumer, uint96 amount
    );
    event ShiftCancelled(uint32 indexed from, address indexed consumer);

    /// @notice The ERC-20 token of every deposit.
    function token() external view returns (IERC20);

    /// @notice Who admits operators; the zero address where anyone may register.
    function registrar() external view returns (address);

    /// @notice The EIP-712 domain separator under which all requests to this contract are signed.
    function domainSeparator() external view returns (bytes32);

    /// @notice The nonce that `account`'s next signed request must carry.
    function nonces(address account) external view returns (uint256);

    /// @notice How many operators have registered; their ids run from 1 to this number.
    function operatorCount() external view returns (uint32);

    /// @notice The whole record of an operator. Reverts where the id is unknown.
    function operator(uint32 operatorId) external view returns (Operator memory);

    /// @notice Whether a server that shows the key with this SHA-256 may speak for the operator
    /// now.
    /// @dev During a change both keys may. Retirement doesn't matter: running sessions are still
    /// served.
    function isServerKey(uint32 operatorId, bytes32 spkiHash) external view returns (bool);

    /// @notice A payee of an operator; all zero where the id is unknown.
    function merchant(uint32 operatorId, uint32 merchantId) external view returns (Merchant memory);

    /// @notice What `consumer` has with an operator; all zero where nothing was ever deposited.
    function channel(uint32 operatorId, address consumer) external view returns (Channel memory);

    /// @notice The id under which an account is or was a merchant of an operator last; zero if
    /// never.
    function merchantIdOf(uint32 operatorId, address account) external view returns (uint32);

    /// @notice The hash of the leaf that is locked for a merchant's shard; zero where none is.
    function lockOf(uint32 operatorId, uint32 merchantId, uint16 shard)
        external
        view
        returns (bytes32);

    /// @notice What `account` can claim.
    function creditOf(address account) external view returns (uint256);

    /// @notice The shift of a consumer away from an operator; pending while requestedAt isn't zero.
    function shift(uint32 from, address consumer) external view returns (Shift memory);

    /// @notice What a request for a shift must put down, in the token's base units.
    function shiftBond() external view returns (uint96);

    /// @notice Where consumers publish what they used; made with this contract.
    function activities() external view returns (IActivities);

    /// @notice What `consumer` said about the TLS key with this SHA-256 of its
    /// SubjectPublicKeyInfo.
    function deviceKey(address consumer, bytes32 spkiHash) external view returns (DeviceKeyState);

    /// @notice Lets `account` register one operator; for the registrar of a gated deployment.
    function admitOperator(address account) external;

    /// @notice Registers the caller as an operator, and as merchant 1 of it.
    /// @param info payout, server key hash and URI (at most 256 bytes).
    /// @param timing g0 not in the future, delta >= 1, gamma >= 3 delta, beta >= 2 (gamma + 2
    /// delta), challenge >= beta + gamma + 2 delta, eta >= 1.
    /// @param blsKey BLS12-381 G1 public key, 128 bytes in EIP-2537 coding.
    /// @param pop signature (G2, 256 bytes) of the POP ciphersuite, tag
    /// BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_, over key (48 bytes, compressed) ‖ caller (20) ‖
    /// this contract (20) ‖ chain id (32) ‖ id (4), where id is operatorCount() + 1. If another
    /// operator took that id meanwhile, sign anew.
    /// @return operatorId the new id.
    function registerOperator(
        OperatorInfo calldata info,
        Timing calldata timing,
        bytes calldata blsKey,
        bytes calldata pop
    ) external returns (uint32 operatorId);

    /// @notice Changes the URI at once, and the server key after one beta; meanwhile both keys are
    /// valid, since devices pin it. Naming the present key again withdraws an announced change.
    function updateOperator(uint32 operatorId, string calldata metadataURI, bytes32 serverSpkiHash)
        external;

    /// @notice Ends new deposits, shifts in and registrations, for good. Everything else goes on.
    function retireOperator(uint32 operatorId) external;

    /// @notice Deposits for the caller. Needs an allowance for the sum of all parts.
    /// @param parts strictly increasing by operator, all of them active, with a sum above zero. A
    /// channel's deposit stays below 2^96.
    function deposit(Split[] calldata parts) external;

    /// @notice Deposits the caller's tokens for `consumer`.
    function depositFor(address consumer, Split[] calldata parts) external;

    /// @notice Deposits for the caller with an ERC-2612 permit for the sum of all parts.
    /// @dev A permit that someone else already handed in is no error: the allowance decides.
    function depositWithPermit(
        Split[] calldata parts,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice The caller enables or disables one of its devices' TLS keys. Disabled is final.
    function setDeviceKey(bytes32 spkiHash, bool enabled) external;

    /// @notice The same, signed by the consumer and sent by anyone.
    /// @param request the DeviceKey typed data; its nonce is nonces(consumer).
    /// @param signature 65 bytes r ‖ s ‖ v by the consumer's key; low s, v 27 or 28. Contract
    /// accounts can't sign: a code account could take an accepted signature back.
    function setDeviceKeyBySig(DeviceKey calldata request, bytes calldata signature) external;

    /// @notice The caller joins an operator as a merchant. Open.
    /// @param blsKey as in registerOperator.
    /// @param pop as in registerOperator, with this operator's id.
    /// @param validUntil end of the operator's approval; Unix seconds, not after the open window.
    /// @param signature 65 bytes r ‖ s ‖ v by the operator's account over the MerchantApproval
    /// typed data of the caller, keccak256(blsKey) and validUntil.
    /// @return merchantId the next id. Block k + 1 is the first that owes the merchant anything.
    /// @dev An account that has left comes back under a new id after the next block, with any key
    /// that was never another account's.
    function register(
        uint32 operatorId,
        bytes calldata blsKey,
        bytes calldata pop,
        uint64 validUntil,
        bytes calldata signature
    ) external returns (uint32 merchantId);

    /// @notice Reserves what the last block owes a merchant, so that the next can go without its
    /// signature. At any time, by the operator's or the merchant's account.
    /// @param leaf a leaf of the merchant in the last block that was neither locked nor withdrawn.
    /// @param proof sibling hashes from the leaf up; pairs are hashed in sorted order.
    /// @param vouchers what makes vouchers seen cover all entries and what is reserved already.
    /// Those that aren't higher than what was seen are ignored.
    /// @dev Refused while the merchant is missing or has a lock of an older block.
    function lock(Leaf calldata leaf, bytes32[] calldata proof, SignedVoucher[] calldata vouchers)
        external;

    /// @notice Drops the lock of an older block of a merchant that has signed a later one since. At
    /// any time, by anyone.
    function unlock(Leaf calldata leaf) external;

    /// @notice Notarizes block k + 1. By the operator's account in phases (0, gamma), once per
    /// period.
    /// @param root of the tree of leaves; not zero.
    /// @param tau when the block was made: after the period's start, not in the future.
    /// @param newlyMissing merchants that signed the last block and don't sign this one, strictly
    /// increasing. All their leaves of the last block must be locked or withdrawn, unless they
    /// joined after it.
    /// @param returning merchants that were missing and sign again, strictly increasing.
    /// @param keys the keys of both, in that order, 128 bytes each.
    /// @param signature 256 bytes: the sum of the signatures (tag
    /// BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_) of all Active merchants that aren't missing,
    /// over the 32-byte digest of the Block typed data.
    function notarize(
        uint32 operatorId,
        bytes32 root,
        uint64 tau,
        uint32[] calldata newlyMissing,
        uint32[] calldata returning,
        bytes calldata keys,
        bytes calldata signature
    ) external;

    /// @notice Pays the caller what is locked for it, else what the last block owes it. Open.
    /// @param leaf the locked leaf where the caller is missing or was locked in the last block;
    /// else a leaf of the last block, once.
    /// @param proof as in lock; unused for a locked leaf.
    /// @param vouchers as in lock; unused for a locked leaf. Each entry is paid up to what vouchers
    /// cover beyond the reserves of others, `ShortPaid` tells when that is less.
    /// @param to who is paid; not zero.
    function withdraw(
        Leaf calldata leaf,
        bytes32[] calldata proof,
        SignedVoucher[] calldata vouchers,
        address to
    ) external;

    /// @notice The caller leaves an operator, and gives up what it hasn't withdrawn. Open.
    /// @param blsKey the merchant's key; unused while it is missing.
    /// @dev Refused with a lock left, and to merchant 1 of an active operator. Withdraw in the same
    /// multicall.
    function exit(uint32 operatorId, uint32 merchantId, bytes calldata blsKey) external;

    /// @notice Puts out a merchant that has missed eta blocks in a row, by the operator's account.
    /// Open. What was locked becomes credit of the merchant's account.
    /// @param leaf a locked leaf of the merchant; with several locks, one call for each. Only the
    /// ids count where nothing is locked.
    /// @param account the merchant's.
    function forceExit(Leaf calldata leaf, address account) external;

    /// @notice Pays the caller's credit to `to`.
    function claim(address to) external;

    /// @notice The caller asks to move unspent deposit from one operator to another. Takes the bond
    /// from the caller's allowance.
    /// @param amount at most deposit - highest voucher of the channel; above zero.
    /// @dev One at a time per channel, and none for a challenge period after a challenge succeeded.
    function requestShift(uint32 from, uint32 to, uint96 amount) external;

    /// @notice The same, signed by the consumer and sent by anyone; the bond is the consumer's.
    /// @param request the ShiftRequest typed data; its nonce is nonces(consumer).
    /// @param signature as in setDeviceKeyBySig.
    function requestShiftBySig(ShiftRequest calldata request, bytes calldata signature) external;

    /// @notice Lowers a pending shift to what a voucher leaves unspent, by anyone. The challenger
    /// gets the bond.
    function challengeShift(uint32 from, SignedVoucher calldata voucher) external;

    /// @notice Completes a shift after its challenge period, and after a block of a period that
    /// began more than delta after the request (or 90 days without one). In the open window of
    /// `from`, by anyone. The bond goes back.
    function finalizeShift(uint32 from, address consumer) external;

    /// @notice The caller takes its pending shift back, and the bond.
    function cancelShift(uint32 from) external;

    /// @notice Several calls of the same caller in one transaction; all or none.
    /// @param data ABI-encoded calls of this contract.
    function multicall(bytes[] calldata data) external returns (bytes[] memory results);
}

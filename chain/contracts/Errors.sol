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
}

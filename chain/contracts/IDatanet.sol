// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {
    Channel,
    DeviceKey,
    DeviceKeyState,
    Merchant,
    Operator,
    OperatorInfo,
    Split,
    Timing
} from "./Types.sol";

/// @title Datanet: escrow of consumers with the operators of access points.
/// @notice One contract holds the deposits for all operators, one channel per (operator, consumer).
/// It knows who the operators are and which server key they show, who has deposited how much, and
/// which TLS keys of devices a consumer enabled or took back. Nobody owns it: it has no pause, no
/// upgrade and no power over funds. A registrar, where one is set, only admits new operators.
/// @dev Typed data is signed in the EIP-712 domain ("PayPlace", "1", chainId, this contract). The
/// events of PayPlace (merchants, blocks, withdrawals, shifts) are declared here in their final
/// form.
interface IDatanet {
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
    /// @notice A channel changed otherwise than by a deposit, a voucher or a lock; all its numbers.
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
    event Withdrawn(uint32 indexed operator, uint32 indexed merchant, uint64 k, uint256 total);
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

    // Activity

    event ActivitySummary(
        address indexed consumer,
        uint32 indexed operator,
        uint64 start,
        uint64 end,
        uint64 bytesUp,
        uint64 bytesDown,
        uint32 sessions,
        uint96 paid,
        uint8 verifier,
        bytes32 evidenceHash
    );

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
}

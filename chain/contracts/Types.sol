// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// The values of the contract: what it stores, what accounts sign, and the type hashes of those
// messages. Their form is final: PayPlace's functions are added to the contract around them.
// Times are Unix seconds, periods and block numbers (k) count from the operator's registration,
// money is in the token's base units and every cumulative amount stays below 2^96.

/// @notice What an operator says about itself when it registers.
struct OperatorInfo {
    /// Where the operator's own earnings are meant to go; never zero.
    address payout;
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of its RADIUS server certificate; devices pin it.
    bytes32 serverSpkiHash;
    /// Base URL of its HTTP interface.
    string metadataURI;
}

/// @notice The clock of an operator's blocks, in seconds; fixed for the operator's life.
/// @dev period(t) = (t - g0) / beta, phase(t) = (t - g0) % beta. Commitments are accepted in phases
/// (0, gamma); phases [gamma, gamma + delta] and [beta - delta, beta) are frozen; the rest is open.
struct Timing {
    uint64 g0;
    uint32 beta;
    uint32 gamma;
    uint32 delta;
    /// How long a shift may be challenged.
    uint32 challenge;
    /// After how many missed blocks a merchant may be put out.
    uint32 eta;
}

struct Operator {
    address account;
    bool active;
    uint32 merchantCount;
    Timing timing;
    /// Blocks notarized so far.
    uint64 k;
    uint64 lastPeriod;
    /// When `nextServerSpkiHash` stands alone; until then both hashes are valid.
    uint64 spkiChangesAt;
    address payout;
    bytes32 serverSpkiHash;
    /// Zero when no change was announced.
    bytes32 nextServerSpkiHash;
    /// Merkle root of block k.
    bytes32 root;
    /// Sum of the BLS keys of all Active, non-missing merchants: x (48 bytes) ‖ y (48 bytes).
    bytes32[3] apkA;
    string metadataURI;
}

/// @notice A payee of an operator, in one word. Active means joined and not exited.
/// @dev Every `…At` and `missingSince` is a block number plus one, so that zero means never. A
/// shard that is `settled` in the last block (shardsAt == k + 1) and `locked` was locked in it;
/// settled and not locked, it was withdrawn; locked and not settled, it keeps a stale lock of an
/// older block.
struct Merchant {
    uint40 joinedAt;
    uint40 exitedAt;
    /// The first block in a row that the merchant didn't sign; zero while none is missed.
    uint40 missingSince;
    /// The block to which `shardCount` and `settled` belong.
    uint40 shardsAt;
    /// Leaves of the merchant in that block.
    uint16 shardCount;
    /// Bit j: shard j was locked or withdrawn in that block.
    uint40 settled;
    /// Bit j: shard j has a lock, of whatever block.
    uint40 locked;
}

/// @notice What one consumer has with one operator.
/// @dev withdrawn + reserved <= highestVoucher <= deposit, always.
struct Channel {
    /// D: all that was deposited for this consumer with this operator.
    uint128 deposit;
    /// R: what is locked for merchants.
    uint128 reserved;
    /// mu: the highest voucher the contract has seen.
    uint128 highestVoucher;
    /// w: what merchants have withdrawn.
    uint128 withdrawn;
}

/// @notice A channel as it is stored: `committed` stands in for `withdrawn`, so that a withdrawal
/// from a block touches one word only.
struct Account {
    uint128 deposit;
    uint128 reserved;
    uint128 highestVoucher;
    /// w + R.
    uint128 committed;
}

struct Shift {
    uint32 to;
    uint96 amount;
    /// Zero while no shift is pending.
    uint64 requestedAt;
    /// The paying operator's period delta after the request: only blocks of later ones were signed
    /// by merchants who could see it.
    uint64 period;
    uint96 bond;
    /// No new request before this time (after a challenge that succeeded).
    uint64 coolUntil;
}

/// @notice One operator's part of a deposit.
struct Split {
    uint32 operator;
    uint96 amount;
}

enum DeviceKeyState {
    Unset,
    Enabled,
    Disabled
}

/// @notice Typed data: the consumer enables or disables a TLS key of a device.
struct DeviceKey {
    address consumer;
    bytes32 spkiHash;
    bool enabled;
    uint256 nonce;
    uint64 deadline;
}

/// @notice Typed data: a cumulative payment of a consumer to an operator.
struct Voucher {
    address consumer;
    uint32 operator;
    uint96 amount;
}

/// @notice A voucher with its signature in the one form that is taken: r, and s with the parity of
/// the curve point in its top bit (ERC-2098). The operator is given by the call.
struct SignedVoucher {
    address consumer;
    uint96 amount;
    bytes32 r;
    bytes32 vs;
}

/// @notice What one merchant is owed in a block; a shard of it where one leaf doesn't suffice.
struct Leaf {
    uint32 operator;
    uint32 merchant;
    uint16 shard;
    uint16 shardCount;
    /// Words of consumer (20 bytes) ‖ cumulative amount (12 bytes, above zero), strictly increasing
    /// by consumer.
    bytes32[] entries;
}

/// @notice Typed data: what merchants sign with BLS to notarize block k of a period.
struct Block {
    uint32 operator;
    uint64 k;
    uint64 period;
    bytes32 prevRoot;
    bytes32 root;
    uint64 tau;
}

/// @notice Typed data: an operator lets an account join as a merchant with a key.
struct MerchantApproval {
    uint32 operator;
    address account;
    bytes32 pkHash;
    uint64 validUntil;
}

/// @notice Typed data: a consumer moves unspent deposit between operators.
struct ShiftRequest {
    address consumer;
    uint32 from;
    uint32 to;
    uint96 amount;
    uint256 nonce;
    uint64 deadline;
}

/// @notice Typed data: a consumer publishes a summary of what it used and paid.
struct Activity {
    address consumer;
    uint32 operator;
    uint64 start;
    uint64 end;
    uint64 bytesUp;
    uint64 bytesDown;
    uint32 sessions;
    uint96 paid;
    uint8 verifier;
    bytes32 evidenceHash;
    uint256 nonce;
}

bytes32 constant VOUCHER_TYPEHASH =
    keccak256("Voucher(address consumer,uint32 operator,uint96 amount)");
bytes32 constant BLOCK_TYPEHASH = keccak256(
    "Block(uint32 operator,uint64 k,uint64 period,bytes32 prevRoot,bytes32 root,uint64 tau)"
);
bytes32 constant MERCHANT_APPROVAL_TYPEHASH = keccak256(
    "MerchantApproval(uint32 operator,address account,bytes32 pkHash,uint64 validUntil)"
);
bytes32 constant SHIFT_REQUEST_TYPEHASH = keccak256(
    "ShiftRequest(address consumer,uint32 from,uint32 to,uint96 amount,"
    "uint256 nonce,uint64 deadline)"
);
bytes32 constant DEVICE_KEY_TYPEHASH = keccak256(
    "DeviceKey(address consumer,bytes32 spkiHash,bool enabled,uint256 nonce,uint64 deadline)"
);
bytes32 constant ACTIVITY_TYPEHASH = keccak256(
    "Activity(address consumer,uint32 operator,uint64 start,uint64 end,"
    "uint64 bytesUp,uint64 bytesDown,uint32 sessions,uint96 paid,"
    "uint8 verifier,bytes32 evidenceHash,uint256 nonce)"
);
/// @dev A Merkle leaf is keccak256(keccak256(abi.encode(LEAF_TYPEHASH, operator, merchant, shard,
/// shardCount, keccak256(entries)))); an entry is one word, consumer (20 bytes) ‖ amount (12
/// bytes).
bytes32 constant LEAF_TYPEHASH = keccak256(
    "Leaf(uint32 operator,uint32 merchant,uint16 shard,uint16 shardCount,bytes32 entriesHash)"
);

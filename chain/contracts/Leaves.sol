// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Errors} from "./Errors.sol";
import {LEAF_TYPEHASH, Leaf} from "./Types.sol";

/// @title The form of a merchant's leaf and of its entries.
/// @notice Pure; knows no block and no money.
library Leaves {
    /// @dev 400 entries with as many fresh vouchers stay below the 16,777,216 gas that EIP-7825
    /// allows a transaction (D24, I15).
    uint256 internal constant ENTRIES_MAX = 400;
    /// @dev The bits that a merchant's record has for shards: 16,000 consumers unsettled at a time.
    uint16 internal constant SHARDS_MAX = 40;

    /// @notice The leaf's hash in the tree. Hashed twice, so that no inner node passes for a leaf.
    function hash(Leaf calldata leaf) internal pure returns (bytes32) {
        bytes32 entriesHash = keccak256(abi.encodePacked(leaf.entries));
        bytes32 inner = keccak256(
            abi.encode(
                LEAF_TYPEHASH,
                leaf.operator,
                leaf.merchant,
                leaf.shard,
                leaf.shardCount,
                entriesHash
            )
        );
        return keccak256(bytes.concat(inner));
    }

    /// @notice Consumer and cumulative amount of an entry.
    function split(bytes32 entry) internal pure returns (address consumer, uint96 amount) {
        return (address(uint160(uint256(entry) >> 96)), uint96(uint256(entry)));
    }

    /// @notice The bit of the leaf's shard in the bit sets of its merchant.
    function bit(Leaf calldata leaf) internal pure returns (uint40) {
        return uint40(1) << leaf.shard;
    }

    /// @notice Reverts unless the leaf is canonical.
    function check(Leaf calldata leaf) internal pure {
        uint256 count = leaf.entries.length;
        if (count > ENTRIES_MAX || leaf.shardCount > SHARDS_MAX || leaf.shard >= leaf.shardCount) {
            revert Errors.Datanet_LeafTooLarge(count, leaf.shard, leaf.shardCount);
        }
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            (address consumer, uint96 amount) = split(leaf.entries[i]);
            // D10: a consumer twice in one leaf would be compared once and paid twice.
            if (consumer <= previous || amount == 0) revert Errors.Datanet_EntryOrder(i);
            previous = consumer;
        }
    }
}

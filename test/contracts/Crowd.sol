// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Channel, Leaf, Merchant, SignedVoucher} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice How many there are, where in the period it is, and random choices among them.
abstract contract Crowd is Market {
    uint32 public constant OPERATORS = 3;
    uint256 public constant CONSUMERS = 5;
    uint256 public constant MERCHANTS = 6;
    uint96 internal constant AMOUNT_MAX = 300;

    /// @dev The leaves of each operator's last block, ABI-encoded.
    mapping(uint32 operatorId => bytes leaves) internal _block;

    // What the invariants ask

    function market() external view returns (IDatanet) {
        return datanet;
    }

    function consumer(uint256 index) external pure returns (address) {
        return consumerAt(index);
    }

    function merchant(uint256 index) external pure returns (address) {
        return merchantAt(index);
    }

    function secret(uint32 operatorId, uint32 merchantId) external view returns (uint256) {
        return secretOf[operatorId][merchantId];
    }

    function leafHash(Leaf memory leaf) external pure returns (bytes32) {
        return hashOf(leaf);
    }

    // Choices

    /// @dev Vouchers for some entries of a leaf, at some amount up to the deposit.
    function covering(Leaf memory leaf, uint256 seed)
        internal
        view
        returns (SignedVoucher[] memory v)
    {
        if (seed & 7 == 0) return none();
        v = new SignedVoucher[](CONSUMERS);
        for (uint256 c = 0; c < CONSUMERS; ++c) {
            Channel memory a = datanet.channel(leaf.operator, consumerAt(c));
            uint256 low = a.highestVoucher;
            uint256 amount = low + (seed >> (8 * c)) % (AMOUNT_MAX * 2);
            if (amount > a.deposit || seed & 15 == 15) amount = a.deposit;
            v[c] = voucher(leaf.operator, c, uint96(amount));
        }
    }

    /// @dev Leaves for every Active merchant; some in two shards, some inflated.
    function randomBlock(uint32 o, uint256 seed) internal view returns (Leaf[] memory leaves) {
        uint32 count = datanet.operator(o).merchantCount;
        Leaf[] memory all = new Leaf[](2 * count);
        uint256 used = 0;
        for (uint32 id = 1; id <= count; ++id) {
            if (datanet.merchant(o, id).exitedAt != 0) continue;
            uint256 own = uint256(keccak256(abi.encode(seed, id)));
            uint16 shards = own % 6 == 0 ? 2 : 1;
            for (uint16 j = 0; j < shards; ++j) {
                uint96[] memory amounts = new uint96[](CONSUMERS);
                for (uint256 c = 0; c < CONSUMERS; ++c) {
                    uint256 word = own >> (16 + 16 * (c + 5 * j));
                    amounts[c] = word & 1 == 0 ? 0 : uint96(word >> 1 & 0x3f);
                }
                all[used] = leafOf(o, id, amounts);
                (all[used].shard, all[used].shardCount) = (j, shards);
                used++;
            }
        }
        leaves = new Leaf[](used);
        for (uint256 i = 0; i < used; ++i) {
            leaves[i] = all[i];
        }
    }

    /// @dev Who stays away and who comes back: a quarter of those who can.
    function turnout(uint32 o, uint256 seed)
        internal
        view
        returns (uint32[] memory missing, uint32[] memory returning)
    {
        uint32 count = datanet.operator(o).merchantCount;
        (missing, returning) = (new uint32[](count), new uint32[](count));
        (uint256 gone, uint256 back) = (0, 0);
        for (uint32 id = 2; id <= count; ++id) {
            Merchant memory m = datanet.merchant(o, id);
            if (m.exitedAt != 0 || (seed >> (2 * id)) & 3 != 0) continue;
            if (m.missingSince == 0) missing[gone++] = id;
            else returning[back++] = id;
        }
        assembly ("memory-safe") {
            mstore(missing, gone)
            mstore(returning, back)
        }
    }

    /// @dev A pending shift, where there is one.
    function anyShift(uint256 seed) internal view returns (uint32 o, uint256 c) {
        for (uint256 i = 0; i < OPERATORS * CONSUMERS; ++i) {
            o = uint32(1 + (seed % OPERATORS + i) % OPERATORS);
            c = (seed % CONSUMERS + i) % CONSUMERS;
            if (datanet.shift(o, consumerAt(c)).requestedAt != 0) break;
        }
    }

    function leafFor(uint32 o, uint32 id, uint256 seed)
        internal
        view
        returns (Leaf memory leaf, bytes32[] memory proof)
    {
        Leaf[] memory leaves = abi.decode(_block[o], (Leaf[]));
        uint256 start = seed % leaves.length;
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 index = (start + i) % leaves.length;
            if (leaves[index].merchant != id) continue;
            (, proof) = proofOf(leaves, index);
            return (leaves[index], proof);
        }
    }

    function sumOf(bytes32[] memory entries) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < entries.length; ++i) {
            sum += uint96(uint256(entries[i]));
        }
    }

    function operatorFrom(uint256 seed) internal pure returns (uint32) {
        // Most happens with one operator, so that it lives through many blocks.
        uint256 low = seed & 0xff;
        return uint32(low < 192 ? 1 : 1 + low % OPERATORS);
    }

    function merchantFrom(uint32 o, uint256 seed) internal view returns (uint32) {
        return uint32(1 + (seed & 0xff) % datanet.operator(o).merchantCount);
    }

    function phase() internal view returns (uint256) {
        return (block.timestamp - START) % BETA;
    }

    function isOpen() internal view returns (bool) {
        return phase() > 18 && phase() < 57;
    }

    function isCommitment() internal view returns (bool) {
        return phase() > 0 && phase() < 15;
    }
}

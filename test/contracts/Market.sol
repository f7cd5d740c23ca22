// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {
    BLOCK_TYPEHASH,
    LEAF_TYPEHASH,
    Leaf,
    MERCHANT_APPROVAL_TYPEHASH,
    Merchant,
    Operator,
    SignedVoucher,
    Split,
    Timing,
    VOUCHER_TYPEHASH
} from "../../chain/contracts/Types.sol";
import {Base, Mintable} from "./Base.sol";

/// @notice A market for the tests of PayPlace: operators, merchants, vouchers, and blocks that
/// everybody signs, whatever they say. Operators and consumers are accounts of small keys.
abstract contract Market is Base {
    uint64 internal constant BETA = 60;
    uint256 internal constant OPERATOR_KEY = 0xa000;
    uint256 internal constant CONSUMER_KEY = 0xc000;
    Mintable internal token;
    IDatanet internal datanet;

    /// @dev BLS secrets by operator and merchant id.
    mapping(uint32 operatorId => mapping(uint32 merchantId => uint256)) internal secretOf;
    mapping(uint32 operatorId => mapping(uint32 merchantId => address)) internal accountOf;

    function openMarket(uint32 operators) internal {
        openMarket(operators, deployToken());
    }

    function openMarket(uint32 operators, Mintable which) internal {
        token = which;
        datanet = deployDatanet(token, address(0));
        for (uint32 id = 1; id <= operators; ++id) {
            openOperator(operatorAt(id), 5000 + id);
        }
    }

    function openOperator(address account, uint256 secret) internal returns (uint32 id) {
        id = datanet.operatorCount() + 1;
        bytes memory pop = provePossession(secret, account, datanet, id);
        bytes memory key = keyOf(secret);
        Timing memory clock = Timing(uint64(START), uint32(BETA), 15, 3, 130, 2);
        vm.prank(account);
        datanet.registerOperator(info(), clock, key, pop);
        (secretOf[id][1], accountOf[id][1]) = (secret, account);
    }

    function operatorAt(uint32 operatorId) internal pure returns (address) {
        return vm.addr(OPERATOR_KEY + operatorId);
    }

    function consumerAt(uint256 index) internal pure returns (address) {
        return vm.addr(CONSUMER_KEY + index);
    }

    function merchantAt(uint256 index) internal pure returns (address) {
        return address(uint160(0xed00 + index));
    }

    // Time

    function toCommitment(uint256 period) internal {
        vm.warp(START + period * BETA + 5);
    }

    function toOpen(uint256 period) internal {
        vm.warp(START + period * BETA + 25);
    }

    function periodNow() internal view returns (uint64) {
        return uint64((block.timestamp - START) / BETA);
    }

    // Money

    function fund(uint32 operatorId, uint256 consumer, uint96 amount) internal {
        address account = consumerAt(consumer);
        token.mint(account, amount);
        vm.prank(account);
        token.approve(address(datanet), type(uint256).max);
        vm.prank(account);
        datanet.deposit(split(operatorId, amount));
    }

    function voucher(uint32 operatorId, uint256 consumer, uint96 amount)
        internal
        view
        returns (SignedVoucher memory)
    {
        return voucherBy(CONSUMER_KEY + consumer, operatorId, consumerAt(consumer), amount);
    }

    function voucherBy(uint256 secret, uint32 operatorId, address consumer, uint96 amount)
        internal
        view
        returns (SignedVoucher memory)
    {
        bytes32 structHash = keccak256(abi.encode(VOUCHER_TYPEHASH, consumer, operatorId, amount));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, digestOf(structHash));
        return SignedVoucher(consumer, amount, r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function vouchers(SignedVoucher memory one)
        internal
        pure
        returns (SignedVoucher[] memory all)
    {
        all = new SignedVoucher[](1);
        all[0] = one;
    }

    function none() internal pure returns (SignedVoucher[] memory) {
        return new SignedVoucher[](0);
    }

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", datanet.domainSeparator(), structHash));
    }

    // Merchants

    function approve(uint32 operatorId, address account, bytes memory key, uint64 validUntil)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(MERCHANT_APPROVAL_TYPEHASH, operatorId, account, keccak256(key), validUntil)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(OPERATOR_KEY + operatorId, digestOf(structHash));
        return abi.encodePacked(r, s, v);
    }

    /// @notice The second at which the open window of now ends.
    function windowEnd() internal view returns (uint64) {
        return uint64(START + uint256(periodNow() + 1) * BETA - 3);
    }

    function join(uint32 operatorId, address account, uint256 secret)
        internal
        returns (uint32 id)
    {
        bytes memory key = keyOf(secret);
        bytes memory pop = provePossession(secret, account, datanet, operatorId);
        bytes memory signature = approve(operatorId, account, key, windowEnd());
        uint64 until = windowEnd();
        vm.prank(account);
        id = datanet.register(operatorId, key, pop, until, signature);
        (secretOf[operatorId][id], accountOf[operatorId][id]) = (secret, account);
    }

    // Blocks

    function entry(uint256 consumer, uint96 amount) internal pure returns (bytes32) {
        return bytes32((uint256(uint160(consumerAt(consumer))) << 96) | amount);
    }

    /// @notice One leaf for a merchant that is owed these amounts by consumers 0, 1, …
    function leafOf(uint32 operatorId, uint32 merchantId, uint96[] memory amounts)
        internal
        pure
        returns (Leaf memory)
    {
        return Leaf(operatorId, merchantId, 0, 1, entriesOf(amounts));
    }

    function leafOf(uint32 operatorId, uint32 merchantId, uint96 amount)
        internal
        pure
        returns (Leaf memory)
    {
        uint96[] memory amounts = new uint96[](1);
        amounts[0] = amount;
        return leafOf(operatorId, merchantId, amounts);
    }

    /// @notice Sorted by consumer; amounts of zero are left out.
    function entriesOf(uint96[] memory amounts) internal pure returns (bytes32[] memory sorted) {
        uint256 count = 0;
        bytes32[] memory all = new bytes32[](amounts.length);
        for (uint256 i = 0; i < amounts.length; ++i) {
            if (amounts[i] == 0) continue;
            bytes32 word = entry(i, amounts[i]);
            uint256 j = count++;
            for (; j > 0 && all[j - 1] > word; --j) {
                all[j] = all[j - 1];
            }
            all[j] = word;
        }
        sorted = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            sorted[i] = all[i];
        }
    }

    function hashOf(Leaf memory leaf) internal pure returns (bytes32) {
        bytes32 entries = keccak256(abi.encodePacked(leaf.entries));
        return keccak256(
            abi.encode(
                keccak256(
                    abi.encode(
                        LEAF_TYPEHASH,
                        leaf.operator,
                        leaf.merchant,
                        leaf.shard,
                        leaf.shardCount,
                        entries
                    )
                )
            )
        );
    }

    function hashesOf(Leaf[] memory leaves) internal pure returns (bytes32[] memory level) {
        level = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            level[i] = hashOf(leaves[i]);
        }
    }

    function pairOf(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    /// @notice Root, and the proof of leaf `index`; an odd node goes up unchanged.
    function proofOf(Leaf[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32 root, bytes32[] memory proof)
    {
        bytes32[] memory level = hashesOf(leaves);
        bytes32[] memory path = new bytes32[](16);
        uint256 depth = 0;
        while (level.length > 1) {
            if ((index ^ 1) < level.length) path[depth++] = level[index ^ 1];
            bytes32[] memory next = new bytes32[]((level.length + 1) / 2);
            for (uint256 i = 0; i < next.length; ++i) {
                bool paired = 2 * i + 1 < level.length;
                next[i] = paired ? pairOf(level[2 * i], level[2 * i + 1]) : level[2 * i];
            }
            level = next;
            index /= 2;
        }
        proof = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            proof[i] = path[i];
        }
        return (level[0], proof);
    }

    /// @dev What a notarization consists of, so that a test can spoil any part of it.
    struct Draft {
        uint32 operatorId;
        bytes32 root;
        uint64 tau;
        uint32[] missing;
        uint32[] returning;
        bytes keys;
        bytes signature;
    }

    function draft(
        uint32 operatorId,
        bytes32 root,
        uint32[] memory missing,
        uint32[] memory returning
    ) internal view returns (Draft memory d) {
        d = Draft(operatorId, root, uint64(block.timestamp), missing, returning, "", "");
        d.keys = bytes.concat(keysOf(operatorId, missing), keysOf(operatorId, returning));
        d.signature = signBlock(d, secretSum(operatorId, missing, returning));
    }

    function signBlock(Draft memory d, uint256 secret) internal view returns (bytes memory) {
        Operator memory o = datanet.operator(d.operatorId);
        bytes32 structHash = keccak256(
            abi.encode(BLOCK_TYPEHASH, d.operatorId, o.k + 1, periodNow(), o.root, d.root, d.tau)
        );
        return signBls(secret, abi.encodePacked(digestOf(structHash)), BLS12381.SIG_TAG);
    }

    function notarize(Draft memory d) internal {
        vm.prank(operatorAt(d.operatorId));
        datanet.notarize(d.operatorId, d.root, d.tau, d.missing, d.returning, d.keys, d.signature);
    }

    function keysOf(uint32 operatorId, uint32[] memory named)
        internal
        view
        returns (bytes memory keys)
    {
        for (uint256 i = 0; i < named.length; ++i) {
            keys = bytes.concat(keys, keyOf(secretOf[operatorId][named[i]]));
        }
    }

    /// @notice The sum of the secrets of everybody who has to sign.
    function secretSum(uint32 operatorId, uint32[] memory missing, uint32[] memory returning)
        internal
        view
        returns (uint256 sum)
    {
        uint32 count = datanet.operator(operatorId).merchantCount;
        for (uint32 id = 1; id <= count; ++id) {
            Merchant memory m = datanet.merchant(operatorId, id);
            bool present = m.missingSince == 0 && !has(missing, id) || has(returning, id);
            if (m.exitedAt == 0 && present) {
                sum = addmod(sum, secretOf[operatorId][id], ORDER);
            }
        }
    }

    function has(uint32[] memory named, uint32 id) internal pure returns (bool) {
        for (uint256 i = 0; i < named.length; ++i) {
            if (named[i] == id) return true;
        }
        return false;
    }

    function ids() internal pure returns (uint32[] memory) {
        return new uint32[](0);
    }

    function ids(uint32 one) internal pure returns (uint32[] memory all) {
        all = new uint32[](1);
        all[0] = one;
    }

    function ids(uint32 one, uint32 other) internal pure returns (uint32[] memory all) {
        all = new uint32[](2);
        (all[0], all[1]) = (one, other);
    }
}

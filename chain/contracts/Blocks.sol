// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {BLS12381} from "./BLS12381.sol";
import {Clock} from "./Clock.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";
import {Leaves} from "./Leaves.sol";
import {Merchants} from "./Merchants.sol";
import {Account, BLOCK_TYPEHASH, Leaf, Merchant, Operator, SignedVoucher} from "./Types.sol";
import {Vouchers} from "./Vouchers.sol";

/// @title Blocks: notarized with the signatures of everyone who isn't missing.
/// @notice Nobody goes missing before what the last block owes it is reserved. The contract never
/// sees what a block owes to those who signed it; that is theirs to check.
abstract contract Blocks is Vouchers, Merchants {
    using Leaves for Leaf;

    /// @inheritdoc IDatanet
    function lockOf(uint32 operatorId, uint32 merchantId, uint16 shard)
        external
        view
        returns (bytes32)
    {
        return _locks[operatorId][merchantId][shard];
    }

    /// @inheritdoc IDatanet
    function lock(Leaf calldata leaf, bytes32[] calldata proof, SignedVoucher[] calldata vouchers)
        external
    {
        // Checks
        (uint32 operatorId, uint32 merchantId) = (leaf.operator, leaf.merchant);
        Operator storage o = _knownOperator(operatorId);
        Merchant storage m = _activeMerchant(operatorId, merchantId);
        if (msg.sender != o.account) _checkAccount(operatorId, merchantId, msg.sender);
        if (m.missingSince != 0) revert Errors.Datanet_MerchantMissing(operatorId, merchantId);

        // Effects
        // D22: what is locked is bound to the last block by its proof, and to the merchant by id.
        bytes32 hash = _settle(o, m, leaf, proof);
        _seeVouchers(operatorId, vouchers);
        for (uint256 i = 0; i < leaf.entries.length; ++i) {
            (address consumer, uint96 amount) = Leaves.split(leaf.entries[i]);
            Account storage c = _channels[operatorId][consumer];
            uint256 committed = uint256(c.committed) + amount;
            // D23: an inflated leaf can't take what others are owed; reserves are always covered.
            if (committed > c.highestVoucher) {
                revert Errors.Datanet_NotCovered(operatorId, consumer, committed, c.highestVoucher);
            }
            c.committed = uint128(committed);
            c.reserved += amount;
        }
        m.locked |= leaf.bit();
        _locks[operatorId][merchantId][leaf.shard] = hash;
        emit Locked(operatorId, merchantId, leaf.shard, o.k, hash, leaf.entries);
    }

    /// @inheritdoc IDatanet
    function unlock(Leaf calldata leaf) external {
        (uint32 operatorId, uint32 merchantId) = (leaf.operator, leaf.merchant);
        Merchant storage m = _activeMerchant(operatorId, merchantId);
        if (m.missingSince != 0) revert Errors.Datanet_MerchantMissing(operatorId, merchantId);
        if (_settledAt(m, _operators[operatorId].k) & leaf.bit() != 0) {
            revert Errors.Datanet_LockLive(operatorId, merchantId);
        }
        bytes32 hash = _release(m, leaf);
        for (uint256 i = 0; i < leaf.entries.length; ++i) {
            (address consumer, uint96 amount) = Leaves.split(leaf.entries[i]);
            Account storage c = _channels[operatorId][consumer];
            c.reserved -= amount;
            c.committed -= amount;
        }
        emit Unlocked(operatorId, merchantId, leaf.shard, hash);
    }

    /// @inheritdoc IDatanet
    function notarize(
        uint32 operatorId,
        bytes32 root,
        uint64 tau,
        uint32[] calldata newlyMissing,
        uint32[] calldata returning,
        bytes calldata keys,
        bytes calldata signature
    ) external {
        // Checks
        Operator storage o = _ownOperator(operatorId);
        (uint64 period, uint256 began) = Clock.requireCommitment(o, operatorId);
        // D13: the better of two blocks first, then the worse? Only one per period.
        if (period <= o.lastPeriod) revert Errors.Datanet_PeriodUsed(operatorId, period);
        if (root == 0) revert Errors.Datanet_RootZero();
        if (tau <= began || tau > block.timestamp) revert Errors.Datanet_TauOutOfWindow(tau);
        uint256 named = newlyMissing.length + returning.length;
        // Bytes after the signature would be a further pair for the pairing check.
        if (keys.length != named * BLS12381.G1_LENGTH || signature.length != BLS12381.G2_LENGTH) {
            revert Errors.Datanet_BlockCodingLength(keys.length, signature.length);
        }

        // Effects; the signature, which costs most, is checked last and undoes them all.
        uint64 k = o.k + 1;
        bytes32[3] memory apk = o.apkA;
        if (named != 0) {
            uint256 gone = newlyMissing.length * BLS12381.G1_LENGTH;
            _nameMissing(operatorId, k, newlyMissing, keys[:gone]);
            _nameReturning(operatorId, k, returning, keys[gone:]);
            apk = _bls.combine(apk, keys[:gone], keys[gone:]);
            o.apkA = apk;
        }
        // D26, D40a: infinity is nobody's key, and anybody signs for it.
        if (apk[0] | apk[1] | apk[2] == 0) revert Errors.Datanet_NobodySigns(operatorId);
        // D6: the block's place in the chain of blocks is part of what is signed.
        bytes32 structHash =
            keccak256(abi.encode(BLOCK_TYPEHASH, operatorId, k, period, o.root, root, tau));
        o.k = k;
        o.lastPeriod = period;
        o.root = root;
        // D19, D21: signed by exactly the keys that remain; none of them is the caller's to choose.
        if (!_bls.signed(apk, _digest(structHash), signature)) {
            revert Errors.Datanet_BlockSignatureInvalid(operatorId, k);
        }
        emit Notarized(operatorId, k, period, root, tau, newlyMissing, returning);
    }

    /// @dev Takes a leaf of the last block for the one lock or withdrawal it is good for, and
    /// returns its hash.
    function _settle(
        Operator storage o,
        Merchant storage m,
        Leaf calldata leaf,
        bytes32[] calldata proof
    ) internal returns (bytes32 hash) {
        leaf.check();
        uint64 k = o.k;
        if (m.joinedAt > k) revert Errors.Datanet_JoinedLater(leaf.operator, leaf.merchant);
        uint40 settled = _settledAt(m, k);
        // D17, I11: once per shard and block.
        if (settled & leaf.bit() != 0) {
            revert Errors.Datanet_ShardSettled(leaf.operator, leaf.merchant, leaf.shard);
        }
        if (settled != 0 && m.shardCount != leaf.shardCount) {
            revert Errors.Datanet_ShardCountMismatch(m.shardCount, leaf.shardCount);
        }
        // D42: a stale lock, of this or another shard, holds what the last block owes once more.
        if (m.locked & ~settled != 0) {
            revert Errors.Datanet_LockStale(leaf.operator, leaf.merchant);
        }
        hash = leaf.hash();
        if (!MerkleProof.verifyCalldata(proof, o.root, hash)) {
            revert Errors.Datanet_LeafNotInBlock(hash, o.root);
        }
        _markSettled(m, k, leaf);
    }

    function _markSettled(Merchant storage m, uint64 k, Leaf calldata leaf) internal {
        m.settled = _settledAt(m, k) | leaf.bit();
        m.shardCount = leaf.shardCount;
        m.shardsAt = uint40(k + 1);
    }

    /// @dev Ends the lock of this leaf and returns its hash; reverts where there is no such lock.
    function _release(Merchant storage m, Leaf calldata leaf) internal returns (bytes32 hash) {
        hash = leaf.hash();
        bytes32 locked = _locks[leaf.operator][leaf.merchant][leaf.shard];
        if (locked != hash) revert Errors.Datanet_LockMismatch(locked, hash);
        delete _locks[leaf.operator][leaf.merchant][leaf.shard];
        m.locked &= ~leaf.bit();
    }

    /// @dev The shards that were locked or withdrawn in block k.
    function _settledAt(Merchant storage m, uint64 k) internal view returns (uint40) {
        return m.shardsAt == k + 1 ? m.settled : 0;
    }

    function _nameMissing(uint32 operatorId, uint64 k, uint32[] calldata ids, bytes calldata keys)
        private
    {
        for (uint256 i = 0; i < ids.length; ++i) {
            Merchant storage m = _named(operatorId, ids, keys, i);
            if (m.missingSince != 0) revert Errors.Datanet_MerchantMissing(operatorId, ids[i]);
            // D22, D27: without a lock of all that block k - 1 owes her, nobody goes missing; she
            // who joined after it is owed nothing.
            uint256 all = (uint256(1) << m.shardCount) - 1;
            if (m.joinedAt != k && (m.shardsAt != k || m.settled != all)) {
                revert Errors.Datanet_NotLocked(operatorId, ids[i]);
            }
            m.missingSince = uint40(k + 1);
        }
    }

    function _nameReturning(
        uint32 operatorId,
        uint64 k,
        uint32[] calldata ids,
        bytes calldata keys
    ) private {
        for (uint256 i = 0; i < ids.length; ++i) {
            Merchant storage m = _named(operatorId, ids, keys, i);
            // Nor can anyone go missing and return in the same block.
            if (m.missingSince == 0 || m.missingSince == k + 1) {
                revert Errors.Datanet_MerchantNotMissing(operatorId, ids[i]);
            }
            m.missingSince = 0;
        }
    }

    /// @dev D10, D20: ids rise strictly, so that no key counts twice. D26: merchant 1 is never
    /// named.
    function _named(uint32 operatorId, uint32[] calldata ids, bytes calldata keys, uint256 index)
        private
        view
        returns (Merchant storage)
    {
        uint32 merchantId = ids[index];
        uint32 previous = index == 0 ? 1 : ids[index - 1];
        if (merchantId <= previous) revert Errors.Datanet_MerchantOrder(previous, merchantId);
        uint256 offset = index * BLS12381.G1_LENGTH;
        _checkKey(operatorId, merchantId, keys[offset:offset + BLS12381.G1_LENGTH]);
        return _activeMerchant(operatorId, merchantId);
    }
}

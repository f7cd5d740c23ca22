// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    Channel,
    Leaf,
    Merchant,
    Operator,
    Shift,
    SignedVoucher
} from "../../chain/contracts/Types.sol";
import {Crowd} from "./Crowd.sol";

/// @notice Random actions of three operators, six merchants and five consumers at random times.
/// Blocks say anything and everybody signs: what the contract alone guarantees may not depend on
/// signers' care. What must never succeed is tried, and recorded where it does.
contract Traders is Crowd {
    /// @notice The first thing that should not have happened.
    string public violation;
    uint256 public deposited;
    uint256 public calls;
    mapping(bytes32 action => uint256) public successes;
    /// @notice The largest voucher that a call with effect carried.
    mapping(uint32 operatorId => mapping(uint256 consumer => uint96)) public seenOf;
    /// @notice Live locks, ABI-encoded.
    mapping(uint32 operatorId => mapping(uint32 merchantId => mapping(uint16 => bytes))) public
        lockedOf;

    mapping(uint32 operatorId => uint64) private _lastPeriod;
    /// @dev Block number plus one in which a shard was withdrawn last.
    mapping(uint32 operatorId => mapping(uint32 merchantId => mapping(uint16 => uint256))) private
        _withdrawnIn;

    constructor() {
        openMarket(OPERATORS);
        for (uint32 o = 1; o <= OPERATORS; ++o) {
            for (uint256 c = 0; c < CONSUMERS; ++c) {
                fund(o, c, 1000);
                token.mint(consumerAt(c), 1 << 90);
                deposited += 1000;
            }
        }
        toOpen(0);
        for (uint256 i = 0; i < MERCHANTS; ++i) {
            join(uint32(1 + (i % OPERATORS)), merchantAt(i), 100 + i);
            join(uint32(1 + ((i + 1) % OPERATORS)), merchantAt(i), 100 + i);
        }
    }

    // Time

    function advance(uint256 seed) external {
        seed = mix(seed);
        uint256 kind = seed % 4;
        if (kind == 0) toCommitment(periodNow() + 1);
        if (kind == 1) toOpen(isOpen() ? periodNow() + 1 : periodNow());
        if (kind == 2) vm.warp(block.timestamp + 1 + (seed >> 8) % 20);
        if (kind == 3) vm.warp(START + (periodNow() + 1 + (seed >> 8) % 3) * BETA);
    }

    // Blocks

    function notarizeAny(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        if (!isCommitment()) toCommitment(periodNow() + 1);
        (uint32[] memory missing, uint32[] memory returning) = turnout(o, seed >> 16);
        for (uint256 i = 0; i < missing.length; ++i) {
            if (seed >> 200 & 7 != 0) lockAll(o, missing[i], seed >> (i * 8) | 7);
        }
        notarizeLeaves(o, randomBlock(o, seed >> 64), missing, returning);
        successes["notarize"]++;
    }

    function notarizeLeaves(
        uint32 o,
        Leaf[] memory leaves,
        uint32[] memory missing,
        uint32[] memory returning
    ) private {
        Operator memory before = datanet.operator(o);
        for (uint256 i = 0; i < missing.length; ++i) {
            if (!isSecured(o, missing[i], before.k)) flag("D22: missing without a lock");
        }
        bool inWindow = isCommitment();
        (bytes32 root,) = proofOf(leaves, 0);
        notarize(draft(o, root, missing, returning));
        _block[o] = abi.encode(leaves);

        Operator memory later = datanet.operator(o);
        if (!inWindow) flag("I12: notarized outside the commitment");
        if (later.k != before.k + 1 || later.root != root) flag("I10: block");
        if (later.lastPeriod <= _lastPeriod[o]) flag("I10: period");
        _lastPeriod[o] = later.lastPeriod;
    }

    /// @notice I9, I10: without one of the signatures, or again in the same period.
    function notarizeWrongly(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        if (!isCommitment()) toCommitment(periodNow() + 1);
        Leaf[] memory leaves = randomBlock(o, seed >> 64);
        (bytes32 root,) = proofOf(leaves, 0);
        Draft memory d = draft(o, root, ids(), ids());
        if (datanet.operator(o).lastPeriod < periodNow()) {
            uint32 id = uint32(1 + (seed >> 32) % datanet.operator(o).merchantCount);
            Merchant memory m = datanet.merchant(o, id);
            if (m.exitedAt != 0 || m.missingSince != 0) return;
            uint256 sum = secretSum(o, ids(), ids());
            d.signature = signBlock(d, addmod(sum, ORDER - secretOf[o][id], ORDER));
        }
        vm.prank(operatorAt(o));
        try datanet.notarize(o, d.root, d.tau, d.missing, d.returning, d.keys, d.signature) {
            flag("I9, I10: a wrong block was taken");
        } catch {
            successes["refused"]++;
        }
    }

    function lock(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        lockAll(o, merchantFrom(o, seed >> 8), seed >> 16);
    }

    function unlock(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        (uint32 id, uint16 shard) = anyLock(o, seed >> 8, false);
        Leaf memory leaf = abi.decode(lockedOf[o][id][shard], (Leaf));
        if (datanet.merchant(o, id).missingSince != 0) flag("unlocks the missing");
        bool live = datanet.merchant(o, id).shardsAt == datanet.operator(o).k + 1;
        if (live && leaf.entries.length > 0 && isOf(leaf)) flag("unlocks what block k owes");
        datanet.unlock(leaf);
        delete lockedOf[o][id][shard];
        successes["unlock"]++;
    }

    // Merchants

    function register(uint256 seed) external {
        seed = mix(seed);
        if (!isOpen()) toOpen(periodNow() + 1);
        join(operatorFrom(seed), merchantAt(seed % MERCHANTS), 100 + seed % MERCHANTS);
        if (!isOpen()) flag("I12: registered outside the open window");
        successes["register"]++;
    }

    function withdraw(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        uint32 id = merchantFrom(o, seed >> 8);
        (Leaf memory leaf, bytes32[] memory proof) = leafFor(o, id, seed >> 24);
        bytes memory locked = lockedOf[o][id][uint16(seed >> 16 & 1)];
        if (locked.length > 0 && seed >> 20 & 3 != 0) {
            leaf = abi.decode(locked, (Leaf));
        } else {
            locked = lockedOf[o][id][leaf.shard];
        }
        if (!isOpen() && seed >> 22 & 1 == 0) toOpen(periodNow() + 1);
        withdrawLeaf(leaf, proof, covering(leaf, seed >> 40), locked);
        successes["withdraw"]++;
    }

    function withdrawLeaf(
        Leaf memory leaf,
        bytes32[] memory proof,
        SignedVoucher[] memory v,
        bytes memory locked
    ) private {
        (uint32 o, uint32 id) = (leaf.operator, leaf.merchant);
        address account = accountOf[o][id];
        uint256 before = token.balanceOf(account);
        vm.prank(account);
        datanet.withdraw(leaf, proof, v, account);
        if (!isOpen()) flag("I12: withdrawn outside the open window");
        uint256 paid = token.balanceOf(account) - before;
        uint256 due = sumOf(leaf.entries);
        if (paid > due) flag("more than the leaf");
        if (locked.length > 0) {
            if (paid != due) flag("Theorem 12: a lock is paid in full");
            if (keccak256(locked) != keccak256(abi.encode(leaf))) {
                flag("another leaf than locked");
            }
        } else {
            note(o, v);
        }
        uint256 k = datanet.operator(o).k + 1;
        if (_withdrawnIn[o][id][leaf.shard] == k) flag("I11: twice in one block");
        _withdrawnIn[o][id][leaf.shard] = k;
        delete lockedOf[o][id][leaf.shard];
    }

    function depart(uint256 seed) external {
        seed = mix(seed);
        if (seed >> 32 & 3 != 0) return;
        uint32 o = operatorFrom(seed);
        uint32 id = merchantFrom(o, seed >> 8);
        if (!isOpen() && seed >> 16 & 1 == 0) toOpen(periodNow() + 1);
        bytes memory key = keyOf(secretOf[o][id]);
        vm.prank(accountOf[o][id]);
        datanet.exit(o, id, key);
        left(o, id);
    }

    function forceExit(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        (uint32 id, uint16 shard) = anyLock(o, seed >> 8, true);
        if (!isOpen()) toOpen(periodNow() + 1);
        bytes memory locked = lockedOf[o][id][shard];
        Leaf memory leaf =
            locked.length > 0 ? abi.decode(locked, (Leaf)) : leafOf(o, id, uint96(0));
        address account = accountOf[o][id];
        uint256 before = datanet.creditOf(account);
        uint64 since = datanet.merchant(o, id).missingSince;
        vm.prank(operatorAt(o));
        datanet.forceExit(leaf, account);
        if (datanet.creditOf(account) - before != sumOf(leaf.entries)) {
            flag("forced: not in full");
        }
        if (since == 0 || datanet.operator(o).k + 2 - since < 2) flag("D37: forced too early");
        delete lockedOf[o][id][shard];
        if (datanet.merchant(o, id).exitedAt != 0) left(o, id);
        successes["forceExit"]++;
    }

    function claim(uint256 who) external {
        who = mix(who);
        address account = merchantAt(who % MERCHANTS);
        for (uint256 i = 1; i < MERCHANTS && datanet.creditOf(account) == 0; ++i) {
            account = merchantAt((who % MERCHANTS + i) % MERCHANTS);
        }
        vm.prank(account);
        datanet.claim(account);
        successes["claim"]++;
    }

    function left(uint32 o, uint32 id) private {
        if (!isOpen()) flag("I12: left outside the open window");
        for (uint16 j = 0; j < 2; ++j) {
            if (lockedOf[o][id][j].length > 0) flag("a lock is left behind");
        }
    }

    // Consumers

    function deposit(uint256 seed) external {
        seed = mix(seed);
        uint96 amount = uint96(1 + (seed >> 32) % (8 * AMOUNT_MAX));
        vm.prank(consumerAt((seed >> 8) % CONSUMERS));
        datanet.deposit(split(operatorFrom(seed), amount));
        deposited += amount;
        successes["deposit"]++;
    }

    function requestShift(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        uint96 amount = uint96(1 + (seed >> 32) % AMOUNT_MAX);
        vm.prank(consumerAt((seed >> 16) % CONSUMERS));
        datanet.requestShift(o, 1 + o % OPERATORS, amount);
    }

    function challengeShift(uint256 seed) external {
        seed = mix(seed);
        (uint32 o, uint256 c) = anyShift(seed);
        uint128 total = datanet.channel(o, consumerAt(c)).deposit;
        SignedVoucher memory v = voucher(o, c, uint96(bound(seed >> 32, total / 2, total)));
        datanet.challengeShift(o, v);
        note(o, vouchers(v));
    }

    function finalizeShift(uint256 seed) external {
        seed = mix(seed);
        (uint32 o, uint256 c) = anyShift(seed);
        Shift memory s = datanet.shift(o, consumerAt(c));
        if (s.requestedAt != 0 && _lastPeriod[o] <= s.period && seed >> 32 & 1 == 0) {
            toCommitment(periodNow() + 1);
            notarizeLeaves(o, randomBlock(o, seed), ids(), ids());
        }
        if (seed >> 33 & 3 != 0) toOpen(periodNow() + 1 + (seed >> 36 & 1));
        datanet.finalizeShift(o, consumerAt(c));
        if (!isOpen()) flag("I12: finalized outside the open window");
        if (block.timestamp < s.requestedAt + 130) flag("D30: no time to challenge");
        if (_lastPeriod[o] <= s.period) flag("D30: no block after the request");
        successes["finalizeShift"]++;
    }

    function cancelShift(uint256 seed) external {
        seed = mix(seed);
        if (seed >> 32 & 3 != 0) return;
        (uint32 o, uint256 c) = anyShift(seed);
        vm.prank(consumerAt(c));
        datanet.cancelShift(o);
    }

    /// @notice I13: a voucher for one operator handed in for another.
    function misuseVoucher(uint256 seed) external {
        seed = mix(seed);
        uint32 o = operatorFrom(seed);
        uint32 id = merchantFrom(o, seed >> 8);
        uint256 c = (seed >> 16) % CONSUMERS;
        (Leaf memory leaf, bytes32[] memory proof) = leafFor(o, id, seed >> 24);
        Channel memory before = datanet.channel(o, consumerAt(c));
        uint128 more = before.highestVoucher + 1;
        if (more > before.deposit) return;
        SignedVoucher[] memory v = vouchers(voucher(1 + (o % OPERATORS), c, uint96(more)));
        vm.prank(operatorAt(o));
        try datanet.lock(leaf, proof, v) {
            flag("I13: another operator's voucher");
        } catch {
            successes["misused"]++;
        }
    }

    // What actions share

    function lockAll(uint32 o, uint32 id, uint256 seed) private {
        Leaf[] memory leaves = abi.decode(_block[o], (Leaf[]));
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].merchant != id) continue;
            if (leaves[i].shardCount == 2 && leaves[i].shard == seed & 3) continue;
            (, bytes32[] memory proof) = proofOf(leaves, i);
            SignedVoucher[] memory v = covering(leaves[i], seed);
            uint16 shard = leaves[i].shard;
            if (lockedOf[o][id][shard].length > 0) {
                vm.prank(operatorAt(o));
                try datanet.lock(leaves[i], proof, v) {
                    flag("I5: locked twice");
                } catch {}
                continue;
            }
            vm.prank(operatorAt(o));
            datanet.lock(leaves[i], proof, v);
            note(o, v);
            lockedOf[o][id][shard] = abi.encode(leaves[i]);
            successes["lock"]++;
        }
    }

    /// @dev A shard with a lock of a merchant that is missing or isn't; any where there is none.
    function anyLock(uint32 o, uint256 seed, bool missing)
        private
        view
        returns (uint32 id, uint16 shard)
    {
        uint32 count = datanet.operator(o).merchantCount;
        id = merchantFrom(o, seed);
        for (uint256 i = 0; i < 2 * count; ++i) {
            shard = uint16((seed + i) & 1);
            bool isMissing = datanet.merchant(o, id).missingSince != 0;
            if (lockedOf[o][id][shard].length > 0 && isMissing == missing) return (id, shard);
            if (i & 1 == 1) id = id == count ? 1 : id + 1;
        }
    }

    /// @dev Whether the leaf is one of the last block.
    function isOf(Leaf memory leaf) private view returns (bool) {
        Leaf[] memory leaves = abi.decode(_block[leaf.operator], (Leaf[]));
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (hashOf(leaves[i]) == hashOf(leaf)) return true;
        }
        return false;
    }

    function note(uint32 o, SignedVoucher[] memory v) private {
        for (uint256 i = 0; i < v.length; ++i) {
            for (uint256 c = 0; c < CONSUMERS; ++c) {
                if (v[i].consumer != consumerAt(c)) continue;
                if (v[i].amount > seenOf[o][c]) seenOf[o][c] = v[i].amount;
            }
        }
    }

    /// @dev Joined after block k, or every leaf of block k is locked or was withdrawn in it.
    function isSecured(uint32 o, uint32 id, uint64 k) private view returns (bool) {
        if (datanet.merchant(o, id).joinedAt == k + 1) return true;
        Leaf[] memory leaves = abi.decode(_block[o], (Leaf[]));
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].merchant != id) continue;
            uint16 shard = leaves[i].shard;
            bool locked = keccak256(lockedOf[o][id][shard]) == keccak256(abi.encode(leaves[i]));
            if (!locked && _withdrawnIn[o][id][shard] != k + 1) return false;
        }
        return true;
    }

    /// @dev The fuzzer's numbers are often small; all their bits are used here.
    function mix(uint256 seed) private returns (uint256) {
        return uint256(keccak256(abi.encode(seed, ++calls)));
    }

    function flag(string memory what) private {
        if (bytes(violation).length == 0) violation = what;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {Channel, Leaf, Merchant, SignedVoucher} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Locks.tree: lock, unlock and what vouchers do
contract LocksTest is Market {
    uint32 private constant P = 2;
    uint32 private constant Q = 3;
    address private p = merchantAt(0);

    function setUp() external {
        openMarket(2);
        toOpen(0);
        join(1, p, 70);
        join(1, merchantAt(1), 71);
        fund(1, 0, 1000);
        fund(2, 0, 1000);
        fund(1, 1, 1000);
    }

    function test_Lock_ReservesTheLeaf() external {
        Leaf[] memory b = block1(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        Channel memory c = datanet.channel(1, consumerAt(0));
        check(c.reserved == 60 && c.highestVoucher == 100 && c.withdrawn == 0, "channel");
        check(datanet.lockOf(1, P, 0) == hashOf(b[0]), "hash");
        Merchant memory m = datanet.merchant(1, P);
        check(m.locked == 1 && m.settled == 1 && m.shardsAt == 2 && m.shardCount == 1, "tags");
    }

    function test_Lock_WorksInEveryPhaseForTheMerchantToo() external {
        Leaf[] memory b = block1(60, 40);
        (, bytes32[] memory proof) = proofOf(b, 0);
        vm.warp(START + 120);
        SignedVoucher[] memory v = vouchers(voucher(1, 0, 100));
        vm.prank(p);
        datanet.lock(b[0], proof, v);
        check(datanet.merchant(1, P).locked == 1, "locked");
    }

    function test_RevertWhen_AStrangerLocks() external {
        Leaf[] memory b = block1(60, 40);
        (, bytes32[] memory proof) = proofOf(b, 0);
        address q = merchantAt(1);
        vm.prank(q);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotMerchantAccount.selector, 1, P, q)
        );
        datanet.lock(b[0], proof, none());
    }

    /// @notice D23, I2: an inflated leaf would fill the reserves beyond what consumers signed.
    function test_D23_RevertWhen_VouchersDoNotCoverTheLock() external {
        Leaf[] memory b = block1(60, 40);
        bytes4 notCovered = Errors.Datanet_NotCovered.selector;
        expectLock(b, 0, none(), abi.encodeWithSelector(notCovered, 1, consumerAt(0), 60, 0));
        lock(b, 0, vouchers(voucher(1, 0, 99)));
        expectLock(b, 1, none(), abi.encodeWithSelector(notCovered, 1, consumerAt(0), 100, 99));
        lock(b, 1, vouchers(voucher(1, 0, 100)));
    }

    /// @notice D22: what isn't in the block can't be locked in its place.
    function test_D22_RevertWhen_TheLeafIsNotInTheBlock() external {
        Leaf[] memory b = block1(60, 40);
        Leaf memory less = leafOf(1, P, 1);
        expectForeign(less, b);
        expectForeign(leafOf(1, Q, 60), b);
        Leaf memory shorter = leafOf(1, P, 60);
        shorter.entries = new bytes32[](0);
        expectForeign(shorter, b);
    }

    function test_D17_RevertWhen_TheShardIsSettled() external {
        Leaf[] memory b = block1(60, 40);
        bytes memory settled =
            abi.encodeWithSelector(Errors.Datanet_ShardSettled.selector, 1, P, 0);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        expectLock(b, 0, none(), settled);
        (, bytes32[] memory proof) = proofOf(b, 0);
        toOpen(1);
        vm.prank(p);
        datanet.withdraw(b[0], proof, none(), p);
        expectLock(b, 0, none(), settled);
    }

    function test_RevertWhen_TheMerchantIsMissingOrJoinedLater() external {
        Leaf[] memory b = block1(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        toOpen(1);
        join(1, merchantAt(5), 75);
        Leaf[] memory late = new Leaf[](1);
        late[0] = leafOf(1, 4, 10);
        expectLock(
            late, 0, none(), abi.encodeWithSelector(Errors.Datanet_JoinedLater.selector, 1, 4)
        );
        toCommitment(2);
        (bytes32 root,) = proofOf(b, 0);
        notarize(draft(1, root, ids(P), ids()));
        bytes memory missing =
            abi.encodeWithSelector(Errors.Datanet_MerchantMissing.selector, 1, P);
        expectLock(b, 0, none(), missing);
        vm.expectRevert(missing);
        datanet.unlock(b[0]);
    }

    function test_D10_RevertWhen_EntriesAreNotCanonical() external {
        uint96[] memory two = new uint96[](2);
        (two[0], two[1]) = (5, 6);
        Leaf[] memory b = new Leaf[](3);
        b[0] = leafOf(1, P, two);
        (b[0].entries[0], b[0].entries[1]) = (b[0].entries[1], b[0].entries[0]);
        b[1] = leafOf(1, P, two);
        b[1].entries[1] = bytes32(uint256(b[1].entries[0]) + 1);
        b[2] = leafOf(1, P, two);
        b[2].entries[0] = bytes32((uint256(b[2].entries[0]) >> 96) << 96);
        notarizeNext(b);
        bytes4 order = Errors.Datanet_EntryOrder.selector;
        expectLock(b, 0, none(), abi.encodeWithSelector(order, 1));
        expectLock(b, 1, none(), abi.encodeWithSelector(order, 1));
        expectLock(b, 2, none(), abi.encodeWithSelector(order, 0));
    }

    function test_RevertWhen_TheLeafIsTooLarge() external {
        Leaf[] memory b = new Leaf[](3);
        b[0] = leafOf(1, P, 0);
        b[0].entries = new bytes32[](401);
        b[1] = leafOf(1, P, 5);
        (b[1].shard, b[1].shardCount) = (1, 1);
        b[2] = leafOf(1, P, 5);
        b[2].shardCount = 41;
        notarizeNext(b);
        bytes4 large = Errors.Datanet_LeafTooLarge.selector;
        expectLock(b, 0, none(), abi.encodeWithSelector(large, 401, 0, 1));
        expectLock(b, 1, none(), abi.encodeWithSelector(large, 1, 1, 1));
        expectLock(b, 2, none(), abi.encodeWithSelector(large, 1, 0, 41));
    }

    /// @notice D24: all shards are locked before their merchant goes missing; their number is one.
    function test_D24_Shards_AreSettledOneByOne() external {
        Leaf[] memory b = new Leaf[](3);
        for (uint16 i = 0; i < 2; ++i) {
            b[i] = leafOf(1, P, 10 + i);
            (b[i].shard, b[i].shardCount) = (i, 2);
        }
        b[2] = leafOf(1, P, 99);
        notarizeNext(b);
        lock(b, 0, vouchers(voucher(1, 0, 21)));
        expectLock(
            b, 2, none(), abi.encodeWithSelector(Errors.Datanet_ShardSettled.selector, 1, P, 0)
        );
        toCommitment(2);
        expectNotLocked();
        lock(b, 1, none());
        check(datanet.channel(1, consumerAt(0)).reserved == 21, "both");
        notarize(draft(1, "two", ids(P), ids()));
        check(datanet.merchant(1, P).missingSince == 3, "missing");
    }

    function test_D24_RevertWhen_TheNumberOfShardsDiffers() external {
        Leaf[] memory b = new Leaf[](2);
        b[0] = leafOf(1, P, 10);
        b[1] = leafOf(1, P, 10);
        (b[1].shard, b[1].shardCount) = (1, 2);
        notarizeNext(b);
        lock(b, 0, vouchers(voucher(1, 0, 21)));
        expectLock(
            b, 1, none(), abi.encodeWithSelector(Errors.Datanet_ShardCountMismatch.selector, 1, 2)
        );
    }

    function test_Unlock_FreesTheReserveOnceALaterBlockIsSigned() external {
        Leaf[] memory b = block1(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_LockLive.selector, 1, P));
        datanet.unlock(b[0]);
        notarizeNext(b);
        expectLock(b, 0, none(), abi.encodeWithSelector(Errors.Datanet_LockStale.selector, 1, P));
        vm.expectRevert(
            abi.encodeWithSelector(
                Errors.Datanet_LockMismatch.selector, hashOf(b[0]), hashOf(leafOf(1, P, 59))
            )
        );
        datanet.unlock(leafOf(1, P, 59));
        datanet.unlock(b[0]);
        check(datanet.channel(1, consumerAt(0)).reserved == 0, "free");
        check(datanet.lockOf(1, P, 0) == 0 && datanet.merchant(1, P).locked == 0, "no lock");
        lock(b, 0, none());
    }

    /// @notice D42: a lock of another shard, left over from an older block, counts twice what the
    /// last block owes.
    function test_D42_RevertWhen_AnotherShardsLockIsStale() external {
        Leaf[] memory b = new Leaf[](2);
        for (uint16 i = 0; i < 2; ++i) {
            b[i] = leafOf(1, P, 10);
            (b[i].shard, b[i].shardCount) = (i, 2);
        }
        notarizeNext(b);
        lock(b, 1, vouchers(voucher(1, 0, 100)));
        Leaf[] memory one = new Leaf[](1);
        one[0] = leafOf(1, P, 20);
        notarizeNext(one);
        expectLock(one, 0, none(), abi.encodeWithSelector(Errors.Datanet_LockStale.selector, 1, P));
        datanet.unlock(b[1]);
        lock(one, 0, none());
        check(datanet.channel(1, consumerAt(0)).reserved == 20, "once");
    }

    /// @notice I13, D6: a voucher for another operator, contract or chain changes nothing.
    function test_I13_RevertWhen_TheVoucherIsForSomethingElse() external {
        Leaf[] memory b = block1(60, 40);
        bytes4 mismatch = Errors.Datanet_SignerMismatch.selector;
        expectLockSelector(b, vouchers(voucher(2, 0, 100)), mismatch);
        SignedVoucher memory good = voucher(1, 0, 100);
        good.amount = 101;
        expectLockSelector(b, vouchers(good), mismatch);
        good = voucher(1, 1, 100);
        good.consumer = consumerAt(0);
        expectLockSelector(b, vouchers(good), mismatch);
        good = voucher(1, 0, 100);
        vm.chainId(1);
        expectLockSelector(b, vouchers(good), mismatch);
    }

    /// @notice I17, D34.
    function test_I17_RevertWhen_TheVoucherIsMalleated() external {
        Leaf[] memory b = block1(60, 40);
        SignedVoucher memory v = voucher(1, 0, 100);
        uint256 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 s = uint256(v.vs) & (type(uint256).max >> 1);
        SignedVoucher memory high = v;
        // The top bit is the parity: s above n / 2 doesn't even fit beside it, or is refused.
        high.vs = bytes32(n - s);
        expectLockAny(b, vouchers(high));
        v = voucher(1, 0, 100);
        v.vs = bytes32(uint256(v.vs) ^ (1 << 255));
        expectLockSelector(b, vouchers(v), Errors.Datanet_SignerMismatch.selector);
        v.r = 0;
        expectLockSelector(b, vouchers(v), ECDSA.ECDSAInvalidSignature.selector);
        v = SignedVoucher(address(0), 1, 0, 0);
        expectLockSelector(b, vouchers(v), Errors.Datanet_VoucherAboveDeposit.selector);
    }

    function test_D35_RevertWhen_TheVoucherIsAboveTheDeposit() external {
        Leaf[] memory b = block1(60, 40);
        expectLock(
            b,
            0,
            vouchers(voucher(1, 0, 1001)),
            abi.encodeWithSelector(
                Errors.Datanet_VoucherAboveDeposit.selector, 1, consumerAt(0), 1001
            )
        );
        lock(b, 0, vouchers(voucher(1, 0, 1000)));
    }

    /// @notice I3: an older voucher is ignored, whatever its signature is.
    function test_I3_ALowerVoucherIsIgnored() external {
        Leaf[] memory b = block1(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        lock(b, 1, vouchers(SignedVoucher(consumerAt(0), 100, 0, 0)));
        check(datanet.channel(1, consumerAt(0)).highestVoucher == 100, "mu");
    }

    function block1(uint96 ofP, uint96 ofQ) private returns (Leaf[] memory b) {
        b = new Leaf[](2);
        (b[0], b[1]) = (leafOf(1, P, ofP), leafOf(1, Q, ofQ));
        notarizeNext(b);
    }

    function notarizeNext(Leaf[] memory b) private {
        toCommitment(periodNow() + 1);
        (bytes32 root,) = proofOf(b, 0);
        notarize(draft(1, root, ids(), ids()));
    }

    function lock(Leaf[] memory b, uint256 index, SignedVoucher[] memory v) private {
        (, bytes32[] memory proof) = proofOf(b, index);
        vm.prank(operatorAt(1));
        datanet.lock(b[index], proof, v);
    }

    function expectLock(
        Leaf[] memory b,
        uint256 index,
        SignedVoucher[] memory v,
        bytes memory refusal
    ) private {
        (, bytes32[] memory proof) = proofOf(b, index);
        vm.prank(operatorAt(1));
        vm.expectRevert(refusal);
        datanet.lock(b[index], proof, v);
    }

    function expectLockSelector(Leaf[] memory b, SignedVoucher[] memory v, bytes4 selector)
        private
    {
        (, bytes32[] memory proof) = proofOf(b, 0);
        vm.prank(operatorAt(1));
        vm.expectPartialRevert(selector);
        datanet.lock(b[0], proof, v);
    }

    function expectLockAny(Leaf[] memory b, SignedVoucher[] memory v) private {
        (, bytes32[] memory proof) = proofOf(b, 0);
        vm.prank(operatorAt(1));
        vm.expectRevert();
        datanet.lock(b[0], proof, v);
    }

    function expectForeign(Leaf memory leaf, Leaf[] memory b) private {
        (bytes32 root, bytes32[] memory proof) = proofOf(b, 0);
        vm.prank(operatorAt(1));
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_LeafNotInBlock.selector, hashOf(leaf), root)
        );
        datanet.lock(leaf, proof, none());
    }

    function expectNotLocked() private {
        Draft memory d = draft(1, "two", ids(P), ids());
        vm.prank(operatorAt(1));
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotLocked.selector, 1, P));
        datanet.notarize(1, d.root, d.tau, d.missing, d.returning, d.keys, d.signature);
    }
}

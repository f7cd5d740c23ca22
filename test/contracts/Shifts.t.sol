// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {
    Channel,
    Leaf,
    SHIFT_REQUEST_TYPEHASH,
    Shift,
    ShiftRequest,
    SignedVoucher
} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Shifts.tree
contract ShiftsTest is Market {
    address private constant CHALLENGER = address(0xca11);
    uint256 private constant DELTA = 3;
    address private consumer = consumerAt(0);

    function setUp() external {
        openMarket(2);
        fund(1, 0, 1000);
        token.mint(consumer, 10 * BOND);
        toOpen(0);
    }

    function test_Shift_ArrivesAfterChallengeAndBlock() external {
        request(600);
        Shift memory s = datanet.shift(1, consumer);
        check(s.to == 2 && s.amount == 600 && s.bond == BOND && s.period == 0, "pending");
        check(s.requestedAt == block.timestamp, "time");
        check(token.balanceOf(consumer) == 9 * BOND, "bond");
        blockInPeriod(1);
        toOpen(3);
        datanet.finalizeShift(1, consumer);
        check(datanet.channel(1, consumer).deposit == 400, "from");
        check(datanet.channel(2, consumer).deposit == 600, "to");
        check(token.balanceOf(consumer) == 10 * BOND, "bond back");
        check(datanet.shift(1, consumer).requestedAt == 0, "done");
        bytes memory unknown =
            abi.encodeWithSelector(Errors.Datanet_ShiftUnknown.selector, 1, consumer);
        vm.expectRevert(unknown);
        datanet.finalizeShift(1, consumer);
    }

    /// @notice D30: a challenge period isn't enough, signers of a later block must have known.
    function test_D30_RevertWhen_NoBlockFollowed() external {
        request(600);
        toOpen(3);
        expectEarly();
        blockInPeriod(4);
        toOpen(4);
        datanet.finalizeShift(1, consumer);
    }

    /// @notice D30: a block of the period in which it was requested began before.
    function test_D30_RevertWhen_TheBlockBeganBeforeTheRequest() external {
        toCommitment(1);
        request(600);
        vm.warp(block.timestamp + 1);
        notarize(draft(1, "one", ids(), ids()));
        toOpen(4);
        vm.expectPartialRevert(Errors.Datanet_ShiftTooEarly.selector);
        datanet.finalizeShift(1, consumer);
    }

    /// @notice D43: at g signers see a head that is up to delta old. The block after a request in
    /// that freeze gives a merchant 900 of a voucher of 900; the shift would take 600 of the 1000.
    function test_D43_RevertWhen_RequestedInTheFreezeBeforeTheBlock() external {
        join(1, merchantAt(0), 70);
        vm.warp(START + BETA - DELTA);
        request(600);
        check(datanet.shift(1, consumer).period == 1, "period");
        Leaf[] memory b = new Leaf[](1);
        b[0] = leafOf(1, 2, 900);
        (bytes32 root, bytes32[] memory proof) = proofOf(b, 0);
        toCommitment(1);
        notarize(draft(1, root, ids(), ids()));
        toOpen(3);
        vm.expectRevert(
            abi.encodeWithSelector(
                Errors.Datanet_ShiftTooEarly.selector, START + BETA - DELTA + 130, 1
            )
        );
        datanet.finalizeShift(1, consumer);
        // Nobody challenged, and she is paid in full.
        SignedVoucher[] memory v = vouchers(voucher(1, 0, 900));
        vm.prank(merchantAt(0));
        datanet.withdraw(b[0], proof, v, merchantAt(0));
        check(token.balanceOf(merchantAt(0)) == 900, "paid");
    }

    /// @notice D43: one second before the freeze every signer's head shows it.
    function test_D43_ARequestBeforeTheFreezeIsSeenByTheNextBlock() external {
        vm.warp(START + BETA - DELTA - 1);
        request(600);
        check(datanet.shift(1, consumer).period == 0, "period");
        blockInPeriod(1);
        toOpen(3);
        datanet.finalizeShift(1, consumer);
    }

    function test_D30_RevertWhen_TheChallengeStillRuns() external {
        request(600);
        blockInPeriod(1);
        toOpen(2);
        expectEarly();
        vm.warp(START + 25 + 130);
        datanet.finalizeShift(1, consumer);
    }

    function test_Finalize_NeedsNoBlockOfADeadOperator() external {
        request(600);
        uint256 dead = START + 25 + 90 days;
        vm.warp(dead - 1);
        vm.expectPartialRevert(Errors.Datanet_ShiftTooEarly.selector);
        datanet.finalizeShift(1, consumer);
        vm.warp(dead);
        datanet.finalizeShift(1, consumer);
        check(datanet.channel(2, consumer).deposit == 600, "arrived");
    }

    function test_I12_RevertWhen_FinalizedOutsideTheOpenWindow() external {
        request(600);
        blockInPeriod(1);
        toCommitment(4);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotOpen.selector, 1, 5));
        datanet.finalizeShift(1, consumer);
    }

    function test_Challenge_CutsToWhatIsUnspentAndPaysTheBond() external {
        request(600);
        challenge(500);
        Shift memory s = datanet.shift(1, consumer);
        check(s.amount == 500 && s.bond == 0 && s.requestedAt != 0, "cut");
        check(token.balanceOf(CHALLENGER) == BOND, "bond");
        challenge(900);
        check(datanet.shift(1, consumer).amount == 100, "again");
        check(token.balanceOf(CHALLENGER) == BOND, "one bond");
        challenge(1000);
        check(datanet.shift(1, consumer).requestedAt == 0, "nothing left");
        vm.prank(consumer);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_ShiftCooling.selector, block.timestamp + 130)
        );
        datanet.requestShift(1, 2, 1);
    }

    /// @notice D31
    function test_D31_AfterAChallengeTheConsumerWaits() external {
        request(600);
        challenge(401);
        vm.prank(consumer);
        datanet.cancelShift(1);
        uint256 until = block.timestamp + 130;
        vm.warp(until - 1);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_ShiftCooling.selector, until));
        datanet.requestShift(1, 2, 1);
        vm.warp(until);
        request(599);
    }

    function test_RevertWhen_TheVoucherTakesNothingFromTheShift() external {
        request(600);
        SignedVoucher memory v = voucher(1, 0, 400);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_ChallengeFailed.selector, 1, consumer)
        );
        datanet.challengeShift(1, v);
        v = voucher(1, 1, 400);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_ShiftUnknown.selector, 1, consumerAt(1))
        );
        datanet.challengeShift(1, v);
    }

    /// @notice I13, D6: what was signed for operator 1 takes nothing from operator 2.
    function test_I13_RevertWhen_TheVoucherIsForAnotherOperator() external {
        fund(2, 0, 1000);
        vm.prank(consumer);
        datanet.requestShift(2, 1, 600);
        SignedVoucher memory v = voucher(1, 0, 900);
        vm.expectPartialRevert(Errors.Datanet_SignerMismatch.selector);
        datanet.challengeShift(2, v);
        check(datanet.channel(2, consumer).highestVoucher == 0, "nothing seen");
    }

    /// @notice I14: a voucher that comes in with a lock counts like a challenge.
    function test_I14_Finalize_LeavesWhatAVoucherSpent() external {
        join(1, merchantAt(0), 70);
        request(600);
        Leaf[] memory b = new Leaf[](1);
        b[0] = leafOf(1, 2, 900);
        (bytes32 root, bytes32[] memory proof) = proofOf(b, 0);
        toCommitment(1);
        notarize(draft(1, root, ids(), ids()));
        SignedVoucher[] memory v = vouchers(voucher(1, 0, 900));
        vm.prank(operatorAt(1));
        datanet.lock(b[0], proof, v);
        toOpen(3);
        datanet.finalizeShift(1, consumer);
        Channel memory c = datanet.channel(1, consumer);
        check(c.deposit == 900 && c.highestVoucher == 900 && c.reserved == 900, "from");
        check(datanet.channel(2, consumer).deposit == 100, "to");
    }

    function test_Cancel_GivesTheBondBack() external {
        vm.prank(consumer);
        vm.expectPartialRevert(Errors.Datanet_ShiftUnknown.selector);
        datanet.cancelShift(1);
        request(600);
        vm.prank(consumer);
        datanet.cancelShift(1);
        check(token.balanceOf(consumer) == 10 * BOND, "bond");
        request(600);
    }

    function test_RevertWhen_TheRequestIsImpossible() external {
        expectRequest(1, 1, 5, abi.encodeWithSelector(Errors.Datanet_ShiftToSelf.selector, 1));
        expectRequest(1, 3, 5, abi.encodeWithSelector(Errors.Datanet_OperatorUnknown.selector, 3));
        expectRequest(3, 1, 5, abi.encodeWithSelector(Errors.Datanet_OperatorUnknown.selector, 3));
        bytes4 amount = Errors.Datanet_ShiftAmount.selector;
        expectRequest(1, 2, 0, abi.encodeWithSelector(amount, 0, 1000));
        expectRequest(1, 2, 1001, abi.encodeWithSelector(amount, 1001, 1000));
        request(1000);
        expectRequest(
            1, 2, 5, abi.encodeWithSelector(Errors.Datanet_ShiftPending.selector, 1, consumer)
        );
        vm.prank(operatorAt(2));
        datanet.retireOperator(2);
        blockInPeriod(1);
        toOpen(3);
        bytes memory retired = abi.encodeWithSelector(Errors.Datanet_OperatorRetired.selector, 2);
        vm.expectRevert(retired);
        datanet.finalizeShift(1, consumer);
        vm.prank(consumer);
        datanet.cancelShift(1);
        expectRequest(1, 2, 5, retired);
    }

    function test_BySig_TakesWhatTheConsumerSignedOnce() external {
        ShiftRequest memory r = ShiftRequest(consumer, 1, 2, 600, 0, uint64(block.timestamp));
        bytes memory signature = sign(r);
        r.amount = 601;
        vm.expectPartialRevert(Errors.Datanet_SignerMismatch.selector);
        datanet.requestShiftBySig(r, signature);
        r.amount = 600;
        datanet.requestShiftBySig(r, signature);
        check(datanet.shift(1, consumer).amount == 600, "pending");
        check(token.balanceOf(consumer) == 9 * BOND, "the consumer's bond");
        vm.prank(consumer);
        datanet.cancelShift(1);
        vm.expectRevert(abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, consumer, 1));
        datanet.requestShiftBySig(r, signature);
    }

    function request(uint96 amount) private {
        vm.prank(consumer);
        datanet.requestShift(1, 2, amount);
    }

    function challenge(uint96 spent) private {
        SignedVoucher memory v = voucher(1, 0, spent);
        vm.prank(CHALLENGER);
        datanet.challengeShift(1, v);
    }

    function blockInPeriod(uint256 period) private {
        toCommitment(period);
        notarize(draft(1, "block", ids(), ids()));
    }

    function expectEarly() private {
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_ShiftTooEarly.selector, START + 25 + 130, 0)
        );
        datanet.finalizeShift(1, consumer);
    }

    function expectRequest(uint32 from, uint32 to, uint96 amount, bytes memory refusal) private {
        vm.prank(consumer);
        vm.expectRevert(refusal);
        datanet.requestShift(from, to, amount);
    }

    function sign(ShiftRequest memory r) private view returns (bytes memory) {
        (uint8 v, bytes32 x, bytes32 s) =
            vm.sign(CONSUMER_KEY, digestOf(keccak256(abi.encode(SHIFT_REQUEST_TYPEHASH, r))));
        return abi.encodePacked(x, s, v);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Errors} from "../../chain/contracts/Errors.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Channel, Leaf, SignedVoucher} from "../../chain/contracts/Types.sol";
import {Mintable} from "./Base.sol";
import {Market} from "./Market.sol";
import {CallbackToken} from "./Tokens.sol";

/// @notice Withdrawals.tree
contract WithdrawalsTest is Market {
    uint32 private constant P = 2;
    uint32 private constant Q = 3;
    address private constant PURSE = address(0xb00);
    address private p = merchantAt(0);

    function setUp() external {
        openMarket(1);
        prepare();
    }

    function prepare() private {
        toOpen(0);
        join(1, p, 70);
        join(1, merchantAt(1), 71);
        fund(1, 0, 1000);
    }

    function test_Withdraw_PaysTheLeafToWhomTheMerchantSays() external {
        Leaf[] memory b = notarizeNext(60, 40);
        toOpen(1);
        withdraw(b, 0, vouchers(voucher(1, 0, 100)));
        check(token.balanceOf(PURSE) == 60, "paid");
        Channel memory c = datanet.channel(1, consumerAt(0));
        check(c.withdrawn == 60 && c.reserved == 0 && c.highestVoucher == 100, "channel");
        withdraw(b, 1, none());
        check(token.balanceOf(address(datanet)) == 900, "I1");
    }

    function test_I12_RevertWhen_TheWindowIsClosed() external {
        Leaf[] memory b = notarizeNext(60, 40);
        uint256[5] memory closed = [uint256(66), 75, 78, 117, 120];
        for (uint256 i = 0; i < closed.length; ++i) {
            vm.warp(START + closed[i]);
            expectWithdraw(
                b, abi.encodeWithSelector(Errors.Datanet_NotOpen.selector, 1, closed[i] % 60)
            );
        }
    }

    function test_RevertWhen_AnotherAccountWithdraws() external {
        Leaf[] memory b = notarizeNext(60, 40);
        (, bytes32[] memory proof) = proofOf(b, 0);
        toOpen(1);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotMerchantAccount.selector, 1, P, address(this))
        );
        datanet.withdraw(b[0], proof, none(), PURSE);
        vm.prank(p);
        vm.expectRevert(Errors.Datanet_RecipientZero.selector);
        datanet.withdraw(b[0], proof, none(), address(0));
    }

    function test_I11_RevertWhen_TheBlockIsWithdrawnTwice() external {
        Leaf[] memory b = notarizeNext(60, 40);
        toOpen(1);
        withdraw(b, 0, vouchers(voucher(1, 0, 1000)));
        bytes memory settled =
            abi.encodeWithSelector(Errors.Datanet_ShardSettled.selector, 1, P, 0);
        expectWithdraw(b, settled);
        b = notarizeNext(10, 40);
        toOpen(2);
        withdraw(b, 0, none());
        check(token.balanceOf(PURSE) == 70, "the next block again");
    }

    /// @notice D29: a block that promises more than vouchers cover pays what is there, and tells.
    function test_D29_Withdraw_TellsWhatItDidNotPay() external {
        Leaf[] memory b = notarizeNext(60, 40);
        toOpen(1);
        withdraw(b, 1, vouchers(voucher(1, 0, 70)));
        (, bytes32[] memory proof) = proofOf(b, 0);
        bytes32[] memory paid = new bytes32[](1);
        paid[0] = entry(0, 30);
        vm.expectEmit(address(datanet));
        emit IDatanet.ShortPaid(1, P, consumerAt(0), 60, 30);
        vm.expectEmit(address(datanet));
        emit IDatanet.Withdrawn(1, P, 0, 1, 30, false, paid);
        vm.prank(p);
        datanet.withdraw(b[0], proof, none(), PURSE);
        check(token.balanceOf(PURSE) == 70, "what vouchers cover");
    }

    /// @notice D27: her own reservation doesn't stand in her way, nor does another's.
    function test_D29_Withdraw_LeavesWhatIsReservedForOthers() external {
        Leaf[] memory b = notarizeNext(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 70)));
        toOpen(1);
        withdraw(b, 1, none());
        check(token.balanceOf(PURSE) == 10, "what the lock leaves");
        withdraw(b, 0, none());
        check(token.balanceOf(PURSE) == 70, "and the lock in full");
    }

    function test_D27_Withdraw_PaysALockExactly() external {
        Leaf[] memory b = notarizeNext(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        toOpen(1);
        withdraw(b, 1, none());
        withdraw(b, 0, none());
        check(token.balanceOf(PURSE) == 100, "both");
        Channel memory c = datanet.channel(1, consumerAt(0));
        check(c.withdrawn == 100 && c.reserved == 0, "channel");
        expectWithdraw(b, abi.encodeWithSelector(Errors.Datanet_ShardSettled.selector, 1, P, 0));
    }

    /// @notice Theorem 12, second case: absent, she is paid her lock whatever later blocks say.
    function test_Withdraw_OfTheMissingIsHerLockAtAnyLaterBlock() external {
        Leaf[] memory b = notarizeNext(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        Leaf[] memory worse = goMissing(1, 99);
        toOpen(2);
        expectWithdraw(
            worse,
            abi.encodeWithSelector(
                Errors.Datanet_LockMismatch.selector, hashOf(b[0]), hashOf(worse[0])
            )
        );
        withdraw(worse, 1, none());
        check(token.balanceOf(PURSE) == 40, "the other is cut to what is free");
        withdraw(b, 0, none());
        check(token.balanceOf(PURSE) == 100, "she gets all");
        expectWithdraw(
            b,
            abi.encodeWithSelector(Errors.Datanet_LockMismatch.selector, bytes32(0), hashOf(b[0]))
        );
    }

    function test_D28_RevertWhen_TheMerchantHasLeft() external {
        Leaf[] memory b = notarizeNext(60, 40);
        toOpen(1);
        bytes memory key = keyOf(70);
        vm.prank(p);
        datanet.exit(1, P, key);
        expectWithdraw(b, abi.encodeWithSelector(Errors.Datanet_MerchantNotActive.selector, 1, P));
    }

    function test_RevertWhen_TheStaleLockIsStillThere() external {
        Leaf[] memory b = notarizeNext(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 200)));
        b = notarizeNext(80, 40);
        toOpen(2);
        bytes memory key = keyOf(70);
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_LockLive.selector, 1, P));
        datanet.exit(1, P, key);
        expectWithdraw(b, abi.encodeWithSelector(Errors.Datanet_LockStale.selector, 1, P));
        datanet.unlock(leafOf(1, P, 60));
        withdraw(b, 0, none());
        check(token.balanceOf(PURSE) == 80, "paid once");
    }

    function test_Multicall_WithdrawsAndExits() external {
        Leaf[] memory b = notarizeNext(60, 40);
        (, bytes32[] memory proof) = proofOf(b, 0);
        toOpen(1);
        bytes[] memory calls = new bytes[](2);
        SignedVoucher[] memory v = vouchers(voucher(1, 0, 100));
        calls[0] = abi.encodeCall(IDatanet.withdraw, (b[0], proof, v, PURSE));
        calls[1] = abi.encodeCall(IDatanet.exit, (1, P, keyOf(71)));
        vm.prank(p);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_BlsKeyMismatch.selector, 1, P));
        datanet.multicall(calls);
        check(token.balanceOf(PURSE) == 0, "all or none");
        calls[1] = abi.encodeCall(IDatanet.exit, (1, P, keyOf(70)));
        vm.prank(p);
        datanet.multicall(calls);
        check(token.balanceOf(PURSE) == 60 && datanet.merchant(1, P).exitedAt == 2, "both");
    }

    function test_D37_ForceExit_CreditsTheLock() external {
        Leaf[] memory b = notarizeNext(60, 40);
        lock(b, 0, vouchers(voucher(1, 0, 100)));
        goMissing(60, 40);
        toOpen(2);
        expectForce(
            b[0], abi.encodeWithSelector(Errors.Datanet_NotMissingLongEnough.selector, 1, P, 1)
        );
        expectForce(
            leafOf(1, Q, 40),
            abi.encodeWithSelector(Errors.Datanet_NotMerchantAccount.selector, 1, Q, p)
        );
        notarizeNext(60, 40);
        toCommitment(3);
        expectForce(b[0], abi.encodeWithSelector(Errors.Datanet_NotOpen.selector, 1, 5));
        toOpen(3);
        expectForce(
            leafOf(1, P, 1),
            abi.encodeWithSelector(
                Errors.Datanet_LockMismatch.selector, hashOf(b[0]), hashOf(leafOf(1, P, 1))
            )
        );
        vm.prank(operatorAt(1));
        datanet.forceExit(b[0], p);
        check(datanet.creditOf(p) == 60 && datanet.merchant(1, P).exitedAt == 4, "out");
        check(datanet.channel(1, consumerAt(0)).withdrawn == 60, "w");
        claim(60);
    }

    function test_ForceExit_WithoutALockJustEndsIt() external {
        toCommitment(1);
        notarize(draft(1, "one", ids(P), ids()));
        toCommitment(2);
        notarize(draft(1, "two", ids(), ids()));
        toOpen(2);
        vm.prank(operatorAt(1));
        datanet.forceExit(leafOf(1, P, 0), p);
        check(datanet.creditOf(p) == 0 && datanet.merchant(1, P).exitedAt == 3, "out");
    }

    function test_RevertWhen_ForceExitIsNotTheOperatorsOrTheMerchantIsThere() external {
        Leaf memory leaf = leafOf(1, P, 60);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotOperatorAccount.selector, 1, address(this))
        );
        datanet.forceExit(leaf, p);
        expectForce(leaf, abi.encodeWithSelector(Errors.Datanet_MerchantNotMissing.selector, 1, P));
    }

    function test_RevertWhen_ThereIsNothingToClaim() external {
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NothingToClaim.selector, address(this))
        );
        datanet.claim(PURSE);
    }

    /// @notice I16, D36: a token that calls back finds every function that moves money shut.
    function test_I16_D36_ReentrantCallsFailAndTheSumStands() external {
        CallbackToken callback = new CallbackToken();
        openMarket(1, Mintable(address(callback)));
        prepare();
        Leaf[] memory b = notarizeNext(60, 40);
        (, bytes32[] memory proof) = proofOf(b, 0);
        toOpen(1);
        SignedVoucher[] memory v = vouchers(voucher(1, 0, 100));
        bytes[4] memory plans = [
            abi.encodeCall(IDatanet.withdraw, (b[0], proof, v, PURSE)),
            abi.encodeCall(IDatanet.claim, (PURSE)),
            abi.encodeCall(IDatanet.requestShift, (1, 1, 1)),
            abi.encodeCall(IDatanet.cancelShift, (1))
        ];
        callback.mint(consumerAt(0), plans.length);
        bytes32 guard = keccak256("ReentrancyGuardReentrantCall()");
        Guarded probe = new Guarded(address(datanet));
        for (uint256 i = 0; i < plans.length; ++i) {
            callback.planCall(address(probe), abi.encodeCall(Guarded.run, (plans[i])));
            vm.prank(consumerAt(0));
            datanet.deposit(split(1, 1));
            check(probe.last() == bytes4(guard), "guarded");
        }
        withdraw(b, 0, v);
        check(callback.balanceOf(PURSE) == 60, "paid once");
    }

    function claim(uint256 amount) private {
        vm.prank(p);
        vm.expectRevert(Errors.Datanet_RecipientZero.selector);
        datanet.claim(address(0));
        vm.prank(p);
        datanet.claim(PURSE);
        check(token.balanceOf(PURSE) == amount && datanet.creditOf(p) == 0, "claimed");
    }

    function notarizeNext(uint96 ofP, uint96 ofQ) private returns (Leaf[] memory b) {
        return notarizeNext(ofP, ofQ, ids());
    }

    function goMissing(uint96 ofP, uint96 ofQ) private returns (Leaf[] memory b) {
        return notarizeNext(ofP, ofQ, ids(P));
    }

    function notarizeNext(uint96 ofP, uint96 ofQ, uint32[] memory missing)
        private
        returns (Leaf[] memory b)
    {
        b = new Leaf[](2);
        (b[0], b[1]) = (leafOf(1, P, ofP), leafOf(1, Q, ofQ));
        toCommitment(periodNow() + 1);
        (bytes32 root,) = proofOf(b, 0);
        notarize(draft(1, root, missing, ids()));
    }

    function lock(Leaf[] memory b, uint256 index, SignedVoucher[] memory v) private {
        (, bytes32[] memory proof) = proofOf(b, index);
        vm.prank(operatorAt(1));
        datanet.lock(b[index], proof, v);
    }

    function withdraw(Leaf[] memory b, uint256 index, SignedVoucher[] memory v) private {
        (, bytes32[] memory proof) = proofOf(b, index);
        vm.prank(merchantAt(index));
        datanet.withdraw(b[index], proof, v, PURSE);
    }

    function expectWithdraw(Leaf[] memory b, bytes memory refusal) private {
        (, bytes32[] memory proof) = proofOf(b, 0);
        vm.prank(p);
        vm.expectRevert(refusal);
        datanet.withdraw(b[0], proof, none(), PURSE);
    }

    function expectForce(Leaf memory leaf, bytes memory refusal) private {
        vm.prank(operatorAt(1));
        vm.expectRevert(refusal);
        datanet.forceExit(leaf, p);
    }
}

/// @notice Remembers by which error a call was refused.
contract Guarded {
    address private immutable _target;
    bytes4 public last;

    constructor(address target) {
        _target = target;
    }

    function run(bytes calldata data) external {
        (, bytes memory answer) = _target.call(data);
        last = bytes4(answer);
    }
}

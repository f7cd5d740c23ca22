// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Channel, Split} from "../../chain/contracts/Types.sol";
import {Base, Mintable} from "./Base.sol";
import {FeeToken, LyingToken, RefusingToken, ReentrantToken} from "./Tokens.sol";

interface Guarded {
    error ReentrancyGuardReentrantCall();
}

/// @notice Channels.tree
contract ChannelsTest is Base {
    address private constant OPERATOR = address(0xa11ce);
    address private constant CONSUMER = address(0xc0);
    address private constant PAYER = address(0xfa);
    Mintable private token;
    IDatanet private datanet;

    function setUp() external {
        token = deployToken();
        open(token);
        token.mint(PAYER, type(uint128).max);
    }

    function test_Deposit_CreditsTheCaller() external {
        deposit(split(1, 5));
        deposit(split(1, 7));
        Channel memory c = datanet.channel(1, PAYER);
        check(c.deposit == 12 && c.reserved == 0, "deposit");
        check(c.highestVoucher == 0 && c.withdrawn == 0, "nothing else");
        check(token.balanceOf(address(datanet)) == 12, "I1");
    }

    function test_DepositFor_CreditsTheConsumerNotThePayer() external {
        vm.prank(PAYER);
        datanet.depositFor(CONSUMER, split(1, 5));
        check(datanet.channel(1, CONSUMER).deposit == 5, "consumer");
        check(datanet.channel(1, PAYER).deposit == 0, "payer");
        check(token.balanceOf(CONSUMER) == 0, "the payer's tokens");
    }

    function test_RevertWhen_TheConsumerIsZero() external {
        vm.prank(PAYER);
        vm.expectRevert(Errors.Datanet_ConsumerZero.selector);
        datanet.depositFor(address(0), split(1, 5));
    }

    /// @notice D33: no token counts for two operators.
    function testFuzz_D33_Deposit_SplitsTheSumBetweenOperators(uint96 first, uint96 second)
        external
    {
        registerOperator(datanet, OPERATOR, 8);
        uint256 before = token.balanceOf(PAYER);
        if (uint256(first) + second == 0) first = 1;
        deposit(two(1, first, 2, second));
        check(datanet.channel(1, PAYER).deposit == first, "first");
        check(datanet.channel(2, PAYER).deposit == second, "second");
        uint256 sum = uint256(first) + second;
        check(token.balanceOf(address(datanet)) == sum, "I4");
        check(before - token.balanceOf(PAYER) == sum, "paid once");
    }

    function test_D33_RevertWhen_AnOperatorIsNamedTwice() external {
        expectDeposit(
            two(1, 5, 1, 5), abi.encodeWithSelector(Errors.Datanet_SplitOrder.selector, 1, 1)
        );
    }

    function test_RevertWhen_TheOperatorsDoNotRise() external {
        registerOperator(datanet, OPERATOR, 8);
        expectDeposit(
            two(2, 5, 1, 5), abi.encodeWithSelector(Errors.Datanet_SplitOrder.selector, 2, 1)
        );
    }

    function test_RevertWhen_TheOperatorIsZero() external {
        expectDeposit(
            split(0, 5), abi.encodeWithSelector(Errors.Datanet_SplitOrder.selector, 0, 0)
        );
    }

    function test_RevertWhen_TheOperatorIsUnknownOrRetired() external {
        expectDeposit(
            two(1, 5, 2, 5), abi.encodeWithSelector(Errors.Datanet_OperatorUnknown.selector, 2)
        );
        deposit(split(1, 5));
        vm.prank(OPERATOR);
        datanet.retireOperator(1);
        expectDeposit(
            split(1, 5), abi.encodeWithSelector(Errors.Datanet_OperatorRetired.selector, 1)
        );
        check(datanet.channel(1, PAYER).deposit == 5, "what was there stays");
    }

    function test_RevertWhen_TheSumIsZero() external {
        bytes memory refusal = abi.encodeWithSelector(Errors.Datanet_DepositZero.selector);
        expectDeposit(split(1, 0), refusal);
        expectDeposit(new Split[](0), refusal);
    }

    function test_RevertWhen_TheDepositWouldReach2To96() external {
        deposit(split(1, type(uint96).max));
        bytes memory refusal = abi.encodeWithSelector(
            Errors.Datanet_DepositTooLarge.selector, 1, PAYER, uint256(1) << 96
        );
        expectDeposit(split(1, 1), refusal);
        check(datanet.channel(1, PAYER).deposit == type(uint96).max, "unchanged");
    }

    function test_RevertWhen_TheAllowanceIsShort() external {
        vm.prank(PAYER);
        token.approve(address(datanet), 4);
        vm.prank(PAYER);
        vm.expectRevert();
        datanet.deposit(split(1, 5));
        check(datanet.channel(1, PAYER).deposit == 0, "nothing stays of it");
    }

    function test_D36_RevertWhen_TheTokenTakesAFee() external {
        FeeToken fee = new FeeToken();
        fee.mint(PAYER, 1000);
        open(fee);
        expectDeposit(
            split(1, 1000),
            abi.encodeWithSelector(Errors.Datanet_TransferMismatch.selector, 1000, 990)
        );
    }

    function test_D36_RevertWhen_TheTokenMovesNothing() external {
        open(new LyingToken());
        expectDeposit(
            split(1, 5), abi.encodeWithSelector(Errors.Datanet_TransferMismatch.selector, 5, 0)
        );
    }

    function test_D36_RevertWhen_TheTokenReturnsFalse() external {
        RefusingToken refusing = new RefusingToken();
        open(refusing);
        expectDeposit(
            split(1, 5),
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, refusing)
        );
    }

    function test_D36_RevertWhen_TheTokenCallsBack() external {
        ReentrantToken reentrant = new ReentrantToken();
        reentrant.mint(PAYER, 5);
        open(reentrant);
        expectDeposit(
            split(1, 5), abi.encodeWithSelector(Guarded.ReentrancyGuardReentrantCall.selector)
        );
    }

    function test_RevertWhen_TheTokenHoldsNoCode() external {
        vm.expectRevert();
        this.create(IERC20(address(0x1234)));
    }

    function create(IERC20 which) external returns (IDatanet) {
        return deployDatanet(which, address(0));
    }

    function open(IERC20 which) private {
        datanet = deployDatanet(which, address(0));
        registerOperator(datanet, OPERATOR, 7);
        vm.prank(PAYER);
        which.approve(address(datanet), type(uint256).max);
    }

    function deposit(Split[] memory parts) private {
        vm.prank(PAYER);
        datanet.deposit(parts);
    }

    function expectDeposit(Split[] memory parts, bytes memory refusal) private {
        vm.prank(PAYER);
        vm.expectRevert(refusal);
        datanet.deposit(parts);
    }

    function two(uint32 a, uint96 x, uint32 b, uint96 y)
        private
        pure
        returns (Split[] memory parts)
    {
        parts = new Split[](2);
        parts[0] = Split(a, x);
        parts[1] = Split(b, y);
    }
}

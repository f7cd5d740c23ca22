// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Errors} from "../../chain/contracts/Errors.sol";
import {Channel, Leaf, Merchant, Operator, SignedVoucher} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Blocks.tree, notarize
contract BlocksTest is Market {
    function setUp() external {
        openMarket(2);
        toOpen(0);
        for (uint256 i = 0; i < 3; ++i) {
            join(1, merchantAt(i), 70 + i);
        }
        toCommitment(1);
    }

    function test_Notarize_StoresTheBlockAndKeepsApkA() external {
        bytes32[3] memory before = datanet.operator(1).apkA;
        notarize(draft(1, "one", ids(), ids()));
        Operator memory o = datanet.operator(1);
        check(o.k == 1 && o.lastPeriod == 1 && o.root == "one", "block");
        check(keccak256(abi.encode(o.apkA)) == keccak256(abi.encode(before)), "I6");
        toCommitment(5);
        notarize(draft(1, "two", ids(), ids()));
        o = datanet.operator(1);
        check(o.k == 2 && o.lastPeriod == 5 && o.root == "two", "the next");
    }

    function test_I12_RevertWhen_TheCommitmentWindowIsClosed() external {
        uint256[6] memory closed = [uint256(60), 75, 78, 79, 117, 119];
        for (uint256 i = 0; i < closed.length; ++i) {
            vm.warp(START + closed[i]);
            expect(
                draft(1, "one", ids(), ids()),
                abi.encodeWithSelector(Errors.Datanet_NotCommitment.selector, 1, closed[i] - 60)
            );
        }
        vm.warp(START + 61);
        notarize(draft(1, "one", ids(), ids()));
        vm.warp(START + 134);
        notarize(draft(1, "two", ids(), ids()));
    }

    /// @notice D13: the operator could notarize the better block first, then the worse.
    function test_D13_RevertWhen_ThePeriodHasABlock() external {
        notarize(draft(1, "one", ids(), ids()));
        vm.warp(block.timestamp + 1);
        expect(
            draft(1, "two", ids(), ids()),
            abi.encodeWithSelector(Errors.Datanet_PeriodUsed.selector, 1, 1)
        );
    }

    function test_RevertWhen_RootOrTauAreWrong() external {
        expect(draft(1, 0, ids(), ids()), abi.encodeWithSelector(Errors.Datanet_RootZero.selector));
        Draft memory d = draft(1, "one", ids(), ids());
        uint64[2] memory wrong = [uint64(START + 60), uint64(block.timestamp + 1)];
        for (uint256 i = 0; i < wrong.length; ++i) {
            d.tau = wrong[i];
            expect(d, abi.encodeWithSelector(Errors.Datanet_TauOutOfWindow.selector, wrong[i]));
        }
        d.tau = uint64(START + 61);
        d.signature = signBlock(d, secretSum(1, ids(), ids()));
        notarize(d);
    }

    function test_RevertWhen_AnotherAccountNotarizes() external {
        Draft memory d = draft(1, "one", ids(), ids());
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotOperatorAccount.selector, 1, address(this))
        );
        datanet.notarize(1, d.root, d.tau, d.missing, d.returning, d.keys, d.signature);
    }

    /// @notice D19, I9: signed by exactly those who aren't missing.
    function test_D19_RevertWhen_OneSignatureIsAbsent() external {
        bytes memory invalid =
            abi.encodeWithSelector(Errors.Datanet_BlockSignatureInvalid.selector, 1, 1);
        Draft memory d = draft(1, "one", ids(), ids());
        for (uint32 id = 1; id <= 4; ++id) {
            uint256 sum = secretSum(1, ids(), ids());
            d.signature = signBlock(d, addmod(sum, ORDER - secretOf[1][id], ORDER));
            expect(d, invalid);
        }
        d.signature = new bytes(256);
        expect(d, invalid);
    }

    /// @notice D6: every field of the block is signed.
    function test_D6_RevertWhen_ASignedFieldDiffers() external {
        bytes memory invalid =
            abi.encodeWithSelector(Errors.Datanet_BlockSignatureInvalid.selector, 1, 1);
        Draft memory d = draft(1, "one", ids(), ids());
        d.root = "two";
        expect(d, invalid);
        d = draft(1, "one", ids(), ids());
        d.tau -= 1;
        expect(d, invalid);
        d.tau = uint64(START + 125);
        d.signature = signBlock(d, secretSum(1, ids(), ids()));
        toCommitment(2);
        expect(d, invalid);
        toCommitment(1);
        d = draft(1, "one", ids(), ids());
        Draft memory other = draft(2, "one", ids(), ids());
        d.signature = signBlock(other, secretSum(1, ids(), ids()));
        expect(d, invalid);
        d = draft(1, "one", ids(), ids());
        vm.chainId(1);
        expect(d, invalid);
    }

    /// @notice A longer signature would add a pair of the caller's choice to the pairing check.
    function test_RevertWhen_KeysOrSignatureHaveAnotherLength() external {
        Draft memory d = draft(1, "one", ids(), ids());
        bytes4 coding = Errors.Datanet_BlockCodingLength.selector;
        bytes memory good = d.signature;
        d.signature = bytes.concat(good, keyOf(1), good);
        expect(d, abi.encodeWithSelector(coding, 0, 640));
        d.signature = good;
        d.keys = keyOf(70);
        expect(d, abi.encodeWithSelector(coding, 128, 256));
    }

    function test_D22_RevertWhen_TheMissingAreNotLocked() external {
        toOpen(1);
        notarizeNext("one", ids(), ids());
        Draft memory d = next("two", ids(2), ids());
        expect(d, abi.encodeWithSelector(Errors.Datanet_NotLocked.selector, 1, 2));
    }

    function test_Notarize_LetsWhoJustJoinedBeMissing() external {
        notarize(draft(1, "one", ids(2), ids()));
        check(datanet.merchant(1, 2).missingSince == 2, "since block 1");
    }

    function test_Notarize_LetsTheMissingReturn() external {
        notarize(draft(1, "one", ids(2, 3), ids()));
        notarizeNext("two", ids(), ids(3));
        check(datanet.merchant(1, 3).missingSince == 0, "back");
        check(datanet.merchant(1, 2).missingSince == 2, "still missing");
        notarizeNext("three", ids(), ids());
        check(datanet.operator(1).k == 3, "the same missing again");
    }

    function test_D20_RevertWhen_IdsDoNotRise() external {
        bytes4 order = Errors.Datanet_MerchantOrder.selector;
        expect(draft(1, "x", ids(2, 2), ids()), abi.encodeWithSelector(order, 2, 2));
        expect(draft(1, "x", ids(3, 2), ids()), abi.encodeWithSelector(order, 3, 2));
        notarize(draft(1, "one", ids(2, 3), ids()));
        expect(next("x", ids(), ids(2, 2)), abi.encodeWithSelector(order, 2, 2));
    }

    /// @notice D26: the operator signs every block.
    function test_D26_RevertWhen_MerchantOneIsNamed() external {
        bytes memory order = abi.encodeWithSelector(Errors.Datanet_MerchantOrder.selector, 1, 1);
        expect(draft(1, "x", ids(1), ids()), order);
        expect(draft(1, "x", ids(), ids(1)), order);
    }

    function test_D10_RevertWhen_TheNamedAreUnknownOrGone() external {
        Draft memory d = draft(1, "x", ids(9), ids());
        d.keys = keyOf(70);
        expect(d, abi.encodeWithSelector(Errors.Datanet_BlsKeyMismatch.selector, 1, 9));
        d = draft(1, "x", ids(2), ids());
        d.keys = keyOf(71);
        expect(d, abi.encodeWithSelector(Errors.Datanet_BlsKeyMismatch.selector, 1, 2));
        toOpen(1);
        bytes memory key = keyOf(70);
        vm.prank(merchantAt(0));
        datanet.exit(1, 2, key);
        bytes memory gone = abi.encodeWithSelector(Errors.Datanet_MerchantNotActive.selector, 1, 2);
        expect(next("x", ids(2), ids()), gone);
        expect(next("x", ids(), ids(2)), gone);
    }

    function test_RevertWhen_MissingAndReturningContradict() external {
        bytes memory present =
            abi.encodeWithSelector(Errors.Datanet_MerchantNotMissing.selector, 1, 2);
        expect(draft(1, "x", ids(), ids(2)), present);
        expect(draft(1, "x", ids(2), ids(2)), present);
        notarize(draft(1, "one", ids(2), ids()));
        expect(
            next("x", ids(2), ids()),
            abi.encodeWithSelector(Errors.Datanet_MerchantMissing.selector, 1, 2)
        );
    }

    /// @notice I15: a hundred go missing in one block.
    function test_I15_Notarize_AHundredNewlyMissing() external {
        toOpen(1);
        uint32[] memory all = new uint32[](100);
        for (uint256 i = 0; i < 100; ++i) {
            all[i] = join(1, merchantAt(100 + i), 200 + i);
        }
        toCommitment(2);
        Draft memory d = draft(1, "x", all, ids());
        uint256 before = gasleft();
        notarize(d);
        uint256 used = before - gasleft();
        check(used < 5_000_000, "gas");
    }

    function next(bytes32 root, uint32[] memory missing, uint32[] memory returning)
        private
        returns (Draft memory)
    {
        toCommitment(periodNow() + 1);
        return draft(1, root, missing, returning);
    }

    function notarizeNext(bytes32 root, uint32[] memory missing, uint32[] memory returning)
        private
    {
        notarize(next(root, missing, returning));
    }

    function expect(Draft memory d, bytes memory refusal) private {
        vm.prank(operatorAt(d.operatorId));
        vm.expectRevert(refusal);
        datanet.notarize(d.operatorId, d.root, d.tau, d.missing, d.returning, d.keys, d.signature);
    }
}

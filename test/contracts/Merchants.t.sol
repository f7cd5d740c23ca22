// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {Leaf, Merchant} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Merchants.tree
contract MerchantsTest is Market {
    uint256 private constant SECRET = 77;
    address private merchant = merchantAt(0);

    function setUp() external {
        openMarket(2);
        toOpen(0);
    }

    function test_Register_AddsTheKeyToApkA() external {
        check(join(1, merchant, SECRET) == 2, "id");
        Merchant memory m = datanet.merchant(1, 2);
        check(m.joinedAt == 1 && m.exitedAt == 0 && m.missingSince == 0, "tags");
        check(datanet.merchantIdOf(1, merchant) == 2, "account");
        checkApk(5001 + SECRET);
        check(join(2, merchant, SECRET) == 2, "the same key with another operator");
    }

    function test_I12_RevertWhen_TheWindowIsClosed() external {
        uint256[6] memory closed = [uint256(0), 5, 15, 18, 57, 59];
        for (uint256 i = 0; i < closed.length; ++i) {
            vm.warp(START + closed[i]);
            expectJoin(abi.encodeWithSelector(Errors.Datanet_NotOpen.selector, 1, closed[i]));
        }
        vm.warp(START + 19);
        join(1, merchant, SECRET);
        vm.warp(START + 56);
        join(1, merchantAt(1), SECRET + 1);
    }

    function test_RevertWhen_TheOperatorIsRetiredOrUnknown() external {
        vm.prank(operatorAt(1));
        datanet.retireOperator(1);
        expectJoin(abi.encodeWithSelector(Errors.Datanet_OperatorRetired.selector, 1));
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_OperatorUnknown.selector, 9));
        datanet.register(9, "", "", 0, "");
    }

    function test_D3_RevertWhen_TheApprovalOutlivesTheWindow() external {
        (uint64 end, bytes memory key) = (windowEnd(), keyOf(SECRET));
        bytes memory pop = provePossession(SECRET, merchant, datanet, 1);
        bytes memory signature = approve(1, merchant, key, end + 1);
        vm.prank(merchant);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_ApprovalTooLong.selector, end + 1, end)
        );
        datanet.register(1, key, pop, end + 1, signature);
        uint64 past = uint64(block.timestamp - 1);
        signature = approve(1, merchant, key, past);
        vm.prank(merchant);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_RequestExpired.selector, past));
        datanet.register(1, key, pop, past, signature);
    }

    function test_D6_RevertWhen_TheApprovalIsForSomethingElse() external {
        (uint64 end, bytes memory key) = (windowEnd(), keyOf(SECRET));
        bytes[4] memory wrong = [
            approve(2, merchant, key, end),
            approve(1, merchantAt(1), key, end),
            approve(1, merchant, keyOf(SECRET + 1), end),
            approve(1, merchant, key, end - 1)
        ];
        bytes memory pop = provePossession(SECRET, merchant, datanet, 1);
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.prank(merchant);
            vm.expectPartialRevert(Errors.Datanet_SignerMismatch.selector);
            datanet.register(1, key, pop, end, wrong[i]);
        }
    }

    /// @notice D1: a key made from all others, so that its holder would sign for them.
    function test_D1_RevertWhen_TheKeyIsMadeFromOthers() external {
        bytes memory rogue = BLS12381.add(keyOf(SECRET), BLS12381.negate(keyOf(5001)));
        uint64 end = windowEnd();
        bytes memory pop = provePossession(SECRET, merchant, datanet, 1);
        bytes memory signature = approve(1, merchant, rogue, end);
        vm.prank(merchant);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_PossessionInvalid.selector, 1, merchant)
        );
        datanet.register(1, rogue, pop, end, signature);
    }

    function test_D2_RevertWhen_TheKeyIsInfinityOrOutsideTheSubgroup() external {
        uint64 end = windowEnd();
        bytes memory key = new bytes(128);
        bytes memory signature = approve(1, merchant, key, end);
        vm.prank(merchant);
        vm.expectRevert(Errors.Datanet_BlsKeyInfinity.selector);
        datanet.register(1, key, new bytes(256), end, signature);
        key[127] = 0x02;
        signature = approve(1, merchant, key, end);
        vm.prank(merchant);
        vm.expectPartialRevert(Errors.Datanet_PossessionInvalid.selector);
        datanet.register(1, key, new bytes(256), end, signature);
    }

    function test_D4_RevertWhen_AccountOrKeyAreKnown() external {
        join(1, merchant, SECRET);
        bytes memory known =
            abi.encodeWithSelector(Errors.Datanet_MerchantKnown.selector, 1, merchant);
        expectJoin(known);
        bytes memory pop = provePossession(SECRET, merchantAt(1), datanet, 1);
        (uint64 end, bytes memory key) = (windowEnd(), keyOf(SECRET));
        bytes memory signature = approve(1, merchantAt(1), key, end);
        vm.prank(merchantAt(1));
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_BlsKeyUsed.selector, 1, keccak256(key))
        );
        datanet.register(1, key, pop, end, signature);
        depart(2, merchant, SECRET);
        expectJoin(known);
    }

    function test_Register_LetsAnAccountComeBackWithItsKeyAfterABlock() external {
        join(1, merchant, SECRET);
        depart(2, merchant, SECRET);
        checkApk(5001);
        toCommitment(1);
        notarize(draft(1, "block", ids(), ids()));
        toOpen(1);
        check(join(1, merchant, SECRET) == 3, "a new id");
        checkApk(5001 + SECRET);
        check(datanet.merchant(1, 2).exitedAt == 1, "the old record stays");
    }

    function test_Exit_TakesTheKeyOutAtOnce() external {
        join(1, merchant, SECRET);
        depart(2, merchant, SECRET);
        checkApk(5001);
        check(datanet.merchant(1, 2).exitedAt == 1, "exited");
        bytes memory key = keyOf(SECRET);
        vm.prank(merchant);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_MerchantNotActive.selector, 1, 2));
        datanet.exit(1, 2, key);
    }

    function test_RevertWhen_AnExitIsNotTheMerchants() external {
        join(1, merchant, SECRET);
        bytes memory key = keyOf(SECRET);
        bytes memory other = keyOf(SECRET + 1);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotMerchantAccount.selector, 1, 2, address(this))
        );
        datanet.exit(1, 2, key);
        vm.prank(merchant);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_BlsKeyMismatch.selector, 1, 2));
        datanet.exit(1, 2, other);
        vm.warp(START + 5);
        vm.prank(merchant);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotOpen.selector, 1, 5));
        datanet.exit(1, 2, key);
    }

    /// @notice D26, D40a: with merchant 1 gone too, apkA is infinity, which signs for nothing.
    function test_D26_RevertWhen_MerchantOneLeavesAnActiveOperator() external {
        bytes memory key = keyOf(5001);
        vm.prank(operatorAt(1));
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_OperatorMustStay.selector, 1));
        datanet.exit(1, 1, key);
        vm.prank(operatorAt(1));
        datanet.retireOperator(1);
        vm.prank(operatorAt(1));
        datanet.exit(1, 1, key);
        bytes32[3] memory apk = datanet.operator(1).apkA;
        check(apk[0] | apk[1] | apk[2] == 0, "infinity");
        toCommitment(1);
        Draft memory d = draft(1, "block", ids(), ids());
        d.signature = new bytes(256);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NobodySigns.selector, 1));
        this.tryNotarize(d);
    }

    function tryNotarize(Draft memory d) external {
        notarize(d);
    }

    function depart(uint32 id, address account, uint256 secret) private {
        bytes memory key = keyOf(secret);
        vm.prank(account);
        datanet.exit(1, id, key);
    }

    function expectJoin(bytes memory refusal) private {
        bytes memory key = keyOf(SECRET);
        uint64 end = windowEnd();
        bytes memory pop = provePossession(SECRET, merchant, datanet, 1);
        bytes memory signature = approve(1, merchant, key, end);
        vm.prank(merchant);
        vm.expectRevert(refusal);
        datanet.register(1, key, pop, end, signature);
    }

    function checkApk(uint256 secret) private view {
        bytes32[3] memory words = BLS12381.pack(keyOf(secret));
        check(
            keccak256(abi.encode(datanet.operator(1).apkA)) == keccak256(abi.encode(words)), "I6"
        );
    }
}

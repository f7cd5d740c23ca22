// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Merchant, Operator, OperatorInfo, Timing} from "../../chain/contracts/Types.sol";
import {Base} from "./Base.sol";

/// @notice Operators.tree
contract OperatorsTest is Base {
    address private constant ALICE = address(0xa11ce);
    address private constant BOB = address(0xb0b);
    bytes32 private constant OLD = keccak256("server key");
    bytes32 private constant NEW = keccak256("next server key");
    IDatanet private datanet;
    IERC20 private token;

    function setUp() external {
        token = deployToken();
        datanet = deployDatanet(token, address(0));
    }

    function test_Register_StoresTheOperatorAndItsFirstMerchant() external {
        check(registerOperator(datanet, ALICE, 7) == 1, "id");
        check(datanet.operatorCount() == 1, "count");
        Operator memory o = datanet.operator(1);
        check(o.account == ALICE && o.active && o.merchantCount == 1, "account");
        check(o.payout == address(0xbeef) && o.serverSpkiHash == OLD, "info");
        check(o.timing.g0 == START && o.timing.beta == 60 && o.timing.eta == 30, "timing");
        check(o.k == 0 && o.root == 0 && o.nextServerSpkiHash == 0, "blocks");
        bytes32[3] memory words = BLS12381.pack(keyOf(7));
        check(keccak256(abi.encode(o.apkA)) == keccak256(abi.encode(words)), "I6 apkA");
        Merchant memory m = datanet.merchant(1, 1);
        check(m.joinedAt == 1 && m.exitedAt == 0 && m.missingSince == 0, "merchant 1");
        check(datanet.merchantIdOf(1, ALICE) == 1, "its account");
        check(datanet.merchant(1, 2).joinedAt == 0, "merchant 2");
    }

    function test_Register_LetsOneAccountHaveSeveralOperators() external {
        registerOperator(datanet, ALICE, 7);
        check(registerOperator(datanet, ALICE, 7) == 2, "a key counts once per operator");
    }

    function test_D2_RevertWhen_TheKeyIsInfinity() external {
        vm.prank(ALICE);
        vm.expectRevert(Errors.Datanet_BlsKeyInfinity.selector);
        datanet.registerOperator(info(), timing(), new bytes(128), new bytes(256));
    }

    function testFuzz_RevertWhen_TheCodingHasAnotherLength(uint8 keyLength, uint8 popLength)
        external
    {
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_BlsCodingLength.selector, keyLength, popLength)
        );
        datanet.registerOperator(info(), timing(), new bytes(keyLength), new bytes(popLength));
    }

    /// @notice D1: the rogue key g^b - apk would make an aggregate of which only b is unknown.
    function test_D1_RevertWhen_TheProofIsOfAnotherKey() external {
        bytes memory pop = provePossession(8, ALICE, datanet, 1);
        expectInvalid(keyOf(7), pop);
    }

    function test_D5_RevertWhen_TheProofNamesAnotherAccount() external {
        expectInvalid(keyOf(7), provePossession(7, BOB, datanet, 1));
    }

    function test_D6_RevertWhen_TheProofNamesAnotherContract() external {
        IDatanet other = deployDatanet(token, address(0));
        expectInvalid(keyOf(7), provePossession(7, ALICE, other, 1));
    }

    function test_D6_RevertWhen_TheProofNamesAnotherChain() external {
        bytes memory pop = provePossession(7, ALICE, datanet, 1);
        vm.chainId(1);
        expectInvalid(keyOf(7), pop);
    }

    function test_D6_RevertWhen_TheProofNamesAnotherOperator() external {
        expectInvalid(keyOf(7), provePossession(7, ALICE, datanet, 2));
    }

    function test_D6_RevertWhen_TheProofIsASignatureOfTheOtherCiphersuite() external {
        bytes memory key = keyOf(7);
        bytes memory message = abi.encodePacked(
            BLS12381.compress(key), ALICE, address(datanet), block.chainid, uint32(1)
        );
        expectInvalid(key, signBls(7, message, "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"));
    }

    function test_RevertWhen_ThePayoutOrTheServerKeyIsZero() external {
        bytes memory pop = provePossession(7, ALICE, datanet, 1);
        bytes memory key = keyOf(7);
        OperatorInfo memory wrong = info();
        wrong.payout = address(0);
        vm.prank(ALICE);
        vm.expectRevert(Errors.Datanet_PayoutZero.selector);
        datanet.registerOperator(wrong, timing(), key, pop);
        wrong = info();
        wrong.serverSpkiHash = 0;
        vm.prank(ALICE);
        vm.expectRevert(Errors.Datanet_SpkiHashZero.selector);
        datanet.registerOperator(wrong, timing(), key, pop);
    }

    function test_RevertWhen_TheUriIsLongerThan256Bytes() external {
        bytes memory pop = provePossession(7, ALICE, datanet, 1);
        bytes memory key = keyOf(7);
        OperatorInfo memory long = info();
        long.metadataURI = string(new bytes(257));
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_MetadataTooLong.selector, 257, 256));
        datanet.registerOperator(long, timing(), key, pop);
        long.metadataURI = string(new bytes(256));
        vm.prank(ALICE);
        datanet.registerOperator(long, timing(), key, pop);
    }

    function test_RevertWhen_TheTimingBreaksABound() external {
        uint64 t = uint64(START);
        expectTiming(Timing(t + 1, 60, 15, 3, 130, 30), "g0");
        expectTiming(Timing(t, 60, 15, 0, 130, 30), "delta");
        expectTiming(Timing(t, 60, 8, 3, 130, 30), "gamma");
        expectTiming(Timing(t, 41, 15, 3, 130, 30), "beta");
        expectTiming(Timing(t, 60, 15, 3, 80, 30), "challenge");
        expectTiming(Timing(t, 60, 15, 3, 130, 0), "eta");
        expectTiming(Timing(t, type(uint32).max, 15, 3, type(uint32).max, 1), "challenge");
    }

    /// @notice Every timing within two seconds of each of its bounds, in and out.
    function testFuzz_Register_TakesExactlyTheTimingsWithinTheBounds(
        uint8 delta,
        uint256 gammaSeed,
        uint256 betaSeed,
        uint256 challengeSeed
    ) external {
        bytes memory pop = provePossession(7, ALICE, datanet, 1);
        bytes memory key = keyOf(7);
        uint256 gamma = bound(gammaSeed, 3 * uint256(delta), 3 * uint256(delta) + 4);
        uint256 closed = gamma + 2 * uint256(delta);
        uint256 beta = bound(betaSeed, 2 * closed, 2 * closed + 4);
        uint256 challenge = bound(challengeSeed, beta + closed, beta + closed + 4);
        (gamma, beta, challenge) = (less2(gamma), less2(beta), less2(challenge));
        closed = gamma + 2 * uint256(delta);
        bool within = delta > 0 && gamma >= 3 * uint256(delta) && beta >= 2 * closed
            && challenge >= beta + closed;
        Timing memory clock = Timing(0, uint32(beta), uint32(gamma), delta, uint32(challenge), 1);
        vm.prank(ALICE);
        if (!within) vm.expectRevert();
        datanet.registerOperator(info(), clock, key, pop);
    }

    function test_Gated_OnlyWhoTheRegistrarAdmittedRegistersOnce() external {
        datanet = deployDatanet(token, BOB);
        bytes memory key = keyOf(7);
        bytes memory pop = provePossession(7, ALICE, datanet, 1);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotAdmitted.selector, ALICE));
        datanet.registerOperator(info(), timing(), key, pop);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotRegistrar.selector, ALICE));
        datanet.admitOperator(ALICE);
        vm.prank(BOB);
        datanet.admitOperator(ALICE);
        registerOperator(datanet, ALICE, 7);
        pop = provePossession(7, ALICE, datanet, 2);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_NotAdmitted.selector, ALICE));
        datanet.registerOperator(info(), timing(), key, pop);
    }

    function test_RevertWhen_NobodyIsRegistrar() external {
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_NotRegistrar.selector, address(this))
        );
        datanet.admitOperator(ALICE);
    }

    function test_Update_KeepsBothServerKeysForOneBeta() external {
        registerOperator(datanet, ALICE, 7);
        update("http://192.0.2.1", NEW);
        check(datanet.isServerKey(1, OLD) && datanet.isServerKey(1, NEW), "both at once");
        vm.warp(START + 59);
        check(datanet.isServerKey(1, OLD) && datanet.isServerKey(1, NEW), "both in the end");
        vm.warp(START + 60);
        check(!datanet.isServerKey(1, OLD) && datanet.isServerKey(1, NEW), "only the next");
        Operator memory o = datanet.operator(1);
        check(keccak256(bytes(o.metadataURI)) == keccak256("http://192.0.2.1"), "uri");
        check(!datanet.isServerKey(1, 0), "zero is nobody's key");
    }

    function test_Update_WithThePresentKeyWithdrawsTheChange() external {
        registerOperator(datanet, ALICE, 7);
        update("", NEW);
        update("", OLD);
        vm.warp(START + 1000);
        check(datanet.isServerKey(1, OLD) && !datanet.isServerKey(1, NEW), "withdrawn");
        check(datanet.operator(1).spkiChangesAt == 0, "no time is left over");
    }

    function test_Update_WithTheAnnouncedKeyKeepsItsTime() external {
        registerOperator(datanet, ALICE, 7);
        update("", NEW);
        vm.warp(START + 30);
        update("http://192.0.2.2", NEW);
        check(datanet.operator(1).spkiChangesAt == START + 60, "time");
    }

    function test_Update_AfterTheChangeStartsFromTheNewKey() external {
        registerOperator(datanet, ALICE, 7);
        update("", NEW);
        vm.warp(START + 60);
        update("", OLD);
        Operator memory o = datanet.operator(1);
        check(o.serverSpkiHash == NEW && o.nextServerSpkiHash == OLD, "keys");
        check(o.spkiChangesAt == START + 120, "time");
        check(datanet.isServerKey(1, OLD) && datanet.isServerKey(1, NEW), "both valid");
    }

    function test_RevertWhen_AnotherAccountUpdatesOrRetires() external {
        registerOperator(datanet, ALICE, 7);
        bytes memory refusal =
            abi.encodeWithSelector(Errors.Datanet_NotOperatorAccount.selector, 1, BOB);
        vm.prank(BOB);
        vm.expectRevert(refusal);
        datanet.updateOperator(1, "", NEW);
        vm.prank(BOB);
        vm.expectRevert(refusal);
        datanet.retireOperator(1);
    }

    function test_RevertWhen_TheUpdateIsMalformed() external {
        registerOperator(datanet, ALICE, 7);
        vm.prank(ALICE);
        vm.expectRevert(Errors.Datanet_SpkiHashZero.selector);
        datanet.updateOperator(1, "", 0);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_MetadataTooLong.selector, 257, 256));
        datanet.updateOperator(1, string(new bytes(257)), NEW);
    }

    function test_Retire_IsFinalAndKeepsTheServerKey() external {
        registerOperator(datanet, ALICE, 7);
        vm.prank(ALICE);
        datanet.retireOperator(1);
        check(!datanet.operator(1).active, "active");
        check(datanet.isServerKey(1, OLD), "running sessions are still served");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_OperatorRetired.selector, 1));
        datanet.retireOperator(1);
        update("http://192.0.2.3", OLD);
    }

    function test_RevertWhen_TheOperatorIsUnknown() external {
        bytes memory refusal = abi.encodeWithSelector(Errors.Datanet_OperatorUnknown.selector, 1);
        vm.expectRevert(refusal);
        datanet.operator(1);
        vm.expectRevert(refusal);
        datanet.isServerKey(1, OLD);
        vm.expectRevert(refusal);
        datanet.updateOperator(1, "", NEW);
        vm.expectRevert(refusal);
        datanet.retireOperator(1);
    }

    function less2(uint256 value) private pure returns (uint256) {
        return value < 2 ? 0 : value - 2;
    }

    function update(string memory uri, bytes32 spkiHash) private {
        vm.prank(ALICE);
        datanet.updateOperator(1, uri, spkiHash);
    }

    function expectInvalid(bytes memory key, bytes memory pop) private {
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(Errors.Datanet_PossessionInvalid.selector, 1, ALICE)
        );
        datanet.registerOperator(info(), timing(), key, pop);
        check(datanet.operatorCount() == 0, "nothing stays of it");
    }

    function expectTiming(Timing memory clock, bytes32 field) private {
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Errors.Datanet_TimingOutOfBounds.selector, field));
        datanet.registerOperator(info(), clock, new bytes(128), new bytes(256));
    }
}

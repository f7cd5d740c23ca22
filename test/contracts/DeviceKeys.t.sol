// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {DEVICE_KEY_TYPEHASH, DeviceKey, DeviceKeyState} from "../../chain/contracts/Types.sol";
import {Base} from "./Base.sol";

/// @notice DeviceKeys.tree
contract DeviceKeysTest is Base {
    uint256 private constant SECRET = 0xc0ffee;
    uint256 private constant CURVE_ORDER =
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    bytes32 private constant KEY = keccak256("device key");
    address private consumer;
    IDatanet private datanet;

    function setUp() external {
        consumer = vm.addr(SECRET);
        datanet = deployDatanet(deployToken(), address(0));
    }

    function test_SetDeviceKey_EnablesAndDisables() external {
        check(datanet.deviceKey(consumer, KEY) == DeviceKeyState.Unset, "unset");
        set(true);
        check(datanet.deviceKey(consumer, KEY) == DeviceKeyState.Enabled, "enabled");
        set(false);
        check(datanet.deviceKey(consumer, KEY) == DeviceKeyState.Disabled, "disabled");
        check(datanet.deviceKey(address(this), KEY) == DeviceKeyState.Unset, "another account's");
    }

    function test_SetDeviceKey_DisablesAKeyNeverEnabled() external {
        set(false);
        check(datanet.deviceKey(consumer, KEY) == DeviceKeyState.Disabled, "disabled");
    }

    function test_RevertWhen_TheKeyIsDisabledAlready() external {
        set(false);
        bytes memory refusal =
            abi.encodeWithSelector(Errors.Datanet_DeviceKeyDisabled.selector, consumer, KEY);
        vm.prank(consumer);
        vm.expectRevert(refusal);
        datanet.setDeviceKey(KEY, true);
        expectBySig(request(), sign(SECRET, request()), refusal);
        check(datanet.nonces(consumer) == 0, "a refused request keeps its nonce");
    }

    function test_RevertWhen_TheHashIsZero() external {
        vm.expectRevert(Errors.Datanet_SpkiHashZero.selector);
        datanet.setDeviceKey(0, true);
    }

    function testFuzz_BySig_TakesWhatTheConsumerSigned(
        uint256 seed,
        bytes32 spkiHash,
        bool enabled
    ) external {
        uint256 secret = bound(seed, 1, CURVE_ORDER - 1);
        if (spkiHash == 0) spkiHash = KEY;
        DeviceKey memory r =
            DeviceKey(vm.addr(secret), spkiHash, enabled, 0, uint64(block.timestamp));
        datanet.setDeviceKeyBySig(r, sign(secret, r));
        DeviceKeyState expected = enabled ? DeviceKeyState.Enabled : DeviceKeyState.Disabled;
        check(datanet.deviceKey(r.consumer, spkiHash) == expected, "set");
        check(datanet.nonces(r.consumer) == 1, "nonce");
    }

    function test_RevertWhen_TheRequestIsReplayed() external {
        DeviceKey memory r = request();
        bytes memory signature = sign(SECRET, r);
        datanet.setDeviceKeyBySig(r, signature);
        expectBySig(
            r, signature, abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, consumer, 1)
        );
    }

    function test_RevertWhen_TheNonceIsAhead() external {
        DeviceKey memory r = request();
        r.nonce = 1;
        expectBySig(
            r,
            sign(SECRET, r),
            abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, consumer, 0)
        );
    }

    function test_RevertWhen_TheDeadlineIsPast() external {
        DeviceKey memory r = request();
        bytes memory signature = sign(SECRET, r);
        vm.warp(r.deadline + 1);
        expectBySig(
            r,
            signature,
            abi.encodeWithSelector(Errors.Datanet_RequestExpired.selector, r.deadline)
        );
    }

    function test_RevertWhen_AnotherAccountSigned() external {
        DeviceKey memory r = request();
        expectBySig(
            r,
            sign(0xbad, r),
            abi.encodeWithSelector(
                Errors.Datanet_SignerMismatch.selector, consumer, vm.addr(0xbad)
            )
        );
    }

    function testFuzz_RevertWhen_AFieldWasAltered(uint8 field) external {
        DeviceKey memory r = request();
        bytes memory signature = sign(SECRET, r);
        uint256 which = field % 5;
        if (which == 0) r.consumer = address(uint160(r.consumer) ^ 1);
        if (which == 1) r.spkiHash ^= bytes32(uint256(1));
        if (which == 2) r.enabled = !r.enabled;
        if (which == 3) r.nonce = 1;
        if (which == 4) r.deadline += 1;
        vm.expectRevert();
        datanet.setDeviceKeyBySig(r, signature);
    }

    function test_D6_RevertWhen_SignedForAnotherChainOrContract() external {
        DeviceKey memory r = request();
        bytes memory signature = sign(SECRET, r);
        IDatanet other = deployDatanet(datanet.token(), address(0));
        vm.expectRevert();
        other.setDeviceKeyBySig(r, signature);
        vm.chainId(1);
        vm.expectRevert();
        datanet.setDeviceKeyBySig(r, signature);
    }

    /// @notice D34: for each signature (r, s) also (r, n - s) verifies on the bare curve.
    function test_D34_RevertWhen_TheSignatureIsMalleated() external {
        DeviceKey memory r = request();
        (uint8 v, bytes32 x, bytes32 s) = vm.sign(SECRET, digestOf(r));
        bytes32 high = bytes32(CURVE_ORDER - uint256(s));
        expectBySig(
            r,
            abi.encodePacked(x, high, v ^ 7),
            abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, high)
        );
        bytes4 invalid = ECDSA.ECDSAInvalidSignature.selector;
        expectBySig(r, abi.encodePacked(x, s, v - 27), abi.encodeWithSelector(invalid));
        expectBySig(r, new bytes(65), abi.encodeWithSelector(invalid));
        bytes4 length = ECDSA.ECDSAInvalidSignatureLength.selector;
        expectBySig(r, abi.encodePacked(x, s), abi.encodeWithSelector(length, 64));
        expectBySig(r, "", abi.encodeWithSelector(length, 0));
    }

    function test_D34_RevertWhen_TheZeroAccountIsNamed() external {
        DeviceKey memory r = request();
        r.consumer = address(0);
        bytes4 invalid = ECDSA.ECDSAInvalidSignature.selector;
        expectBySig(r, new bytes(65), abi.encodeWithSelector(invalid));
    }

    function set(bool enabled) private {
        vm.prank(consumer);
        datanet.setDeviceKey(KEY, enabled);
    }

    function request() private view returns (DeviceKey memory) {
        return DeviceKey(consumer, KEY, true, 0, uint64(START + 60));
    }

    function digestOf(DeviceKey memory r) private view returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                hex"1901", datanet.domainSeparator(), keccak256(abi.encode(DEVICE_KEY_TYPEHASH, r))
            )
        );
    }

    function sign(uint256 secret, DeviceKey memory r) private view returns (bytes memory) {
        (uint8 v, bytes32 x, bytes32 s) = vm.sign(secret, digestOf(r));
        return abi.encodePacked(x, s, v);
    }

    function expectBySig(DeviceKey memory r, bytes memory signature, bytes memory refusal)
        private
    {
        vm.expectRevert(refusal);
        datanet.setDeviceKeyBySig(r, signature);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Activities} from "../../chain/contracts/Activities.sol";
import {AttestorVerifier} from "../../chain/contracts/AttestorVerifier.sol";
import {DeviceVerifier} from "../../chain/contracts/DeviceVerifier.sol";
import {Errors} from "../../chain/contracts/Errors.sol";
import {IActivities} from "../../chain/contracts/IActivities.sol";
import {ACTIVITY_TYPEHASH, Activity} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Activities.tree
contract ActivitiesTest is Market {
    uint256 private constant ORDER_P256 =
        0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
    bytes32 private constant ENROLMENT_TYPEHASH = keccak256(
        "DeviceEnrolment(uint32 operator,address consumer,bytes32 qx,bytes32 qy,uint64 validUntil)"
    );
    address private consumer = consumerAt(0);
    Activities private activities;
    AttestorVerifier private attestors;
    DeviceVerifier private devices;
    /// @dev Secrets of three attestors, by rising address.
    uint256[3] private secrets;

    function setUp() external {
        openMarket(1);
        fund(1, 0, 1000);
        toOpen(0);
        activities = Activities(address(datanet.activities()));
        attestors = AttestorVerifier(address(activities.activityVerifier(1)));
        devices = DeviceVerifier(address(activities.activityVerifier(2)));
        secrets = [uint256(1), 2, 3];
        for (uint256 i = 0; i < 2; ++i) {
            for (uint256 j = 0; j < 2; ++j) {
                if (vm.addr(secrets[j]) > vm.addr(secrets[j + 1])) {
                    (secrets[j], secrets[j + 1]) = (secrets[j + 1], secrets[j]);
                }
            }
        }
        setAttestors(2);
    }

    function test_Publish_EmitsWhatTwoOfThreeAttested() external {
        Activity memory a = activity();
        vm.expectEmit(address(activities));
        emit IActivities.ActivitySummary(consumer, 1, a.start, a.end, 1, 2, 3, 1000, 1, "evidence");
        publish(a, attest(digestOf(a), 0, 2));
        check(activities.activityEnd(consumer) == a.end, "end");
        check(activities.nonces(consumer) == 1, "nonce");
    }

    function test_RevertWhen_TooFewOrOthersAttest() external {
        Activity memory a = activity();
        bytes32 digest = digestOf(a);
        bytes memory refused = abi.encodeWithSelector(Errors.Datanet_EvidenceRefused.selector, 1);
        expect(a, attest(digest, 1, 1), refused);
        expect(a, attest(digest, 2, 0), refused);
        expect(a, attest(keccak256("another"), 0, 1), refused);
        bytes[] memory one = new bytes[](1);
        one[0] = sign(secrets[0], digest);
        expect(a, abi.encode(one), refused);
        expect(a, abi.encode(new bytes[](0)), refused);
    }

    function test_SetAttestors_ForgetsThoseBefore() external {
        address[] memory only = new address[](1);
        only[0] = vm.addr(secrets[0]);
        vm.prank(operatorAt(1));
        attestors.setAttestors(1, only, 1);
        check(attestors.threshold(1) == 1, "threshold");
        check(!attestors.isAttestor(1, vm.addr(secrets[1])), "forgotten");
        check(attestors.isAttestor(1, only[0]), "still");
        Activity memory a = activity();
        expect(
            a,
            attest(digestOf(a), 0, 1),
            abi.encodeWithSelector(Errors.Datanet_EvidenceRefused.selector, 1)
        );
    }

    function test_RevertWhen_AttestorsAreMalformed() external {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (address(2), address(2));
        vm.prank(operatorAt(1));
        vm.expectRevert(Errors.Datanet_AttestorsMalformed.selector);
        attestors.setAttestors(1, two, 1);
        two[1] = address(3);
        uint8[2] memory wrong = [0, 3];
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(operatorAt(1));
            vm.expectRevert(Errors.Datanet_AttestorsMalformed.selector);
            attestors.setAttestors(1, two, wrong[i]);
        }
        vm.expectPartialRevert(Errors.Datanet_NotOperatorAccount.selector);
        attestors.setAttestors(1, two, 1);
    }

    /// @notice I18: no second is published twice, and no message.
    function test_I18_RevertWhen_TimesOverlapOrTheNonceIsUsed() external {
        Activity memory a = activity();
        bytes memory signature = sign(CONSUMER_KEY, digestOf(a));
        bytes memory evidence = attest(digestOf(a), 0, 1);
        publish(a, evidence);
        uint64 end = a.end;
        bytes4 time = Errors.Datanet_ActivityTime.selector;
        vm.expectRevert(abi.encodeWithSelector(time, a.start, a.end, end));
        activities.publishActivity(a, signature, evidence);
        vm.warp(block.timestamp + 10);
        (a.start, a.end) = (end - 1, end + 5);
        expect(a, evidence, abi.encodeWithSelector(time, a.start, a.end, end));
        (a.start, a.end) = (end + 1, end + 1);
        expect(a, evidence, abi.encodeWithSelector(time, a.start, a.end, end));
        (a.start, a.end) = (end, uint64(block.timestamp + 1));
        expect(a, evidence, abi.encodeWithSelector(time, a.start, a.end, end));
        (a.start, a.end) = (end, end + 5);
        expect(
            a, evidence, abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, consumer, 1)
        );
        a.nonce = 1;
        publish(a, attest(digestOf(a), 0, 1));
    }

    function test_RevertWhen_TheClaimIsImpossible() external {
        Activity memory a = activity();
        a.paid = 1001;
        bytes4 paid = Errors.Datanet_ActivityPaid.selector;
        expect(a, "", abi.encodeWithSelector(paid, 1001, 1000));
        (a.paid, a.operator) = (0, 2);
        expect(a, "", abi.encodeWithSelector(paid, 0, 0));
        (a.operator, a.verifier) = (1, 3);
        expect(a, "", abi.encodeWithSelector(Errors.Datanet_VerifierUnknown.selector, 3));
        a.verifier = 1;
        bytes memory signature = sign(CONSUMER_KEY + 1, digestOf(a));
        vm.expectPartialRevert(Errors.Datanet_SignerMismatch.selector);
        activities.publishActivity(a, signature, "");
    }

    function test_Device_SpeaksForItselfOnceEnrolled() external {
        (bytes32 qx, bytes32 qy) = enrol(99);
        Activity memory a = activity();
        a.verifier = 2;
        publish(a, deviceSignature(99, digestOf(a)));
        a.nonce = 1;
        (a.start, a.end) = (a.end, a.end + 1);
        vm.warp(a.end);
        bytes memory refused = abi.encodeWithSelector(Errors.Datanet_EvidenceRefused.selector, 2);
        expect(a, deviceSignature(98, digestOf(a)), refused);
        expect(a, deviceSignature(99, keccak256("another")), refused);
        expect(a, "", refused);
        vm.prank(consumer);
        devices.revoke(1, consumer, qx, qy);
        expect(a, deviceSignature(99, digestOf(a)), refused);
        (, bytes[] memory signatures) = enrolment(qx, qy);
        vm.expectPartialRevert(Errors.Datanet_DeviceKeyDisabled.selector);
        devices.enrol(1, consumer, qx, qy, uint64(START + 100), signatures);
    }

    function test_RevertWhen_AnEnrolmentIsNotAttestedOrLate() external {
        (uint256 x, uint256 y) = vm.publicKeyP256(99);
        (bytes32 qx, bytes32 qy) = (bytes32(x), bytes32(y));
        (, bytes[] memory signatures) = enrolment(qx, qy);
        bytes memory missing = abi.encodeWithSelector(Errors.Datanet_NotAttested.selector, 1);
        vm.expectRevert(missing);
        devices.enrol(1, consumerAt(1), qx, qy, uint64(START + 100), signatures);
        vm.expectRevert(missing);
        devices.enrol(1, consumer, qx, qy, uint64(START + 101), signatures);
        vm.expectRevert(Errors.Datanet_DevicePointInvalid.selector);
        devices.enrol(1, consumer, qx, qx, uint64(START + 100), signatures);
        vm.expectPartialRevert(Errors.Datanet_SignerMismatch.selector);
        devices.revoke(1, consumer, qx, qy);
        vm.warp(START + 101);
        vm.expectPartialRevert(Errors.Datanet_RequestExpired.selector);
        devices.enrol(1, consumer, qx, qy, uint64(START + 100), signatures);
    }

    function activity() private view returns (Activity memory) {
        uint64 end = uint64(block.timestamp);
        return Activity(consumer, 1, end - 10, end, 1, 2, 3, 1000, 1, "evidence", 0);
    }

    function digestOf(Activity memory a) private view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(ACTIVITY_TYPEHASH, a));
        bytes32 domain = activities.domainSeparator();
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function sign(uint256 secret, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, digest);
        return abi.encodePacked(r, s, v);
    }

    function attest(bytes32 digest, uint256 i, uint256 j) private view returns (bytes memory) {
        bytes[] memory both = new bytes[](2);
        (both[0], both[1]) = (sign(secrets[i], digest), sign(secrets[j], digest));
        return abi.encode(both);
    }

    function publish(Activity memory a, bytes memory evidence) private {
        activities.publishActivity(a, sign(CONSUMER_KEY, digestOf(a)), evidence);
    }

    function expect(Activity memory a, bytes memory evidence, bytes memory refusal) private {
        bytes memory signature = sign(CONSUMER_KEY, digestOf(a));
        vm.expectRevert(refusal);
        activities.publishActivity(a, signature, evidence);
    }

    function setAttestors(uint8 needed) private {
        address[] memory all = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            all[i] = vm.addr(secrets[i]);
        }
        vm.prank(operatorAt(1));
        attestors.setAttestors(1, all, needed);
    }

    function enrolment(bytes32 qx, bytes32 qy)
        private
        view
        returns (bytes32 digest, bytes[] memory signatures)
    {
        bytes32 structHash = keccak256(
            abi.encode(ENROLMENT_TYPEHASH, 1, consumer, qx, qy, uint64(START + 100))
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,"
                    "address verifyingContract)"
                ),
                keccak256("DatanetDevices"),
                keccak256("1"),
                block.chainid,
                address(devices)
            )
        );
        digest = keccak256(abi.encodePacked(hex"1901", domain, structHash));
        signatures = abi.decode(attest(digest, 0, 1), (bytes[]));
    }

    function enrol(uint256 secret) private returns (bytes32 qx, bytes32 qy) {
        (uint256 x, uint256 y) = vm.publicKeyP256(secret);
        (qx, qy) = (bytes32(x), bytes32(y));
        (, bytes[] memory signatures) = enrolment(qx, qy);
        devices.enrol(1, consumer, qx, qy, uint64(START + 100), signatures);
        check(devices.isEnrolled(1, consumer, qx, qy), "enrolled");
    }

    function deviceSignature(uint256 secret, bytes32 digest) private pure returns (bytes memory) {
        (uint256 x, uint256 y) = vm.publicKeyP256(secret);
        (bytes32 r, bytes32 s) = vm.signP256(secret, sha256(abi.encodePacked(digest)));
        if (uint256(s) > ORDER_P256 / 2) s = bytes32(ORDER_P256 - uint256(s));
        return abi.encode(x, y, r, s);
    }
}

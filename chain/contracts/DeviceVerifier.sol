// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {AttestorVerifier} from "./AttestorVerifier.sol";
import {Errors} from "./Errors.sol";
import {IAttestationVerifier} from "./IAttestationVerifier.sol";

/// @title Evidence by a device: a P-256 key that sits in hardware signed it.
/// @notice What a vendor attests of such a key is checked off chain by the operator's attestors,
/// who enrol it here; from then on the key speaks for itself (EIP-7951).
contract DeviceVerifier is IAttestationVerifier, EIP712 {
    event DeviceEnrolled(
        uint32 indexed operator, address indexed consumer, bytes32 qx, bytes32 qy
    );
    event DeviceRevoked(uint32 indexed operator, address indexed consumer, bytes32 qx, bytes32 qy);

    bytes32 private constant ENROLMENT_TYPEHASH = keccak256(
        "DeviceEnrolment(uint32 operator,address consumer,bytes32 qx,bytes32 qy,uint64 validUntil)"
    );

    /// @notice Who enrols devices.
    AttestorVerifier public immutable attestors;

    enum Enrolment {
        Never,
        Enrolled,
        Revoked
    }

    mapping(bytes32 device => Enrolment) private _devices;

    constructor(AttestorVerifier attestors_) EIP712("DatanetDevices", "1") {
        attestors = attestors_;
    }

    /// @notice Whether the key (qx, qy) speaks for the consumer's activities with an operator.
    function isEnrolled(uint32 operatorId, address consumer, bytes32 qx, bytes32 qy)
        public
        view
        returns (bool)
    {
        return _devices[_idOf(operatorId, consumer, qx, qy)] == Enrolment.Enrolled;
    }

    /// @notice Enrols a device's key; anyone may send what enough attestors signed.
    /// @param signatures 65 bytes each, over the EIP-712 DeviceEnrolment in the domain
    /// ("DatanetDevices", "1", chainId, this contract), by attestors whose addresses rise.
    function enrol(
        uint32 operatorId,
        address consumer,
        bytes32 qx,
        bytes32 qy,
        uint64 validUntil,
        bytes[] calldata signatures
    ) external {
        if (block.timestamp > validUntil) {
            revert Errors.Datanet_RequestExpired(validUntil);
        }
        if (!P256.isValidPublicKey(qx, qy)) revert Errors.Datanet_DevicePointInvalid();
        bytes32 id = _idOf(operatorId, consumer, qx, qy);
        // A lost device's key stays lost, however long its enrolment would be valid.
        if (_devices[id] == Enrolment.Revoked) {
            revert Errors.Datanet_DeviceKeyDisabled(consumer, id);
        }
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(ENROLMENT_TYPEHASH, operatorId, consumer, qx, qy, validUntil))
        );
        if (!attestors.attested(operatorId, digest, signatures)) {
            revert Errors.Datanet_NotAttested(operatorId);
        }
        _devices[id] = Enrolment.Enrolled;
        emit DeviceEnrolled(operatorId, consumer, qx, qy);
    }

    /// @notice Takes a key back for good; for the consumer and for any attestor of the operator.
    function revoke(uint32 operatorId, address consumer, bytes32 qx, bytes32 qy) external {
        if (msg.sender != consumer && !attestors.isAttestor(operatorId, msg.sender)) {
            revert Errors.Datanet_SignerMismatch(consumer, msg.sender);
        }
        _devices[_idOf(operatorId, consumer, qx, qy)] = Enrolment.Revoked;
        emit DeviceRevoked(operatorId, consumer, qx, qy);
    }

    /// @inheritdoc IAttestationVerifier
    /// @dev The evidence is qx ‖ qy ‖ r ‖ s, low s, where (r, s) is ECDSA with SHA-256 over the
    /// 32 bytes of the digest, as hardware signs messages. Without the precompile of EIP-7951
    /// the signature is checked in Solidity, for about 50 times the gas.
    function verify(uint32 operatorId, address consumer, bytes32 digest, bytes calldata evidence)
        external
        view
        returns (bool)
    {
        if (evidence.length != 128) return false;
        (bytes32 qx, bytes32 qy, bytes32 r, bytes32 s) =
            abi.decode(evidence, (bytes32, bytes32, bytes32, bytes32));
        return isEnrolled(operatorId, consumer, qx, qy)
            && P256.verify(sha256(abi.encodePacked(digest)), r, s, qx, qy);
    }

    function _idOf(uint32 operatorId, address consumer, bytes32 qx, bytes32 qy)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(operatorId, consumer, qx, qy));
    }
}

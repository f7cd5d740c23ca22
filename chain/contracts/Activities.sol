// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AttestorVerifier} from "./AttestorVerifier.sol";
import {DeviceVerifier} from "./DeviceVerifier.sol";
import {Errors} from "./Errors.sol";
import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {IActivities} from "./IActivities.sol";
import {IDatanet} from "./IDatanet.sol";
import {SignedRequests} from "./SignedRequests.sol";
import {ACTIVITY_TYPEHASH, Activity} from "./Types.sol";

/// @title Published summaries of what consumers used and paid.
/// @notice Holds no money and has no rights; a contract of its own only because of EIP-170. Its two
/// verifiers are made with it and never change.
contract Activities is IActivities, SignedRequests {
    uint8 private constant BY_ATTESTORS = 1;
    uint8 private constant BY_DEVICE = 2;

    /// @notice The contract whose operators and deposits are meant.
    IDatanet public immutable datanet;

    mapping(address consumer => uint64) private _activityEnd;
    mapping(uint8 number => IAttestationVerifier) private _verifiers;

    constructor(IDatanet datanet_) {
        datanet = datanet_;
        AttestorVerifier attestors = new AttestorVerifier(datanet_);
        _verifiers[BY_ATTESTORS] = attestors;
        _verifiers[BY_DEVICE] = new DeviceVerifier(attestors);
    }

    /// @inheritdoc IActivities
    function activityVerifier(uint8 number) external view returns (IAttestationVerifier) {
        return _verifiers[number];
    }

    /// @inheritdoc IActivities
    function activityEnd(address consumer) external view returns (uint64) {
        return _activityEnd[consumer];
    }

    /// @inheritdoc IActivities
    function publishActivity(
        Activity calldata activity,
        bytes calldata signature,
        bytes calldata evidence
    ) external {
        // Checks
        address consumer = activity.consumer;
        uint64 lastEnd = _activityEnd[consumer];
        // I18: no second is reported twice.
        if (
            activity.start < lastEnd || activity.end <= activity.start
                || activity.end > block.timestamp
        ) {
            revert Errors.Datanet_ActivityTime(activity.start, activity.end, lastEnd);
        }
        uint256 deposited = datanet.channel(activity.operator, consumer).deposit;
        if (deposited == 0 || activity.paid > deposited) {
            revert Errors.Datanet_ActivityPaid(activity.paid, deposited);
        }
        // D40: no vendor's attestation is checked on chain, but what enrolled keys made of it.
        IAttestationVerifier verifier = _verifiers[activity.verifier];
        if (address(verifier) == address(0)) {
            revert Errors.Datanet_VerifierUnknown(activity.verifier);
        }
        bytes32 structHash = keccak256(abi.encode(ACTIVITY_TYPEHASH, activity));
        _useRequest(consumer, activity.nonce, type(uint64).max, structHash, signature);

        // Effects
        _activityEnd[consumer] = activity.end;
        _tellActivity(activity);

        // Interactions; a view, and what it refuses is undone.
        bytes32 digest = _digest(structHash);
        if (!verifier.verify(activity.operator, consumer, digest, evidence)) {
            revert Errors.Datanet_EvidenceRefused(activity.verifier);
        }
    }

    function _tellActivity(Activity calldata a) private {
        emit ActivitySummary(
            a.consumer,
            a.operator,
            a.start,
            a.end,
            a.bytesUp,
            a.bytesDown,
            a.sessions,
            a.paid,
            a.verifier,
            a.evidenceHash
        );
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {Activity} from "./Types.sol";

/// @title Published summaries of what consumers used and paid.
/// @notice They prove that an enrolled key reported, not that the report is true: a consumer with
/// real money, real devices and a friendly operator can still report what never happened.
/// @dev Typed data is signed in the EIP-712 domain ("PayPlace", "1", chainId, this contract), with
/// nonces of this contract.
interface IActivities {
    event ActivitySummary(
        address indexed consumer,
        uint32 indexed operator,
        uint64 start,
        uint64 end,
        uint64 bytesUp,
        uint64 bytesDown,
        uint32 sessions,
        uint96 paid,
        uint8 verifier,
        bytes32 evidenceHash
    );

    /// @notice Who judges the evidence of activities that name this number; zero where nobody does.
    /// @dev 1 is an AttestorVerifier, 2 a DeviceVerifier.
    function activityVerifier(uint8 number) external view returns (IAttestationVerifier);

    /// @notice When the last activity that a consumer published ended; Unix seconds.
    function activityEnd(address consumer) external view returns (uint64);

    /// @notice Publishes a summary of what a consumer used and paid, by anyone.
    /// @param activity the Activity typed data: begins when the last one ended or later, isn't
    /// empty, has ended; `paid` is at most the consumer's deposit with the operator; its nonce is
    /// nonces(consumer).
    /// @param signature 65 bytes r ‖ s ‖ v by the consumer's key; low s, v 27 or 28.
    /// @param evidence for the verifier that the activity names.
    function publishActivity(
        Activity calldata activity,
        bytes calldata signature,
        bytes calldata evidence
    ) external;
}

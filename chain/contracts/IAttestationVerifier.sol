// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Judges the evidence for a published activity.
/// @notice It proves who reported, not that the report is true: a consumer with real money, real
/// devices and a friendly operator can still report what never happened.
interface IAttestationVerifier {
    /// @notice Whether `evidence` speaks for the activity with this EIP-712 digest, published by
    /// `consumer` about an operator.
    function verify(uint32 operatorId, address consumer, bytes32 digest, bytes calldata evidence)
        external
        view
        returns (bool);
}

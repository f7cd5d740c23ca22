// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Errors} from "./Errors.sol";
import {Operator, Timing} from "./Types.sol";

/// @title Where in an operator's period a moment lies.
/// @notice What merchants read at the start of a period is what the contract has when it verifies
/// their block: registrations and payments wait for the open window, blocks for the commitment.
library Clock {
    /// @notice The operator's period now, and the second of it.
    function phase(Operator storage o) internal view returns (uint64 period, uint256 second) {
        Timing storage t = o.timing;
        uint256 age = block.timestamp - t.g0;
        uint256 beta = t.beta;
        return (uint64(age / beta), age % beta);
    }

    /// @notice The operator's period at a moment after its g0.
    function periodAt(Operator storage o, uint256 time) internal view returns (uint64 period) {
        return uint64((time - o.timing.g0) / o.timing.beta);
    }

    /// @notice Reverts outside the open window (gamma + delta, beta - delta).
    /// @return ends the second at which the window closes.
    function requireOpen(Operator storage o, uint32 operatorId)
        internal
        view
        returns (uint256 ends)
    {
        Timing storage t = o.timing;
        (, uint256 second) = phase(o);
        uint256 last = uint256(t.beta) - t.delta;
        // D3, D16, I12: both freezes belong to the closed part, their edges included.
        if (second <= uint256(t.gamma) + t.delta || second >= last) {
            revert Errors.Datanet_NotOpen(operatorId, second);
        }
        return block.timestamp - second + last;
    }

    /// @notice Reverts outside the commitment window (0, gamma).
    /// @return period of the window, and the second at which it began.
    function requireCommitment(Operator storage o, uint32 operatorId)
        internal
        view
        returns (uint64 period, uint256 began)
    {
        uint256 second;
        (period, second) = phase(o);
        if (second == 0 || second >= o.timing.gamma) {
            revert Errors.Datanet_NotCommitment(operatorId, second);
        }
        began = block.timestamp - second;
    }
}

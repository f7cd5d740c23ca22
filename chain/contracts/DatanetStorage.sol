// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SignedRequests} from "./SignedRequests.sol";
import {Channel, DeviceKeyState, Merchant, Operator, Shard, Shift} from "./Types.sol";

/// @title All state of the contract, in its final layout.
/// @notice Holds no rules. The parts of the contract inherit it, so that each sees the same slots
/// whatever parts are added; shards, shifts, credit and activity belong to functions of PayPlace.
abstract contract DatanetStorage is SignedRequests {
    /// @dev Accounts that the registrar has admitted and that have not registered yet.
    mapping(address account => bool) internal _admitted;

    uint32 internal _operatorCount;
    mapping(uint32 operatorId => Operator) internal _operators;
    mapping(uint32 operatorId => mapping(uint32 merchantId => Merchant)) internal _merchants;
    mapping(uint32 operatorId => mapping(uint32 merchantId => mapping(uint16 index => Shard)))
        internal _shards;
    mapping(uint32 operatorId => mapping(address account => uint32 merchantId)) internal
        _merchantIds;
    /// @dev Keys are never forgotten: a key that is added twice would count twice in apkA.
    mapping(uint32 operatorId => mapping(bytes32 pkHash => bool)) internal _pkUsed;

    mapping(uint32 operatorId => mapping(address consumer => Channel)) internal _channels;
    mapping(uint32 operatorId => mapping(address consumer => Shift)) internal _shifts;
    mapping(address account => uint256) internal _credit;

    mapping(address consumer => mapping(bytes32 spkiHash => DeviceKeyState)) internal _deviceKeys;

    /// @dev End of the last activity that a consumer published.
    mapping(address consumer => uint64) internal _activityEnd;
    /// @dev Verifiers of activity evidence, by their number in Activity.
    mapping(uint8 verifier => address) internal _attestors;
}

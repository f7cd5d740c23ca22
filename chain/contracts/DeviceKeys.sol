// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DatanetStorage} from "./DatanetStorage.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";
import {DEVICE_KEY_TYPEHASH, DeviceKey, DeviceKeyState} from "./Types.sol";

/// @title Which TLS keys a consumer's devices may show, directly or by signed request.
/// @notice Unset is as good as enabled for servers: the entry exists to take a lost device's key
/// back.
abstract contract DeviceKeys is DatanetStorage {
    /// @inheritdoc IDatanet
    function deviceKey(address consumer, bytes32 spkiHash) external view returns (DeviceKeyState) {
        return _deviceKeys[consumer][spkiHash];
    }

    /// @inheritdoc IDatanet
    function setDeviceKey(bytes32 spkiHash, bool enabled) external {
        _setDeviceKey(msg.sender, spkiHash, enabled);
    }

    /// @inheritdoc IDatanet
    function setDeviceKeyBySig(DeviceKey calldata request, bytes calldata signature) external {
        bytes32 structHash = keccak256(
            abi.encode(
                DEVICE_KEY_TYPEHASH,
                request.consumer,
                request.spkiHash,
                request.enabled,
                request.nonce,
                request.deadline
            )
        );
        _useRequest(request.consumer, request.nonce, request.deadline, structHash, signature);
        _setDeviceKey(request.consumer, request.spkiHash, request.enabled);
    }

    /// @dev Disabled is final: who steals the account's key later can't revive a key that was taken
    /// back, and a server may forget nothing by caching it.
    function _setDeviceKey(address consumer, bytes32 spkiHash, bool enabled) private {
        if (spkiHash == 0) revert Errors.Datanet_SpkiHashZero();
        if (_deviceKeys[consumer][spkiHash] == DeviceKeyState.Disabled) {
            revert Errors.Datanet_DeviceKeyDisabled(consumer, spkiHash);
        }
        _deviceKeys[consumer][spkiHash] =
            enabled ? DeviceKeyState.Enabled : DeviceKeyState.Disabled;
        emit DeviceKeySet(consumer, spkiHash, enabled);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IDatanet} from "./IDatanet.sol";
import {SignedRequests} from "./SignedRequests.sol";
import {Account, DeviceKeyState, Merchant, Operator, Shift} from "./Types.sol";

/// @title All state of the contract, in its final layout.
/// @notice Holds no rules. The parts of the contract inherit it, so that each sees the same slots
/// whatever parts are added.
abstract contract DatanetStorage is IDatanet, SignedRequests {
    /// @dev Accounts that the registrar has admitted and that have not registered yet.
    mapping(address account => bool) internal _admitted;

    uint32 internal _operatorCount;
    mapping(uint32 operatorId => Operator) internal _operators;
    mapping(uint32 operatorId => mapping(uint32 merchantId => Merchant)) internal _merchants;
    /// @dev Hash of the leaf that is locked for a merchant's shard.
    mapping(
        uint32 operatorId => mapping(uint32 merchantId => mapping(uint16 shard => bytes32))
    ) internal _locks;
    mapping(uint32 operatorId => mapping(address account => uint32 merchantId)) internal
        _merchantIds;
    /// @dev By keccak256 of a key in its 128-byte EIP-2537 coding. Keys are never forgotten: a key
    /// that is added twice would count twice in apkA.
    mapping(uint32 operatorId => mapping(bytes32 pkHash => uint32 merchantId)) internal _keyOwners;

    mapping(uint32 operatorId => mapping(address consumer => Account)) internal _channels;
    mapping(uint32 operatorId => mapping(address consumer => Shift)) internal _shifts;
    mapping(address account => uint256) internal _credit;

    mapping(address consumer => mapping(bytes32 spkiHash => DeviceKeyState)) internal _deviceKeys;

    /// @inheritdoc IDatanet
    function domainSeparator() public view override(IDatanet, SignedRequests) returns (bytes32) {
        return super.domainSeparator();
    }

    /// @inheritdoc IDatanet
    function nonces(address account) public view override(IDatanet, Nonces) returns (uint256) {
        return super.nonces(account);
    }
}

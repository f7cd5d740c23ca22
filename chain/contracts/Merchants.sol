// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Clock} from "./Clock.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";
import {Operators} from "./Operators.sol";
import {MERCHANT_APPROVAL_TYPEHASH, Merchant, Operator} from "./Types.sol";

/// @title Who is paid: merchants join with a key of their own and leave.
/// @notice Keeps apkA the exact sum of the keys of Active merchants that aren't missing (I6).
abstract contract Merchants is Operators {
    /// @inheritdoc IDatanet
    function merchantIdOf(uint32 operatorId, address account) external view returns (uint32) {
        return _merchantIds[operatorId][account];
    }

    /// @inheritdoc IDatanet
    function register(
        uint32 operatorId,
        bytes calldata blsKey,
        bytes calldata pop,
        uint64 validUntil,
        bytes calldata signature
    ) external returns (uint32 merchantId) {
        Operator storage o = _operators[operatorId];
        _requireActive(operatorId);
        uint256 ends = Clock.requireOpen(o, operatorId);
        // D3: an approval ends with the window it is used in, so it serves once.
        if (block.timestamp > validUntil) revert Errors.Datanet_RequestExpired(validUntil);
        if (validUntil > ends) revert Errors.Datanet_ApprovalTooLong(validUntil, ends);
        // D4: one record per account; whoever left comes back with a new id after the next block.
        uint32 former = _merchantIds[operatorId][msg.sender];
        if (former != 0) {
            uint40 exitedAt = _merchants[operatorId][former].exitedAt;
            if (exitedAt == 0 || exitedAt > o.k) {
                revert Errors.Datanet_MerchantKnown(operatorId, msg.sender);
            }
        }
        _checkApproval(operatorId, o.account, keccak256(blsKey), validUntil, signature);

        merchantId = _enrol(operatorId, msg.sender, blsKey, pop);
        o.apkA = _bls.combine(o.apkA, "", blsKey);
    }

    /// @inheritdoc IDatanet
    function exit(uint32 operatorId, uint32 merchantId, bytes calldata blsKey) external {
        Operator storage o = _knownOperator(operatorId);
        Clock.requireOpen(o, operatorId);
        Merchant storage m = _ownMerchant(operatorId, merchantId);
        // D26: with its operator always among them, the signers are never nobody.
        if (merchantId == 1 && o.active) revert Errors.Datanet_OperatorMustStay(operatorId);
        if (m.locked != 0) revert Errors.Datanet_LockLive(operatorId, merchantId);
        if (m.missingSince == 0) {
            _checkKey(operatorId, merchantId, blsKey);
            // D4, D18: who has left can neither stop nor tax a later block.
            o.apkA = _bls.combine(o.apkA, blsKey, "");
        }
        _leave(o, m, operatorId, merchantId, false);
    }

    function _leave(
        Operator storage o,
        Merchant storage m,
        uint32 operatorId,
        uint32 merchantId,
        bool forced
    ) internal {
        m.exitedAt = uint40(o.k + 1);
        emit MerchantExited(operatorId, merchantId, o.k, forced);
    }

    /// @dev D10, D28: an id that was never given or has left is nobody's.
    function _activeMerchant(uint32 operatorId, uint32 merchantId)
        internal
        view
        returns (Merchant storage m)
    {
        m = _merchants[operatorId][merchantId];
        if (m.joinedAt == 0 || m.exitedAt != 0) {
            revert Errors.Datanet_MerchantNotActive(operatorId, merchantId);
        }
    }

    function _ownMerchant(uint32 operatorId, uint32 merchantId)
        internal
        view
        returns (Merchant storage m)
    {
        m = _activeMerchant(operatorId, merchantId);
        _checkAccount(operatorId, merchantId, msg.sender);
    }

    /// @dev An account has one Active record at most: its last.
    function _checkAccount(uint32 operatorId, uint32 merchantId, address account) internal view {
        if (_merchantIds[operatorId][account] != merchantId) {
            revert Errors.Datanet_NotMerchantAccount(operatorId, merchantId, account);
        }
    }

    /// @dev A key that passes was proven to be in the subgroup when its merchant joined, which the
    /// addition of points doesn't check (D2).
    function _checkKey(uint32 operatorId, uint32 merchantId, bytes calldata blsKey) internal view {
        if (_keyOwners[operatorId][keccak256(blsKey)] != merchantId) {
            revert Errors.Datanet_BlsKeyMismatch(operatorId, merchantId);
        }
    }

    function _checkApproval(
        uint32 operatorId,
        address approver,
        bytes32 pkHash,
        uint64 validUntil,
        bytes calldata signature
    ) private view {
        bytes32 structHash = keccak256(
            abi.encode(MERCHANT_APPROVAL_TYPEHASH, operatorId, msg.sender, pkHash, validUntil)
        );
        address signer = ECDSA.recoverCalldata(_digest(structHash), signature);
        if (signer != approver) revert Errors.Datanet_SignerMismatch(approver, signer);
    }
}

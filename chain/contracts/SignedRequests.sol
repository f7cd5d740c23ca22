// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";

/// @title Requests that an account signs and anyone sends.
/// @notice A device without gas, on nothing but the access point's link, can hand the operator such
/// a request to send. Each is good once, until its deadline, for this contract on this chain.
abstract contract SignedRequests is IDatanet, EIP712, Nonces {
    constructor() EIP712("PayPlace", "1") {}

    /// @inheritdoc IDatanet
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IDatanet
    function nonces(address account) public view override(IDatanet, Nonces) returns (uint256) {
        return super.nonces(account);
    }

    /// @dev Uses up the nonce, or reverts unless `account` signed the struct and it isn't late or
    /// used. Plain ecrecover on purpose: what code accepts as a signature can change afterwards.
    function _useRequest(
        address account,
        uint256 nonce,
        uint64 deadline,
        bytes32 structHash,
        bytes calldata signature
    ) internal {
        if (block.timestamp > deadline) {
            revert Errors.Datanet_RequestExpired(deadline);
        }
        address signer = ECDSA.recoverCalldata(_hashTypedDataV4(structHash), signature);
        if (signer != account) revert Errors.Datanet_SignerMismatch(account, signer);
        _useCheckedNonce(account, nonce);
    }
}

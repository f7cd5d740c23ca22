// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Errors} from "./Errors.sol";

/// @title Requests that an account signs and anyone sends.
/// @notice A device without gas, on nothing but the access point's link, can hand the operator such
/// a request to send. Each is good once, until its deadline, for this contract on this chain.
abstract contract SignedRequests is IERC5267, Nonces {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant NAME_HASH = keccak256("PayPlace");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// @notice The EIP-712 domain separator under which all requests to this contract are signed.
    function domainSeparator() public view virtual returns (bytes32) {
        // Not cached: a fork of the chain has another id, and then signatures are no longer ours.
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this))
        );
    }

    /// @inheritdoc IERC5267
    /// @dev Written out, since OpenZeppelin's EIP712 also keeps names of any length and a cache,
    /// which takes 500 bytes of code.
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (hex"0f", "PayPlace", "1", block.chainid, address(this), 0, extensions);
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
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
        address signer = ECDSA.recoverCalldata(_digest(structHash), signature);
        if (signer != account) revert Errors.Datanet_SignerMismatch(account, signer);
        _useCheckedNonce(account, nonce);
    }
}

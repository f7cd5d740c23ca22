// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "./BLS12381.sol";

/// @title BLS12-381 for the contract that made it: proofs, block signatures, sums of keys.
/// @notice Code only, no state and no rights. It stands apart because the contract and the curve
/// together are larger than EIP-170 allows. Keys come in EIP-2537 coding, 128 bytes each; apk is
/// the packed sum that an operator's record holds. Callers check lengths and refuse infinity.
contract BlsVerifier {
    /// @notice Whether `pop` proves that `account` holds the key's secret, for the calling contract
    /// on this chain and one of its operators.
    function provesPossession(
        bytes calldata key,
        bytes calldata pop,
        address account,
        uint32 operatorId
    ) external view returns (bool) {
        bytes memory message = abi.encodePacked(
            BLS12381.compress(key), account, msg.sender, block.chainid, operatorId
        );
        return BLS12381.verify(key, message, BLS12381.POP_TAG, pop);
    }

    /// @notice Whether the holders of all keys in `apk` signed the digest together.
    function signed(bytes32[3] calldata apk, bytes32 digest, bytes calldata signature)
        external
        view
        returns (bool)
    {
        bytes memory message = abi.encodePacked(digest);
        return BLS12381.verify(BLS12381.unpack(apk), message, BLS12381.SIG_TAG, signature);
    }

    /// @notice apk without the keys of `minus` and with the keys of `plus`. All of them must be
    /// known to be in the subgroup.
    function combine(bytes32[3] calldata apk, bytes calldata minus, bytes calldata plus)
        external
        view
        returns (bytes32[3] memory)
    {
        bytes memory sum = BLS12381.unpack(apk);
        for (uint256 offset = 0; offset < minus.length; offset += BLS12381.G1_LENGTH) {
            sum = BLS12381.add(sum, BLS12381.negate(minus[offset:offset + BLS12381.G1_LENGTH]));
        }
        for (uint256 offset = 0; offset < plus.length; offset += BLS12381.G1_LENGTH) {
            sum = BLS12381.add(sum, plus[offset:offset + BLS12381.G1_LENGTH]);
        }
        return BLS12381.pack(sum);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Errors} from "./Errors.sol";

/// @title BLS signatures over BLS12-381 with public keys in G1, on the precompiles of EIP-2537.
/// @notice Implements draft-irtf-cfrg-bls-signature-05 (proof-of-possession scheme,
/// minimal-pubkey-size) and hashing to G2 of RFC 9380. Points come and go in EIP-2537 coding: a
/// field element is 64 bytes, the first 16 of them zero; G1 is x ‖ y; G2 is x.c0 ‖ x.c1 ‖ y.c0 ‖
/// y.c1; infinity is all zero.
/// @dev Subgroup membership is checked by the pairing precompile only, not by the additions: a key
/// is safe to add once `verify` has accepted it. A precompile that refuses its input burns the gas
/// given.
library BLS12381 {
    address internal constant MODEXP = address(0x05);
    address internal constant G2ADD = address(0x0d);
    address internal constant PAIRING = address(0x0f);
    address internal constant MAP_FP2_TO_G2 = address(0x11);

    uint256 internal constant G1_LENGTH = 128;
    uint256 internal constant G2_LENGTH = 256;

    /// @dev Domain separation tag of proofs of possession (draft §4.2.3).
    bytes internal constant POP_TAG = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    /// @dev The field's prime, as an EIP-2537 field element.
    bytes private constant P = hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd7"
        hex"64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    /// @dev (p - 1) / 2, split like a field element.
    uint256 private constant HALF_P_HIGH = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_P_LOW =
        0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;
    /// @dev The generator of G1, negated.
    bytes private constant NEGATIVE_G1 = hex"00000000000000000000000000000000"
        hex"17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905"
        hex"a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        hex"00000000000000000000000000000000"
        hex"114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c9"
        hex"6655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca";

    /// @notice Whether `signature` (G2) is the key's signature over `message` under the tag.
    /// @dev e(key, H(message)) * e(-G1, signature) == 1. Points off the curve or outside the
    /// subgroup make the precompile fail, which is a false here. The caller refuses infinity
    /// beforehand.
    function verify(
        bytes memory key,
        bytes memory message,
        bytes memory tag,
        bytes memory signature
    ) internal view returns (bool) {
        bytes memory pairs = abi.encodePacked(key, hashToG2(message, tag), NEGATIVE_G1, signature);
        (bool ok, bytes memory result) = PAIRING.staticcall(pairs);
        return ok && result.length == 32 && abi.decode(result, (uint256)) == 1;
    }

    /// @notice Whether a point is the point at infinity.
    function isInfinity(bytes memory key) internal pure returns (bool) {
        return keccak256(key) == keccak256(new bytes(G1_LENGTH));
    }

    /// @notice RFC 9380 §3, hash_to_curve, for the suite BLS12381G2_XMD:SHA-256_SSWU_RO_.
    function hashToG2(bytes memory message, bytes memory tag)
        internal
        view
        returns (bytes memory)
    {
        bytes32[8] memory uniform = expandMessage(message, tag);
        // The mapping precompile clears the cofactor, which commutes with the addition.
        return _call(
            G2ADD,
            abi.encodePacked(
                _mapToG2(uniform[0], uniform[1], uniform[2], uniform[3]),
                _mapToG2(uniform[4], uniform[5], uniform[6], uniform[7])
            ),
            G2_LENGTH
        );
    }

    /// @notice RFC 9380 §5.3.1, expand_message_xmd with SHA-256, for 256 bytes.
    /// @param tag at most 255 bytes.
    function expandMessage(bytes memory message, bytes memory tag)
        internal
        pure
        returns (bytes32[8] memory blocks)
    {
        bytes memory suffix = abi.encodePacked(tag, uint8(tag.length));
        bytes32 first =
            sha256(abi.encodePacked(new bytes(64), message, uint16(256), uint8(0), suffix));
        bytes32 previous = 0;
        for (uint8 i = 1; i <= 8; ++i) {
            previous = sha256(abi.encodePacked(first ^ previous, i, suffix));
            blocks[i - 1] = previous;
        }
    }

    /// @notice The 48-byte compressed form of a G1 point that is not infinity.
    /// @dev Bit 7 says compressed, bit 5 that y is the greater of the two roots. Non-canonical
    /// coordinates are not caught here but by the precompiles.
    function compress(bytes memory key) internal pure returns (bytes memory) {
        (uint256 xHigh, uint256 xLow, uint256 yHigh, uint256 yLow) =
            abi.decode(key, (uint256, uint256, uint256, uint256));
        bool greater = yHigh > HALF_P_HIGH || (yHigh == HALF_P_HIGH && yLow > HALF_P_LOW);
        uint256 flags = greater ? 0xa0 : 0x80;
        return abi.encodePacked(uint128(xHigh | (flags << 120)), xLow);
    }

    /// @notice A G1 point without its padding: x (48 bytes) ‖ y (48 bytes) in three words.
    function pack(bytes memory key) internal pure returns (bytes32[3] memory) {
        (uint256 xHigh, uint256 xLow, uint256 yHigh, uint256 yLow) =
            abi.decode(key, (uint256, uint256, uint256, uint256));
        return
            [
                bytes32((xHigh << 128) | (xLow >> 128)),
                bytes32((xLow << 128) | yHigh),
                bytes32(yLow)
            ];
    }

    /// @dev Two 64-byte strings, each reduced modulo p, are the coordinates that are mapped.
    function _mapToG2(bytes32 a, bytes32 b, bytes32 c, bytes32 d)
        private
        view
        returns (bytes memory)
    {
        return _call(MAP_FP2_TO_G2, abi.encodePacked(_reduce(a, b), _reduce(c, d)), G2_LENGTH);
    }

    /// @dev (a ‖ b) mod p as x^1 mod p: the EVM has no 512-bit remainder.
    function _reduce(bytes32 a, bytes32 b) private view returns (bytes memory) {
        bytes memory lengths = abi.encode(uint256(64), uint256(1), uint256(64));
        return _call(MODEXP, abi.encodePacked(lengths, a, b, uint8(1), P), 64);
    }

    /// @dev On a chain without the precompile a call succeeds and returns nothing.
    function _call(address precompile, bytes memory input, uint256 length)
        private
        view
        returns (bytes memory)
    {
        (bool ok, bytes memory output) = precompile.staticcall(input);
        if (!ok || output.length != length) revert Errors.Datanet_PrecompileFailed(precompile);
        return output;
    }
}

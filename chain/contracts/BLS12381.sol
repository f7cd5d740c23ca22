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
    address internal constant SHA256 = address(0x02);
    address internal constant MODEXP = address(0x05);
    address internal constant G1ADD = address(0x0b);
    address internal constant G2ADD = address(0x0d);
    address internal constant PAIRING = address(0x0f);
    address internal constant MAP_FP2_TO_G2 = address(0x11);

    uint256 internal constant G1_LENGTH = 128;
    uint256 internal constant G2_LENGTH = 256;

    /// @dev Domain separation tag of proofs of possession (draft §4.2.3).
    bytes internal constant POP_TAG = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    /// @dev Domain separation tag of signatures of this ciphersuite (draft §4.2.3).
    bytes internal constant SIG_TAG = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    /// @dev The field's prime, split like a field element.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW =
        0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
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
        hex"a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb" hex"00000000000000000000000000000000"
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
    /// @dev Works in place, since copies cost as much as a tenth of the curve's own price.
    function hashToG2(bytes memory message, bytes memory tag)
        internal
        view
        returns (bytes memory point)
    {
        // Four 64-byte strings; each reduced modulo p is a coordinate of what is mapped.
        bytes32[8] memory uniform = expandMessage(message, tag);
        uint256 words = _pointer(uniform);
        // x^1 mod p: the EVM has no 512-bit remainder.
        bytes memory power = abi.encodePacked(
            uint256(64), uint256(1), uint256(64), bytes32(0), bytes32(0), uint8(1), P
        );
        for (uint256 i = 0; i < 4; ++i) {
            uint256 word = words + 64 * i;
            assembly ("memory-safe") {
                mcopy(add(power, 128), word, 64)
            }
            _run(MODEXP, _content(power), power.length, word, 64);
        }
        // The mapping precompile clears the cofactor, which commutes with the addition.
        bytes memory mapped = new bytes(2 * G2_LENGTH);
        _run(MAP_FP2_TO_G2, words, 128, _content(mapped), G2_LENGTH);
        _run(MAP_FP2_TO_G2, words + 128, 128, _content(mapped) + G2_LENGTH, G2_LENGTH);
        point = new bytes(G2_LENGTH);
        _run(G2ADD, _content(mapped), mapped.length, _content(point), G2_LENGTH);
    }

    /// @notice RFC 9380 §5.3.1, expand_message_xmd with SHA-256, for 256 bytes.
    /// @param tag at most 255 bytes.
    function expandMessage(bytes memory message, bytes memory tag)
        internal
        view
        returns (bytes32[8] memory blocks)
    {
        bytes memory suffix = abi.encodePacked(tag, uint8(tag.length));
        bytes32 first =
            sha256(abi.encodePacked(new bytes(64), message, uint16(256), uint8(0), suffix));
        bytes memory input = abi.encodePacked(bytes32(0), uint8(0), suffix);
        uint256 output = _pointer(blocks);
        bytes32 previous = 0;
        for (uint256 i = 1; i <= 8; ++i) {
            assembly ("memory-safe") {
                mstore(add(input, 32), xor(first, previous))
                mstore8(add(input, 64), i)
            }
            _run(SHA256, _content(input), input.length, output, 32);
            assembly ("memory-safe") {
                previous := mload(output)
            }
            output += 32;
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

    /// @notice The inverse of `pack`; all zero is infinity in both forms.
    function unpack(bytes32[3] memory words) internal pure returns (bytes memory) {
        (uint256 a, uint256 b, uint256 c) =
            (uint256(words[0]), uint256(words[1]), uint256(words[2]));
        return abi.encode(a >> 128, (a << 128) | (b >> 128), uint128(b), c);
    }

    /// @notice The sum of two G1 points. Both must be known to be in the subgroup, which the
    /// precompile doesn't check.
    function add(bytes memory a, bytes memory b) internal view returns (bytes memory sum) {
        bytes memory both = abi.encodePacked(a, b);
        sum = new bytes(G1_LENGTH);
        _run(G1ADD, _content(both), both.length, _content(sum), G1_LENGTH);
    }

    /// @notice (x, p - y): the negative of a G1 point that isn't infinity.
    function negate(bytes memory key) internal pure returns (bytes memory) {
        (uint256 xHigh, uint256 xLow, uint256 yHigh, uint256 yLow) =
            abi.decode(key, (uint256, uint256, uint256, uint256));
        unchecked {
            uint256 borrow = yLow > P_LOW ? 1 : 0;
            return abi.encode(xHigh, xLow, P_HIGH - yHigh - borrow, P_LOW - yLow);
        }
    }

    function _pointer(bytes32[8] memory words) private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := words
        }
    }

    function _content(bytes memory data) private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := add(data, 32)
        }
    }

    /// @dev From memory to memory; the output's memory is the caller's. On a chain without the
    /// precompile a call succeeds and returns nothing.
    function _run(
        address precompile,
        uint256 input,
        uint256 inputLength,
        uint256 output,
        uint256 outputLength
    ) private view {
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), precompile, input, inputLength, output, outputLength)
            ok := and(ok, eq(returndatasize(), outputLength))
        }
        if (!ok) revert Errors.Datanet_PrecompileFailed(precompile);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {Base} from "./Base.sol";

/// @notice BLS12381.tree
contract BLS12381Test is Base {
    /// @notice RFC 9380 J.10.1, the tag of the suite's test vectors.
    bytes private constant QUUX = "QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_";

    function test_HashToG2_EmptyMessage_Rfc9380J10() external view {
        bytes memory point = BLS12381.hashToG2("", QUUX);
        check(
            keccak256(point)
                == keccak256(
                    bytes.concat(
                        hex"000000000000000000000000000000000141ebfbdca40eb85b87142e130ab689"
                        hex"c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5c41fb78a",
                        hex"0000000000000000000000000000000005cb8437535e20ecffaef7752baddf98"
                        hex"034139c38452458baeefab379ba13dff5bf5dd71b72418717047f5b0f37da03d",
                        hex"000000000000000000000000000000000503921d7f6a12805e72940b963c0cf3"
                        hex"471c7b2a524950ca195d11062ee75ec076daf2d4bc358c4b190c0c98064fdd92",
                        hex"0000000000000000000000000000000012424ac32561493f3fe3c260708a12b7"
                        hex"c620e7be00099a974e259ddc7d1f6395c3c811cdd19f1e8dbf3e9ecfdcbab8d6"
                    )
                ),
            "P of the empty message"
        );
    }

    function testFuzz_Verify_AcceptsItsOwnSignature(uint256 seed, bytes calldata message)
        external
        view
    {
        uint256 secret = bound(seed, 1, ORDER - 1);
        bytes memory signature = signBls(secret, message, BLS12381.POP_TAG);
        check(BLS12381.verify(keyOf(secret), message, BLS12381.POP_TAG, signature), "refused");
    }

    function testFuzz_Verify_RefusesAnotherMessage(uint256 seed, bytes calldata message)
        external
        view
    {
        uint256 secret = bound(seed, 1, ORDER - 1);
        bytes memory signature = signBls(secret, message, BLS12381.POP_TAG);
        bytes memory other = bytes.concat(message, hex"00");
        check(!BLS12381.verify(keyOf(secret), other, BLS12381.POP_TAG, signature), "accepted");
    }

    function test_Verify_RefusesAnotherTag() external view {
        bytes memory tag = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
        bytes memory signature = signBls(7, "message", tag);
        check(BLS12381.verify(keyOf(7), "message", tag, signature), "refused under its tag");
        check(!BLS12381.verify(keyOf(7), "message", BLS12381.POP_TAG, signature), "accepted");
    }

    function test_Verify_RefusesPointsOffTheCurve() external view {
        bytes memory signature = signBls(7, "message", BLS12381.POP_TAG);
        bytes memory key = keyOf(7);
        key[127] ^= 0x01;
        check(!BLS12381.verify(key, "message", BLS12381.POP_TAG, signature), "key");
        key[127] ^= 0x01;
        signature[255] ^= 0x01;
        check(!BLS12381.verify(key, "message", BLS12381.POP_TAG, signature), "signature");
    }

    /// @notice D2: (0, 2) is on y^2 = x^3 + 4 but of order 3, outside the subgroup.
    function test_D2_Verify_RefusesAKeyOutsideTheSubgroup() external view {
        bytes memory key = new bytes(128);
        key[127] = 0x02;
        (bool onCurve,) = address(0x0b).staticcall(abi.encodePacked(key, key));
        check(onCurve, "G1ADD takes it: the addition checks no subgroup");
        bytes memory infinity = new bytes(256);
        check(!BLS12381.verify(key, "message", BLS12381.POP_TAG, infinity), "accepted");
    }

    /// @notice Why the caller must refuse infinity: e(0, H(m)) * e(-G1, 0) is one.
    function test_D2_Verify_AcceptsInfinityForAnything() external view {
        bytes memory key = new bytes(128);
        check(BLS12381.isInfinity(key), "infinity");
        check(BLS12381.verify(key, "message", BLS12381.POP_TAG, new bytes(256)), "refused");
        check(!BLS12381.isInfinity(keyOf(1)), "the generator is not infinity");
    }

    /// @notice A key and its negative share x and differ in the flag of y alone.
    function testFuzz_Compress_TellsAKeyFromItsNegative(uint256 seed) external view {
        uint256 secret = bound(seed, 1, ORDER - 1);
        bytes memory one = BLS12381.compress(keyOf(secret));
        bytes memory other = BLS12381.compress(keyOf(ORDER - secret));
        check(one.length == 48 && uint8(one[0]) & 0xc0 == 0x80, "flags");
        check(uint8(one[0] ^ other[0]) == 0x20, "sign of y");
        one[0] &= 0x1f;
        other[0] &= 0x1f;
        check(keccak256(one) == keccak256(other), "x");
    }

    function test_Compress_OfTheGenerator() external view {
        bytes32 expected = keccak256(
            hex"97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
            hex"6c55e83ff97a1aeffb3af00adb22c6bb"
        );
        check(keccak256(BLS12381.compress(keyOf(1))) == expected, "generator");
    }

    function testFuzz_Pack_KeepsBothCoordinates(uint256 seed) external view {
        bytes memory key = keyOf(bound(seed, 1, ORDER - 1));
        bytes32[3] memory words = BLS12381.pack(key);
        bytes memory packed = abi.encodePacked(words[0], words[1], words[2]);
        for (uint256 i = 0; i < 48; ++i) {
            check(packed[i] == key[16 + i] && packed[48 + i] == key[80 + i], "byte");
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Channel, Leaf, Merchant, Operator} from "../../chain/contracts/Types.sol";
import {Base} from "./Base.sol";
import {Traders} from "./Traders.sol";

/// @notice PayPlace.tree: the numbered invariants that the contract alone guarantees. That enough
/// succeeded in a campaign is asserted by whoever started it, over all of its runs.
contract PayPlaceInvariantsTest is Base {
    Traders private traders;
    IDatanet private datanet;

    function setUp() external {
        traders = new Traders();
        datanet = traders.market();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(traders);
    }

    /// @notice I1 to I6 and I9 to I14 after every call, in one campaign.
    function invariant_I1_to_I14_HoldWhateverEverybodySigns() external view {
        checkI1I4();
        checkI2I3I14();
        checkI5();
        checkI6();
        checkForbidden();
    }

    /// @notice I1: the contract holds D - w of all channels, all credit and all bonds. I4: shifts
    /// conserve the sum of deposits.
    function checkI1I4() private view {
        uint256 held = 0;
        uint256 deposits = 0;
        for (uint32 o = 1; o <= traders.OPERATORS(); ++o) {
            for (uint256 c = 0; c < traders.CONSUMERS(); ++c) {
                Channel memory a = channelOf(o, c);
                deposits += a.deposit;
                held += a.deposit - a.withdrawn;
                held += datanet.shift(o, traders.consumer(c)).bond;
            }
        }
        for (uint256 i = 0; i < traders.MERCHANTS(); ++i) {
            held += datanet.creditOf(traders.merchant(i));
        }
        check(deposits == traders.deposited(), "I4");
        check(datanet.token().balanceOf(address(datanet)) == held, "I1");
    }

    /// @notice I2, I14: w + R <= mu <= D in each channel. I3: mu is the largest voucher ever
    /// taken, and all of those were signed.
    function checkI2I3I14() private view {
        for (uint32 o = 1; o <= traders.OPERATORS(); ++o) {
            for (uint256 c = 0; c < traders.CONSUMERS(); ++c) {
                Channel memory a = channelOf(o, c);
                check(uint256(a.withdrawn) + a.reserved <= a.highestVoucher, "I2 w + R <= mu");
                check(a.highestVoucher <= a.deposit, "I2, I14 mu <= D");
                check(a.highestVoucher == traders.seenOf(o, c), "I3");
            }
        }
    }

    /// @notice I5: R is the sum of what live locks hold, and a lock is what the contract says.
    function checkI5() private view {
        for (uint32 o = 1; o <= traders.OPERATORS(); ++o) {
            uint256[] memory sums = new uint256[](traders.CONSUMERS());
            uint32 count = datanet.operator(o).merchantCount;
            for (uint32 id = 1; id <= count; ++id) {
                for (uint16 j = 0; j < 2; ++j) {
                    addLock(o, id, j, sums);
                }
            }
            for (uint256 c = 0; c < sums.length; ++c) {
                check(channelOf(o, c).reserved == sums[c], "I5");
            }
        }
    }

    /// @notice I6, I9: apkA is the sum of the keys of Active merchants that aren't missing.
    function checkI6() private view {
        for (uint32 o = 1; o <= traders.OPERATORS(); ++o) {
            Operator memory r = datanet.operator(o);
            uint256 sum = 0;
            for (uint32 id = 1; id <= r.merchantCount; ++id) {
                Merchant memory m = datanet.merchant(o, id);
                if (m.exitedAt != 0 || m.missingSince != 0) continue;
                sum = addmod(sum, traders.secret(o, id), ORDER);
            }
            bytes32[3] memory words = BLS12381.pack(keyOf(sum));
            check(keccak256(abi.encode(r.apkA)) == keccak256(abi.encode(words)), "I6");
        }
    }

    /// @notice I9 to I13, D22, D30, D37: nothing happened that was tried and must not happen.
    function checkForbidden() private view {
        string memory violation = traders.violation();
        check(bytes(violation).length == 0, violation);
    }

    function addLock(uint32 o, uint32 id, uint16 shard, uint256[] memory sums) private view {
        bytes memory locked = traders.lockedOf(o, id, shard);
        bytes32 expected = 0;
        if (locked.length > 0) {
            Leaf memory leaf = abi.decode(locked, (Leaf));
            expected = traders.leafHash(leaf);
            for (uint256 i = 0; i < leaf.entries.length; ++i) {
                for (uint256 c = 0; c < sums.length; ++c) {
                    if (uint256(leaf.entries[i]) >> 96 != uint160(traders.consumer(c))) continue;
                    sums[c] += uint96(uint256(leaf.entries[i]));
                }
            }
        }
        check(datanet.lockOf(o, id, shard) == expected, "I5 lock");
        bool bit = datanet.merchant(o, id).locked >> shard & 1 == 1;
        check(bit == (expected != 0), "I5 bit");
    }

    function channelOf(uint32 o, uint256 consumer) private view returns (Channel memory) {
        return datanet.channel(o, traders.consumer(consumer));
    }
}

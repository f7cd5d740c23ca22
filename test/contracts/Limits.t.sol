// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Leaf, SignedVoucher} from "../../chain/contracts/Types.sol";
import {Market} from "./Market.sol";

/// @notice Limits.tree: I15, no leaf can be too large for a transaction of EIP-7825.
contract LimitsTest is Market {
    uint256 private constant TRANSACTION_MAX = 16_777_216;
    uint256 private constant ENTRIES = 400;

    function test_I15_TheLargestLeafIsLockedAndWithdrawn() external {
        openMarket(1);
        toOpen(0);
        join(1, merchantAt(0), 70);
        uint96[] memory amounts = new uint96[](ENTRIES);
        SignedVoucher[] memory v = new SignedVoucher[](ENTRIES);
        for (uint256 i = 0; i < ENTRIES; ++i) {
            fund(1, i, 1000);
            amounts[i] = 500;
            v[i] = voucher(1, i, 900);
        }
        Leaf[] memory b = new Leaf[](1);
        b[0] = leafOf(1, 2, amounts);
        toCommitment(1);
        (bytes32 root, bytes32[] memory proof) = proofOf(b, 0);
        notarize(draft(1, root, ids(), ids()));

        vm.prank(operatorAt(1));
        uint256 before = gasleft();
        datanet.lock(b[0], proof, v);
        // The voucher's and the entry's calldata come on top: see docs/GAS.md for the whole.
        check(before - gasleft() < TRANSACTION_MAX - ENTRIES * 2_500, "lock");
        toOpen(1);
        vm.prank(merchantAt(0));
        before = gasleft();
        datanet.withdraw(b[0], proof, none(), address(0xb00));
        check(before - gasleft() < TRANSACTION_MAX / 2, "withdraw");
        check(token.balanceOf(address(0xb00)) == 500 * ENTRIES, "paid");
    }
}

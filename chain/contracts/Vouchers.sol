// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {DatanetStorage} from "./DatanetStorage.sol";
import {Errors} from "./Errors.sol";
import {Account, SignedVoucher, VOUCHER_TYPEHASH} from "./Types.sol";

/// @title What consumers have signed to pay: the highest voucher of each channel.
/// @notice A voucher only ever raises that amount; it moves no money by itself.
abstract contract Vouchers is DatanetStorage {
    function _seeVouchers(uint32 operatorId, SignedVoucher[] calldata vouchers) internal {
        for (uint256 i = 0; i < vouchers.length; ++i) {
            _seeVoucher(operatorId, vouchers[i]);
        }
    }

    /// @dev A voucher that isn't higher is left unread: its identity is its amount, not its
    /// signature. Plain ecrecover on purpose (D34): what code accepts as a signature can change
    /// afterwards. The operator is part of what is signed (D6, I13).
    function _seeVoucher(uint32 operatorId, SignedVoucher calldata voucher) internal {
        (address consumer, uint96 amount) = (voucher.consumer, voucher.amount);
        Account storage c = _channels[operatorId][consumer];
        if (amount <= c.highestVoucher) return;
        // D35, I2.
        if (amount > c.deposit) {
            revert Errors.Datanet_VoucherAboveDeposit(operatorId, consumer, amount);
        }
        bytes32 structHash = keccak256(abi.encode(VOUCHER_TYPEHASH, consumer, operatorId, amount));
        address signer = ECDSA.recover(_digest(structHash), voucher.r, voucher.vs);
        if (signer != consumer) revert Errors.Datanet_SignerMismatch(consumer, signer);
        c.highestVoucher = amount;
        emit VoucherSeen(operatorId, consumer, amount);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Blocks} from "./Blocks.sol";
import {Channels} from "./Channels.sol";
import {Clock} from "./Clock.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";
import {Leaves} from "./Leaves.sol";
import {Account, Leaf, Merchant, Operator, SignedVoucher} from "./Types.sol";

/// @title What merchants take out.
/// @notice Pays a leaf of the last block once, a lock exactly, and never more than vouchers cover.
abstract contract Withdrawals is Blocks, Channels {
    using Leaves for Leaf;

    /// @inheritdoc IDatanet
    function creditOf(address account) external view returns (uint256) {
        return _credit[account];
    }

    /// @inheritdoc IDatanet
    function withdraw(
        Leaf calldata leaf,
        bytes32[] calldata proof,
        SignedVoucher[] calldata vouchers,
        address to
    ) external nonReentrant {
        // Checks
        if (to == address(0)) revert Errors.Datanet_RecipientZero();
        Operator storage o = _knownOperator(leaf.operator);
        Clock.requireOpen(o, leaf.operator);
        Merchant storage m = _ownMerchant(leaf.operator, leaf.merchant);

        // Effects
        bool lockedNow = _settledAt(m, o.k) & m.locked & leaf.bit() != 0;
        // D17, D27: whoever has a lock is paid exactly that, for whatever others reserved.
        bool fromLock = m.missingSince != 0 || lockedNow;
        if (!fromLock) {
            _settle(o, m, leaf, proof);
            _seeVouchers(leaf.operator, vouchers);
        }
        uint256 total = _payLeaf(o, m, leaf, fromLock);

        // Interactions
        _send(to, total);
    }

    /// @inheritdoc IDatanet
    function forceExit(Leaf calldata leaf, address account) external {
        (uint32 operatorId, uint32 merchantId) = (leaf.operator, leaf.merchant);
        Operator storage o = _ownOperator(operatorId);
        Clock.requireOpen(o, operatorId);
        Merchant storage m = _activeMerchant(operatorId, merchantId);
        _checkAccount(operatorId, merchantId, account);
        if (m.missingSince == 0) {
            revert Errors.Datanet_MerchantNotMissing(operatorId, merchantId);
        }
        // D37: missingSince is the first missed block plus one.
        uint64 missed = o.k + 2 - m.missingSince;
        if (missed < o.timing.eta) {
            revert Errors.Datanet_NotMissingLongEnough(operatorId, merchantId, missed);
        }
        if (m.locked != 0) {
            uint256 total = _payLeaf(o, m, leaf, true);
            _credit[account] += total;
            emit Credited(account, total);
        }
        if (m.locked == 0) _leave(o, m, operatorId, merchantId, true);
    }

    /// @inheritdoc IDatanet
    function claim(address to) external nonReentrant {
        if (to == address(0)) revert Errors.Datanet_RecipientZero();
        uint256 amount = _credit[msg.sender];
        if (amount == 0) revert Errors.Datanet_NothingToClaim(msg.sender);
        _credit[msg.sender] = 0;
        emit Claimed(msg.sender, to, amount);
        _send(to, amount);
    }

    /// @dev Moves each entry to what is withdrawn: all of it from a lock, else what vouchers cover
    /// beyond other merchants' reserves. I2: neither path lets w + R grow beyond mu.
    function _payLeaf(Operator storage o, Merchant storage m, Leaf calldata leaf, bool fromLock)
        private
        returns (uint256 total)
    {
        (uint32 operatorId, uint32 merchantId) = (leaf.operator, leaf.merchant);
        if (fromLock) {
            _release(m, leaf);
            _markSettled(m, o.k, leaf);
        }
        bytes32[] memory paid = leaf.entries;
        for (uint256 i = 0; i < paid.length; ++i) {
            (address consumer, uint96 amount) = Leaves.split(paid[i]);
            Account storage c = _channels[operatorId][consumer];
            if (fromLock) {
                c.reserved -= amount;
            } else {
                uint128 committed = c.committed;
                uint128 free = c.highestVoucher - committed;
                if (amount > free) {
                    // D29: the rest is lost, which no honest block lets happen; so it is told.
                    emit ShortPaid(operatorId, merchantId, consumer, amount, uint96(free));
                    paid[i] = bytes32((uint256(paid[i]) - amount) | free);
                    amount = uint96(free);
                }
                c.committed = committed + amount;
            }
            total += amount;
        }
        emit Withdrawn(operatorId, merchantId, leaf.shard, o.k, total, fromLock, paid);
    }
}

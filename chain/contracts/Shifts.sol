// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Channels} from "./Channels.sol";
import {Clock} from "./Clock.sol";
import {Errors} from "./Errors.sol";
import {IDatanet} from "./IDatanet.sol";
import {
    Account,
    Operator,
    SHIFT_REQUEST_TYPEHASH,
    Shift,
    ShiftRequest,
    SignedVoucher
} from "./Types.sol";
import {Vouchers} from "./Vouchers.sol";

/// @title Unspent deposits move from one operator to another.
/// @notice Slowly: a shift waits for a challenge, and for a block whose signers knew of it. Nothing
/// that a known voucher has spent moves.
abstract contract Shifts is Vouchers, Channels {
    /// @dev After that long without a block the operator is taken for dead. The only path on which
    /// an absent merchant without a lock depends on somebody's challenge.
    uint256 private constant DEAD_AFTER = 90 days;

    /// @inheritdoc IDatanet
    uint96 public immutable shiftBond;

    constructor(uint96 shiftBond_) {
        shiftBond = shiftBond_;
    }

    /// @inheritdoc IDatanet
    function shift(uint32 from, address consumer) external view returns (Shift memory) {
        return _shifts[from][consumer];
    }

    /// @inheritdoc IDatanet
    function requestShift(uint32 from, uint32 to, uint96 amount) external nonReentrant {
        _requestShift(msg.sender, from, to, amount);
    }

    /// @inheritdoc IDatanet
    function requestShiftBySig(ShiftRequest calldata request, bytes calldata signature)
        external
        nonReentrant
    {
        bytes32 structHash = keccak256(abi.encode(SHIFT_REQUEST_TYPEHASH, request));
        _useRequest(request.consumer, request.nonce, request.deadline, structHash, signature);
        _requestShift(request.consumer, request.from, request.to, request.amount);
    }

    /// @inheritdoc IDatanet
    function challengeShift(uint32 from, SignedVoucher calldata voucher) external nonReentrant {
        address consumer = voucher.consumer;
        Shift storage s = _pendingShift(from, consumer);
        _seeVoucher(from, voucher);
        uint256 left = _unspent(from, consumer);
        if (s.amount <= left) revert Errors.Datanet_ChallengeFailed(from, consumer);
        uint256 bond = s.bond;
        s.amount = uint96(left);
        s.bond = 0;
        // D31: who asked for more than was unspent waits before asking again.
        s.coolUntil = uint64(block.timestamp) + _operators[from].timing.challenge;
        if (left == 0) s.requestedAt = 0;
        emit ShiftChallenged(from, consumer, msg.sender, uint96(left));
        _send(msg.sender, bond);
    }

    /// @inheritdoc IDatanet
    function finalizeShift(uint32 from, address consumer) external nonReentrant {
        // Checks
        Shift storage s = _pendingShift(from, consumer);
        Operator storage o = _operators[from];
        Clock.requireOpen(o, from);
        uint256 challengeEnds = uint256(s.requestedAt) + o.timing.challenge;
        // D30: the signers of a block that began more than delta after the request left the pending
        // amount out of account, and whoever missed that block has a lock.
        bool blockFollowed =
            o.lastPeriod > s.period || block.timestamp >= s.requestedAt + DEAD_AFTER;
        if (block.timestamp < challengeEnds || !blockFollowed) {
            revert Errors.Datanet_ShiftTooEarly(challengeEnds, s.period);
        }
        (uint32 to, uint256 amount, uint256 bond) = (s.to, s.amount, s.bond);
        _requireActive(to);
        // I14: vouchers that came in otherwise count as a challenge would.
        uint256 left = _unspent(from, consumer);
        if (amount > left) amount = left;

        // Effects
        _endShift(s);
        _channels[from][consumer].deposit -= uint128(amount);
        _grow(to, consumer, amount);
        _tellChannel(from, consumer);
        _tellChannel(to, consumer);
        emit ShiftFinalized(from, to, consumer, uint96(amount));

        // Interactions
        _send(consumer, bond);
    }

    /// @inheritdoc IDatanet
    function cancelShift(uint32 from) external nonReentrant {
        Shift storage s = _pendingShift(from, msg.sender);
        uint256 bond = s.bond;
        _endShift(s);
        emit ShiftCancelled(from, msg.sender);
        _send(msg.sender, bond);
    }

    function _requestShift(address consumer, uint32 from, uint32 to, uint96 amount) private {
        Operator storage o = _knownOperator(from);
        if (from == to) revert Errors.Datanet_ShiftToSelf(from);
        _requireActive(to);
        Shift storage s = _shifts[from][consumer];
        // D31
        if (s.requestedAt != 0) revert Errors.Datanet_ShiftPending(from, consumer);
        if (block.timestamp < s.coolUntil) revert Errors.Datanet_ShiftCooling(s.coolUntil);
        uint256 available = _unspent(from, consumer);
        if (amount == 0 || amount > available) {
            revert Errors.Datanet_ShiftAmount(amount, available);
        }
        // D43: signers read a finalized head, which at g may be delta old. What is asked for in the
        // freeze before g isn't in it, so the block of that period doesn't count either.
        uint64 period = Clock.periodAt(o, block.timestamp + o.timing.delta);
        s.to = to;
        s.amount = amount;
        s.requestedAt = uint64(block.timestamp);
        s.period = period;
        s.bond = shiftBond;
        emit ShiftRequested(from, to, consumer, amount, uint64(block.timestamp), period, shiftBond);
        if (shiftBond != 0) _pull(consumer, shiftBond);
    }

    function _endShift(Shift storage s) private {
        s.amount = 0;
        s.requestedAt = 0;
        s.bond = 0;
    }

    function _pendingShift(uint32 from, address consumer) private view returns (Shift storage s) {
        s = _shifts[from][consumer];
        if (s.requestedAt == 0) revert Errors.Datanet_ShiftUnknown(from, consumer);
    }

    /// @dev D - mu, which is the least of D - mu and D - (w + R) since w + R <= mu (I2).
    function _unspent(uint32 operatorId, address consumer) private view returns (uint256) {
        Account storage c = _channels[operatorId][consumer];
        return c.deposit - c.highestVoucher;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {
    ReentrancyGuardTransient
} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDatanet} from "./IDatanet.sol";
import {Errors} from "./Errors.sol";
import {Operators} from "./Operators.sol";
import {Account, Channel, Split} from "./Types.sol";

/// @title The escrow: one channel per (operator, consumer), filled by deposits.
/// @notice A deposit counts for exactly one operator, and only as far as the tokens really arrived.
/// Who may be sent tokens is decided by the parts that inherit this one.
abstract contract Channels is Operators, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Vouchers and leaf entries carry 96-bit amounts.
    uint256 private constant DEPOSIT_LIMIT = 1 << 96;

    /// @inheritdoc IDatanet
    IERC20 public immutable token;

    constructor(IERC20 token_) {
        if (address(token_).code.length == 0) revert Errors.Datanet_TokenMissing(address(token_));
        token = token_;
    }

    /// @inheritdoc IDatanet
    function channel(uint32 operatorId, address consumer) external view returns (Channel memory) {
        Account storage c = _channels[operatorId][consumer];
        return Channel(c.deposit, c.reserved, c.highestVoucher, c.committed - c.reserved);
    }

    /// @inheritdoc IDatanet
    function deposit(Split[] calldata parts) external nonReentrant {
        _pull(msg.sender, _addDeposit(msg.sender, parts));
    }

    /// @inheritdoc IDatanet
    function depositFor(address consumer, Split[] calldata parts) external nonReentrant {
        if (consumer == address(0)) revert Errors.Datanet_ConsumerZero();
        _pull(msg.sender, _addDeposit(consumer, parts));
    }

    /// @inheritdoc IDatanet
    function depositWithPermit(
        Split[] calldata parts,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        uint256 sum = _addDeposit(msg.sender, parts);
        try IERC20Permit(address(token))
            .permit(msg.sender, address(this), sum, deadline, v, r, s) {}
            catch {
            // Whoever saw the permit may have handed it in first; then the allowance is there.
        }
        _pull(msg.sender, sum);
    }

    /// @dev Checks and effects of a deposit; the caller pulls the returned sum. The loop is as long
    /// as the sender pays for, and never longer than there are operators.
    function _addDeposit(address consumer, Split[] calldata parts) private returns (uint256 sum) {
        uint32 previous = 0;
        for (uint256 i = 0; i < parts.length; ++i) {
            (uint32 operatorId, uint96 amount) = (parts[i].operator, parts[i].amount);
            // D33: each part counts for one operator, and once.
            if (operatorId <= previous) revert Errors.Datanet_SplitOrder(previous, operatorId);
            _requireActive(operatorId);
            previous = operatorId;
            sum += amount;

            emit Deposited(operatorId, consumer, amount, _grow(operatorId, consumer, amount));
        }
        if (sum == 0) revert Errors.Datanet_DepositZero();
    }

    /// @dev Adds to a channel's deposit and returns it.
    function _grow(uint32 operatorId, address consumer, uint256 amount)
        internal
        returns (uint128)
    {
        Account storage c = _channels[operatorId][consumer];
        uint256 total = c.deposit + amount;
        if (total >= DEPOSIT_LIMIT) {
            revert Errors.Datanet_DepositTooLarge(operatorId, consumer, total);
        }
        c.deposit = uint128(total);
        return uint128(total);
    }

    /// @dev A token that takes a fee, or says yes without moving anything, is refused here (D36).
    function _pull(address from, uint256 sum) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), sum);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != sum) revert Errors.Datanet_TransferMismatch(sum, received);
    }

    /// @dev Some tokens refuse to move nothing.
    function _send(address to, uint256 amount) internal {
        if (amount != 0) token.safeTransfer(to, amount);
    }

    function _tellChannel(uint32 operatorId, address consumer) internal {
        Account storage c = _channels[operatorId][consumer];
        emit ChannelUpdated(
            operatorId, consumer, c.deposit, c.reserved, c.highestVoucher, c.committed - c.reserved
        );
    }
}

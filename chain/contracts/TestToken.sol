// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The token of the embedded chain, worth nothing anywhere.
/// @notice 18 decimals; its deployer mints it, for the faucet.
contract TestToken is ERC20, ERC20Permit {
    /// @notice Only the deployer mints.
    error TestToken_NotMinter(address caller);

    /// @notice Who deployed the token.
    address public immutable minter = msg.sender;

    constructor() ERC20("Datanet Test Token", "DNT") ERC20Permit("Datanet Test Token") {}

    /// @notice Makes `amount` new base units for `to`.
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert TestToken_NotMinter(msg.sender);
        _mint(to, amount);
    }
}

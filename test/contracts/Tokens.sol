// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Split} from "../../chain/contracts/Types.sol";

// Tokens that misbehave, and one that doesn't. Each mints to anyone.

contract PlainToken is ERC20 {
    constructor() ERC20("Plain", "PLN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice Keeps one hundredth of every transfer.
contract FeeToken is ERC20 {
    constructor() ERC20("Fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : value / 100;
        super._update(from, to, value - fee);
        if (fee > 0) super._update(from, address(0), fee);
    }
}

/// @notice Says yes and moves nothing.
contract LyingToken is ERC20 {
    constructor() ERC20("Lying", "LIE") {}

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return true;
    }
}

/// @notice Says no without reverting.
contract RefusingToken is ERC20 {
    constructor() ERC20("Refusing", "NO") {}

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @notice Deposits again while it is being pulled, as a token with callbacks lets its payer do.
contract ReentrantToken is ERC20 {
    bool private _inside;

    constructor() ERC20("Reentrant", "RE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount)
        public
        override
        returns (bool)
    {
        if (!_inside) {
            _inside = true;
            _mint(address(this), amount);
            _approve(address(this), to, amount);
            Split[] memory parts = new Split[](1);
            parts[0] = Split(1, uint96(amount));
            IDatanet(to).depositFor(from, parts);
        }
        return super.transferFrom(from, to, amount);
    }
}

/// @notice Calls its recipient's or payer's plan back whenever it moves, as ERC-777 does.
contract CallbackToken is ERC20 {
    address private _target;
    bytes private _plan;
    /// @notice Whether the callback went through.
    bool public succeeded;

    constructor() ERC20("Callback", "CB") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function planCall(address target, bytes calldata plan) external {
        (_target, _plan) = (target, plan);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0)) return;
        address target = _target;
        _target = address(0);
        (bool ok,) = target.call(_plan);
        succeeded = succeeded || ok;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Channels} from "./Channels.sol";
import {DeviceKeys} from "./DeviceKeys.sol";
import {Operators} from "./Operators.sol";

/// @title The contract as it is deployed: operators, channels and device keys over one storage.
/// @notice IDatanet documents every function and event. Not upgradable; a new version is a new
/// address.
contract Datanet is Channels, DeviceKeys {
    /// @param token_ the ERC-20 token of all deposits; fixed.
    /// @param registrar_ who admits operators, or the zero address to let anyone register.
    constructor(IERC20 token_, address registrar_) Operators(registrar_) Channels(token_) {}
}

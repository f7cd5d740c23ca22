// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {Activities} from "./Activities.sol";
import {Channels} from "./Channels.sol";
import {DeviceKeys} from "./DeviceKeys.sol";
import {IActivities} from "./IActivities.sol";
import {IDatanet} from "./IDatanet.sol";
import {Operators} from "./Operators.sol";
import {Shifts} from "./Shifts.sol";
import {Withdrawals} from "./Withdrawals.sol";

/// @title The contract as it is deployed: all its parts over one storage.
/// @notice IDatanet documents every function and event. Not upgradable; a new version is a new
/// address.
contract Datanet is Withdrawals, Shifts, DeviceKeys, Multicall {
    /// @inheritdoc IDatanet
    IActivities public immutable activities = new Activities(this);

    /// @param token_ the ERC-20 token of all deposits; fixed.
    /// @param registrar_ who admits operators, or the zero address to let anyone register.
    /// @param shiftBond_ what a request for a shift costs whoever is proven wrong, in base units.
    constructor(IERC20 token_, address registrar_, uint96 shiftBond_)
        Operators(registrar_)
        Channels(token_)
        Shifts(shiftBond_)
    {}

    /// @inheritdoc IDatanet
    function multicall(bytes[] calldata data)
        public
        override(IDatanet, Multicall)
        returns (bytes[] memory results)
    {
        return super.multicall(data);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLS12381} from "../../chain/contracts/BLS12381.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {Channel, DeviceKeyState, Merchant, Operator, Split} from "../../chain/contracts/Types.sol";
import {Base, Mintable} from "./Base.sol";

/// @notice Random actions of three operator accounts and five consumers, with what they should have
/// led to written down beside the contract.
contract Actors is Base {
    uint256 private constant OPERATORS_MAX = 6;
    uint256 private constant CONSUMERS = 5;
    uint256 private constant DEVICE_KEYS = 4;
    Mintable public token;
    IDatanet public datanet;

    uint256 public deposited;
    mapping(uint32 operatorId => mapping(address consumer => uint256)) public depositOf;
    mapping(uint32 operatorId => uint256) public secretOf;
    mapping(uint32 operatorId => bool) public retired;
    mapping(address consumer => mapping(bytes32 spkiHash => DeviceKeyState)) public deviceKeyOf;
    mapping(bytes32 action => uint256) public successes;

    constructor() {
        token = deployToken();
        datanet = deployDatanet(token, address(0));
        for (uint256 i = 0; i < CONSUMERS; ++i) {
            token.mint(consumerAt(i), type(uint128).max);
            vm.prank(consumerAt(i));
            token.approve(address(datanet), type(uint256).max);
        }
        for (uint256 i = 0; i < 3; ++i) {
            register(i, i);
        }
    }

    function consumerAt(uint256 index) public pure returns (address) {
        return address(uint160(0xc000 + (index % CONSUMERS)));
    }

    function consumerCount() external pure returns (uint256) {
        return CONSUMERS;
    }

    function keyAt(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode(index % DEVICE_KEYS));
    }

    function keyCount() external pure returns (uint256) {
        return DEVICE_KEYS;
    }

    function publicKeyOf(uint32 operatorId) external view returns (bytes memory) {
        return keyOf(secretOf[operatorId]);
    }

    function register(uint256 account, uint256 seed) public {
        if (datanet.operatorCount() == OPERATORS_MAX) return;
        uint256 secret = bound(seed, 1, ORDER - 1);
        uint32 id = registerOperator(datanet, address(uint160(0xa000 + (account % 3))), secret);
        secretOf[id] = secret;
        successes["register"]++;
    }

    function retire(uint256 caller, uint32 operatorId) external {
        if (caller % 8 != 0) return;
        operatorId = uint32(bound(operatorId, 0, OPERATORS_MAX));
        vm.prank(address(uint160(0xa000 + (caller / 8 % 3))));
        datanet.retireOperator(operatorId);
        check(!retired[operatorId], "retired twice");
        retired[operatorId] = true;
        successes["retire"]++;
    }

    /// @notice Any shape of split, right or wrong; only what the contract takes is written down.
    function deposit(
        uint256 payer,
        uint256 consumer,
        uint32[3] calldata ids,
        uint96[3] calldata sums
    ) external {
        Split[] memory parts = new Split[](1 + (payer % 3));
        uint32 count = datanet.operatorCount();
        uint256 least = ids[0] % 16 == 0 ? 0 : 1;
        for (uint256 i = 0; i < parts.length; ++i) {
            uint256 id = bound(ids[i], least, count + i / 2);
            parts[i] = Split(uint32(id), sums[i] >> (ids[i] % 96));
            least = id + 1 > count ? id : id + 1;
        }
        address to = consumerAt(consumer);
        vm.prank(consumerAt(payer));
        datanet.depositFor(to, parts);
        for (uint256 i = 0; i < parts.length; ++i) {
            check(!retired[parts[i].operator], "a retired operator took a deposit");
            depositOf[parts[i].operator][to] += parts[i].amount;
            deposited += parts[i].amount;
        }
        successes["deposit"]++;
    }

    function setDeviceKey(uint256 consumer, uint256 key, bool enabled) external {
        address who = consumerAt(consumer);
        vm.prank(who);
        datanet.setDeviceKey(keyAt(key), enabled);
        check(deviceKeyOf[who][keyAt(key)] != DeviceKeyState.Disabled, "disabled is final");
        deviceKeyOf[who][keyAt(key)] = enabled ? DeviceKeyState.Enabled : DeviceKeyState.Disabled;
        successes["setDeviceKey"]++;
    }
}

/// @notice The numbered invariants that hold for the part of the contract that exists.
contract InvariantsTest is Base {
    Actors private actors;

    function setUp() external {
        actors = new Actors();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    /// @notice I1: the contract holds the sum of all deposits, to the unit. I4: which is the sum of
    /// what was paid in. I2: w + R <= mu <= D < 2^96 in each channel.
    function invariant_I1_I2_I4_MoneyIsConserved() external view {
        IDatanet datanet = actors.datanet();
        uint256 sum = 0;
        uint32 count = datanet.operatorCount();
        for (uint32 id = 0; id <= count; ++id) {
            for (uint256 i = 0; i < actors.consumerCount(); ++i) {
                address consumer = actors.consumerAt(i);
                Channel memory c = datanet.channel(id, consumer);
                check(c.deposit == actors.depositOf(id, consumer), "I4 per channel");
                check(uint256(c.withdrawn) + c.reserved <= c.highestVoucher, "I2 w + R <= mu");
                check(c.highestVoucher <= c.deposit, "I2 mu <= D");
                check(c.deposit < 1 << 96, "D < 2^96");
                sum += c.deposit;
            }
        }
        check(sum == actors.deposited(), "I4");
        check(actors.token().balanceOf(address(datanet)) == sum, "I1");
    }

    /// @notice I6: apkA is the sum of the keys of Active, non-missing merchants: so far of one.
    function invariant_I6_ApkAIsTheSumOfActiveKeys() external view {
        IDatanet datanet = actors.datanet();
        uint32 count = datanet.operatorCount();
        for (uint32 id = 1; id <= count; ++id) {
            Operator memory o = datanet.operator(id);
            Merchant memory m = datanet.merchant(id, 1);
            bytes memory key = actors.publicKeyOf(id);
            check(o.merchantCount == 1 && m.joinedAt == 1 && m.exitedAt == 0, "merchant 1");
            check(datanet.merchantIdOf(id, o.account) == 1, "its account");
            bytes32[3] memory words = BLS12381.pack(key);
            check(keccak256(abi.encode(o.apkA)) == keccak256(abi.encode(words)), "I6");
            check(o.active == !actors.retired(id), "retired for good");
        }
    }

    /// @notice Disabled is final, and nobody sets another account's keys.
    function invariant_DeviceKeysAreWhatTheirOwnersSet() external view {
        IDatanet datanet = actors.datanet();
        for (uint256 i = 0; i < actors.consumerCount(); ++i) {
            address consumer = actors.consumerAt(i);
            for (uint256 k = 0; k < actors.keyCount(); ++k) {
                bytes32 key = actors.keyAt(k);
                check(datanet.deviceKey(consumer, key) == actors.deviceKeyOf(consumer, key), "key");
            }
        }
    }

    /// @notice A run in which nothing ever succeeded would prove nothing.
    function afterInvariant() external view {
        check(actors.successes("deposit") > 0, "no deposit succeeded");
        check(actors.successes("setDeviceKey") > 0, "no device key was set");
    }
}

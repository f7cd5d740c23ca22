// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDatanet} from "../../chain/contracts/IDatanet.sol";
import {OperatorInfo, Split, Timing} from "../../chain/contracts/Types.sol";
import {BLS12381} from "../../chain/contracts/BLS12381.sol";

/// @notice The cheatcodes of forge that these tests use.
interface Vm {
    function envOr(string calldata name, string calldata value)
        external
        view
        returns (string memory);
    function addr(uint256 key) external pure returns (address);
    function chainId(uint256 id) external;
    function expectRevert() external;
    function expectRevert(bytes calldata data) external;
    function expectEmit(address emitter) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes4 selector) external;
    function parseJsonBytes(string calldata json, string calldata key)
        external
        pure
        returns (bytes memory);
    function prank(address sender) external;
    function publicKeyP256(uint256 key) external pure returns (uint256 x, uint256 y);
    function readFile(string calldata path) external view returns (string memory);
    function sign(uint256 key, bytes32 digest)
        external
        pure
        returns (uint8 v, bytes32 r, bytes32 s);
    function signP256(uint256 key, bytes32 digest) external pure returns (bytes32 r, bytes32 s);
    function warp(uint256 time) external;
}

interface Mintable is IERC20 {
    function mint(address to, uint256 amount) external;
}

/// @notice Deploys the committed artifacts and speaks BLS, so that a test can make any proof
/// itself.
abstract contract Base {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint256 internal constant START = 1_800_000_000;
    uint96 internal constant BOND = 1000;
    uint256 internal constant ORDER =
        0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    address internal constant G1MSM = address(0x0c);
    address internal constant G2MSM = address(0x0e);

    bytes internal constant GENERATOR = hex"00000000000000000000000000000000"
        hex"17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
        hex"6c55e83ff97a1aeffb3af00adb22c6bb" hex"00000000000000000000000000000000"
        hex"08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3ed"
        hex"d03cc744a2888ae40caa232946c5e7e1";

    /// @notice Creates a contract from an artifact, with ABI-encoded constructor arguments.
    function deployArtifact(string memory name, bytes memory arguments)
        internal
        returns (address created)
    {
        // Mutants of the contract stand in another folder.
        string memory folder = vm.envOr("DATANET_ARTIFACTS", "chain/contracts/artifacts");
        string memory path = string.concat(folder, "/", name, ".json");
        bytes memory code = vm.parseJsonBytes(vm.readFile(path), ".bytecode");
        bytes memory init = abi.encodePacked(code, arguments);
        assembly ("memory-safe") {
            created := create(0, add(init, 32), mload(init))
        }
        check(created != address(0), "deployment failed");
    }

    function deployToken() internal returns (Mintable) {
        return Mintable(deployArtifact("TestToken", ""));
    }

    function deployDatanet(IERC20 token, address registrar) internal returns (IDatanet) {
        vm.warp(START);
        return IDatanet(deployArtifact("Datanet", abi.encode(token, registrar, BOND)));
    }

    function keyOf(uint256 secret) internal view returns (bytes memory key) {
        bool ok;
        (ok, key) = G1MSM.staticcall(abi.encodePacked(GENERATOR, secret));
        check(ok && key.length == 128, "G1MSM");
    }

    function signBls(uint256 secret, bytes memory message, bytes memory tag)
        internal
        view
        returns (bytes memory signature)
    {
        bool ok;
        bytes memory point = BLS12381.hashToG2(message, tag);
        (ok, signature) = G2MSM.staticcall(abi.encodePacked(point, secret));
        check(ok && signature.length == 256, "G2MSM");
    }

    function provePossession(uint256 secret, address account, IDatanet datanet, uint32 operatorId)
        internal
        view
        returns (bytes memory)
    {
        bytes memory message = abi.encodePacked(
            BLS12381.compress(keyOf(secret)), account, address(datanet), block.chainid, operatorId
        );
        return signBls(secret, message, BLS12381.POP_TAG);
    }

    function timing() internal pure returns (Timing memory) {
        return Timing(uint64(START), 60, 15, 3, 130, 30);
    }

    /// @dev No precompile in here: it would use up a prank.
    function info() internal pure returns (OperatorInfo memory) {
        return OperatorInfo(address(0xbeef), keccak256("server key"), "http://127.0.0.1:8080");
    }

    /// @notice Registers `account` with a BLS key of its own.
    function registerOperator(IDatanet datanet, address account, uint256 secret)
        internal
        returns (uint32)
    {
        bytes memory pop = provePossession(secret, account, datanet, datanet.operatorCount() + 1);
        bytes memory key = keyOf(secret);
        vm.prank(account);
        return datanet.registerOperator(info(), timing(), key, pop);
    }

    function split(uint32 operatorId, uint96 amount) internal pure returns (Split[] memory parts) {
        parts = new Split[](1);
        parts[0] = Split(operatorId, amount);
    }

    function check(bool condition, string memory what) internal pure {
        require(condition, what);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + (value % (high - low + 1));
    }
}

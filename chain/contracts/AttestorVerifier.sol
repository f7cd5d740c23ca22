// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Errors} from "./Errors.sol";
import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {IDatanet} from "./IDatanet.sol";

/// @title Evidence by attestors: k of the n accounts that an operator names signed it.
/// @notice Whoever reads activities decides which operators' attestors to believe; the events say
/// who they are.
contract AttestorVerifier is IAttestationVerifier {
    /// @notice The operator's attestors from now on.
    event AttestorsSet(uint32 indexed operator, address[] attestors, uint8 threshold);

    /// @notice The contract whose operators are meant.
    IDatanet public immutable datanet;

    /// @dev Sets are numbered, so that a new one forgets the old one at once.
    struct Attestors {
        uint64 version;
        uint8 threshold;
    }

    mapping(uint32 operatorId => Attestors) private _attestors;
    mapping(uint32 operatorId => mapping(uint64 version => mapping(address => bool))) private
        _isAttestor;

    constructor(IDatanet datanet_) {
        datanet = datanet_;
    }

    /// @notice How many attestors of the operator must sign; zero where it has none.
    function threshold(uint32 operatorId) external view returns (uint8) {
        return _attestors[operatorId].threshold;
    }

    /// @notice Whether the operator names this account.
    function isAttestor(uint32 operatorId, address account) public view returns (bool) {
        return _isAttestor[operatorId][_attestors[operatorId].version][account];
    }

    /// @notice The operator's account names who attests for it, in place of all it named before.
    /// @param accounts strictly increasing.
    /// @param needed how many of them must sign, from 1 to their number.
    function setAttestors(uint32 operatorId, address[] calldata accounts, uint8 needed) external {
        if (datanet.operator(operatorId).account != msg.sender) {
            revert Errors.Datanet_NotOperatorAccount(operatorId, msg.sender);
        }
        if (needed == 0 || needed > accounts.length) revert Errors.Datanet_AttestorsMalformed();
        uint64 version = ++_attestors[operatorId].version;
        _attestors[operatorId].threshold = needed;
        address previous = address(0);
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (accounts[i] <= previous) revert Errors.Datanet_AttestorsMalformed();
            previous = accounts[i];
            _isAttestor[operatorId][version][previous] = true;
        }
        emit AttestorsSet(operatorId, accounts, needed);
    }

    /// @inheritdoc IAttestationVerifier
    /// @dev The evidence is abi.encode(bytes[]): 65-byte signatures over the digest, by attestors
    /// whose addresses rise strictly.
    function verify(uint32 operatorId, address, bytes32 digest, bytes calldata evidence)
        external
        view
        returns (bool)
    {
        return attested(operatorId, digest, abi.decode(evidence, (bytes[])));
    }

    /// @notice Whether enough of the operator's attestors signed the digest.
    function attested(uint32 operatorId, bytes32 digest, bytes[] memory signatures)
        public
        view
        returns (bool)
    {
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = ECDSA.recover(digest, signatures[i]);
            if (signer <= previous || !isAttestor(operatorId, signer)) return false;
            previous = signer;
        }
        uint256 needed = _attestors[operatorId].threshold;
        return needed != 0 && signatures.length >= needed;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDatanet} from "./IDatanet.sol";
import {BLS12381} from "./BLS12381.sol";
import {BlsVerifier} from "./BlsVerifier.sol";
import {DatanetStorage} from "./DatanetStorage.sol";
import {Errors} from "./Errors.sol";
import {Merchant, Operator, OperatorInfo, Timing} from "./Types.sol";

/// @title The registry of operators, their server keys and their first merchant.
/// @notice Moves no money. `_enrol` is the only way by which a BLS key gets into an aggregate key.
abstract contract Operators is DatanetStorage {
    /// @dev A URL; every server keeps all of them in memory.
    uint256 private constant METADATA_LIMIT = 256;

    /// @inheritdoc IDatanet
    address public immutable registrar;

    /// @dev Made with this contract, so that nobody else chooses its code.
    BlsVerifier internal immutable _bls = new BlsVerifier();

    constructor(address registrar_) {
        registrar = registrar_;
    }

    /// @inheritdoc IDatanet
    function operatorCount() external view returns (uint32) {
        return _operatorCount;
    }

    /// @inheritdoc IDatanet
    function operator(uint32 operatorId) external view returns (Operator memory) {
        return _knownOperator(operatorId);
    }

    /// @inheritdoc IDatanet
    function isServerKey(uint32 operatorId, bytes32 spkiHash) external view returns (bool) {
        Operator storage o = _knownOperator(operatorId);
        if (spkiHash == 0) return false;
        bool changed = o.nextServerSpkiHash != 0 && block.timestamp >= o.spkiChangesAt;
        return spkiHash == o.nextServerSpkiHash || (!changed && spkiHash == o.serverSpkiHash);
    }

    /// @inheritdoc IDatanet
    function merchant(uint32 operatorId, uint32 merchantId)
        external
        view
        returns (Merchant memory)
    {
        return _merchants[operatorId][merchantId];
    }

    /// @inheritdoc IDatanet
    function admitOperator(address account) external {
        if (msg.sender != registrar) revert Errors.Datanet_NotRegistrar(msg.sender);
        _admitted[account] = true;
        emit OperatorAdmitted(account);
    }

    /// @inheritdoc IDatanet
    function registerOperator(
        OperatorInfo calldata info,
        Timing calldata timing,
        bytes calldata blsKey,
        bytes calldata pop
    ) external returns (uint32 operatorId) {
        // Checks
        if (registrar != address(0)) {
            if (!_admitted[msg.sender]) revert Errors.Datanet_NotAdmitted(msg.sender);
            _admitted[msg.sender] = false;
        }
        if (info.payout == address(0)) revert Errors.Datanet_PayoutZero();
        _checkMetadata(info.metadataURI, info.serverSpkiHash);
        _checkTiming(timing);

        // Effects
        operatorId = ++_operatorCount;
        Operator storage o = _operators[operatorId];
        o.account = msg.sender;
        o.active = true;
        o.timing = timing;
        o.payout = info.payout;
        o.serverSpkiHash = info.serverSpkiHash;
        o.metadataURI = info.metadataURI;
        emit OperatorRegistered(
            operatorId, msg.sender, info.payout, info.serverSpkiHash, info.metadataURI, timing
        );
        _enrol(operatorId, msg.sender, blsKey, pop);
        o.apkA = BLS12381.pack(blsKey);
    }

    /// @inheritdoc IDatanet
    function updateOperator(uint32 operatorId, string calldata metadataURI, bytes32 serverSpkiHash)
        external
    {
        Operator storage o = _ownOperator(operatorId);
        _checkMetadata(metadataURI, serverSpkiHash);

        if (o.nextServerSpkiHash != 0 && block.timestamp >= o.spkiChangesAt) {
            o.serverSpkiHash = o.nextServerSpkiHash;
            o.nextServerSpkiHash = 0;
            o.spkiChangesAt = 0;
        }
        if (serverSpkiHash == o.serverSpkiHash) {
            o.nextServerSpkiHash = 0;
            o.spkiChangesAt = 0;
        } else if (serverSpkiHash != o.nextServerSpkiHash) {
            o.nextServerSpkiHash = serverSpkiHash;
            o.spkiChangesAt = uint64(block.timestamp) + o.timing.beta;
        }
        o.metadataURI = metadataURI;
        emit OperatorUpdated(
            operatorId, metadataURI, o.serverSpkiHash, o.nextServerSpkiHash, o.spkiChangesAt
        );
    }

    /// @inheritdoc IDatanet
    function retireOperator(uint32 operatorId) external {
        Operator storage o = _ownOperator(operatorId);
        if (!o.active) revert Errors.Datanet_OperatorRetired(operatorId);
        o.active = false;
        emit OperatorRetired(operatorId);
    }

    /// @dev Reverts unless the operator exists and takes new money and merchants.
    function _requireActive(uint32 operatorId) internal view {
        if (!_knownOperator(operatorId).active) revert Errors.Datanet_OperatorRetired(operatorId);
    }

    function _knownOperator(uint32 operatorId) internal view returns (Operator storage o) {
        o = _operators[operatorId];
        if (o.account == address(0)) revert Errors.Datanet_OperatorUnknown(operatorId);
    }

    function _ownOperator(uint32 operatorId) internal view returns (Operator storage o) {
        o = _knownOperator(operatorId);
        if (o.account != msg.sender) {
            revert Errors.Datanet_NotOperatorAccount(operatorId, msg.sender);
        }
    }

    /// @dev Makes `account` the next merchant once it proved that it holds the key's secret (D1).
    /// Without the proof a key chosen as (own key) - (all others) would sign for everybody; the
    /// proof names the account, so that a copied one is of no use to another sender (D5).
    function _enrol(uint32 operatorId, address account, bytes calldata blsKey, bytes calldata pop)
        internal
        returns (uint32 merchantId)
    {
        if (blsKey.length != BLS12381.G1_LENGTH || pop.length != BLS12381.G2_LENGTH) {
            revert Errors.Datanet_BlsCodingLength(blsKey.length, pop.length);
        }
        // D2: infinity is a valid point of the subgroup, and its empty proof passes the pairing.
        if (BLS12381.isInfinity(blsKey)) revert Errors.Datanet_BlsKeyInfinity();
        bytes32 pkHash = keccak256(blsKey);
        // D4: a key is one account's for good; only that account comes back with it.
        uint32 owner = _keyOwners[operatorId][pkHash];
        if (owner != 0 && owner != _merchantIds[operatorId][account]) {
            revert Errors.Datanet_BlsKeyUsed(operatorId, pkHash);
        }
        if (!_bls.provesPossession(blsKey, pop, account, operatorId)) {
            revert Errors.Datanet_PossessionInvalid(operatorId, account);
        }

        Operator storage o = _operators[operatorId];
        merchantId = ++o.merchantCount;
        _merchants[operatorId][merchantId].joinedAt = uint40(o.k + 1);
        _merchantIds[operatorId][account] = merchantId;
        _keyOwners[operatorId][pkHash] = merchantId;
        emit MerchantRegistered(operatorId, merchantId, account, blsKey);
    }

    function _checkMetadata(string calldata uri, bytes32 spkiHash) private pure {
        if (spkiHash == 0) revert Errors.Datanet_SpkiHashZero();
        if (bytes(uri).length > METADATA_LIMIT) {
            revert Errors.Datanet_MetadataTooLong(bytes(uri).length, METADATA_LIMIT);
        }
    }

    /// @dev Commitment and both freezes take at most half of a period, and a challenge spans a
    /// whole period with its commitment, so that no order of events shuts a merchant out.
    function _checkTiming(Timing calldata timing) private view {
        (uint256 beta, uint256 gamma, uint256 delta) = (timing.beta, timing.gamma, timing.delta);
        uint256 closed = gamma + 2 * delta;
        bytes32 field = 0;
        if (timing.g0 > block.timestamp) field = "g0";
        else if (delta == 0) field = "delta";
        else if (gamma < 3 * delta) field = "gamma";
        else if (beta < 2 * closed) field = "beta";
        else if (timing.challenge < beta + closed) field = "challenge";
        else if (timing.eta == 0) field = "eta";
        if (field != 0) revert Errors.Datanet_TimingOutOfBounds(field);
    }
}

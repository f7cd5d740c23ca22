// The contract with one rule removed, many times over: each mutant is compiled like the original
// and must make at least one test fail, so that no rule stands there untested. Called by
// test/long/mutants.test.ts; compiling one takes about 15 s.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One rule taken out: in `file`, `text` (found exactly once) becomes `instead`. */
export interface Mutant {
  readonly rule: string
  readonly file: string
  readonly text: string
  readonly instead: string
  /** Forge's --match-contract: where a failure is expected. */
  readonly tests: string
}

const PAYPLACE = 'PayPlaceInvariantsTest'

export const MUTANTS: readonly Mutant[] = [
  {
    rule: 'D23 I2: a lock is covered by vouchers',
    file: 'Blocks.sol',
    text: 'if (committed > c.highestVoucher) {',
    instead: 'if (committed > type(uint120).max) {',
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'D22 I7: nobody goes missing without a lock',
    file: 'Blocks.sol',
    text: 'if (m.joinedAt != k && (m.shardsAt != k || m.settled != all)) {',
    instead: 'if (m.joinedAt > k && all == 0) {',
    tests: PAYPLACE,
  },
  {
    rule: 'D22: a lock is of this very block, not of an older one',
    file: 'Blocks.sol',
    text: '(m.shardsAt != k || m.settled != all)',
    instead: '(m.shardsAt == 0 || m.settled != all)',
    tests: PAYPLACE,
  },
  {
    rule: 'D24: all shards are locked before their merchant goes missing',
    file: 'Blocks.sol',
    text: '(m.shardsAt != k || m.settled != all)',
    instead: '(m.shardsAt != k || (m.settled == 0 && all != 0))',
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'D42: no stale lock beside a new one',
    file: 'Blocks.sol',
    text: 'if (m.locked & ~settled != 0) {',
    instead: 'if (m.locked & ~settled & leaf.bit() != 0) {',
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'D17 I11: a shard is settled once per block',
    file: 'Blocks.sol',
    text: 'if (settled & leaf.bit() != 0) {\n            revert Errors.Datanet_ShardSettled',
    instead: 'if (m.locked & leaf.bit() != 0) {\n            revert Errors.Datanet_ShardSettled',
    tests: PAYPLACE,
  },
  {
    rule: 'D22: a leaf is proven against the root',
    file: 'Blocks.sol',
    text: 'if (!MerkleProof.verifyCalldata(proof, o.root, hash)) {',
    instead: 'if (!MerkleProof.verifyCalldata(proof, o.root, hash) && hash == 0) {',
    tests: 'LocksTest',
  },
  {
    rule: 'unlock: not what the last block owes',
    file: 'Blocks.sol',
    text: 'if (_settledAt(m, _operators[operatorId].k) & leaf.bit() != 0) {',
    instead: 'if (_settledAt(m, _operators[operatorId].k) & leaf.bit() != 0 && m.joinedAt == 0) {',
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'unlock: not what the missing are owed',
    file: 'Blocks.sol',
    text: `        Merchant storage m = _activeMerchant(operatorId, merchantId);
        if (m.missingSince != 0) revert Errors.Datanet_MerchantMissing(operatorId, merchantId);
        if (_settledAt`,
    instead: `        Merchant storage m = _activeMerchant(operatorId, merchantId);
        if (_settledAt`,
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'D13 I10: one block per period',
    file: 'Blocks.sol',
    text: 'if (period <= o.lastPeriod) revert',
    instead: 'if (period < o.lastPeriod) revert',
    tests: PAYPLACE,
  },
  {
    rule: 'I12: blocks in the commitment window only',
    file: 'Clock.sol',
    text: 'if (second == 0 || second >= o.timing.gamma) {',
    instead: 'if (second > o.timing.beta) {',
    tests: 'BlocksTest',
  },
  {
    rule: 'I12: payments in the open window only',
    file: 'Clock.sol',
    text: 'if (second <= uint256(t.gamma) + t.delta || second >= last) {',
    instead: 'if (second > t.beta) {',
    tests: PAYPLACE,
  },
  {
    rule: 'I9 D19: the signature is verified',
    file: 'BlsVerifier.sol',
    text: 'return BLS12381.verify(BLS12381.unpack(apk), message, BLS12381.SIG_TAG, signature);',
    instead:
      'return BLS12381.verify(BLS12381.unpack(apk), message, BLS12381.SIG_TAG, signature) || true;',
    tests: PAYPLACE,
  },
  {
    rule: 'D1 D2: possession of the key, and with it the subgroup, is verified',
    file: 'Operators.sol',
    text: 'if (!_bls.provesPossession(blsKey, pop, account, operatorId)) {',
    instead:
      'if (!_bls.provesPossession(blsKey, pop, account, operatorId) && account == address(0)) {',
    tests: 'MerchantsTest',
  },
  {
    rule: 'D2: infinity is no key',
    file: 'Operators.sol',
    text: 'if (BLS12381.isInfinity(blsKey)) revert',
    instead: 'if (BLS12381.isInfinity(pop)) revert',
    tests: 'MerchantsTest|OperatorsTest',
  },
  {
    rule: 'D26: a block with no signer is refused',
    file: 'Blocks.sol',
    text: 'if (apk[0] | apk[1] | apk[2] == 0) revert',
    instead: 'if (apk[0] & apk[1] & apk[2] == ~bytes32(0)) revert',
    tests: 'MerchantsTest',
  },
  {
    rule: 'D10: entries rise strictly by consumer',
    file: 'Leaves.sol',
    text: 'if (consumer <= previous || amount == 0)',
    instead: 'if (consumer < previous || amount == 0)',
    tests: 'LocksTest',
  },
  {
    rule: 'D20: named merchants rise strictly',
    file: 'Blocks.sol',
    text: 'if (merchantId <= previous) revert',
    instead: 'if (merchantId < previous) revert',
    tests: 'BlocksTest',
  },
  {
    rule: 'a signature has exactly 256 bytes: no further pair',
    file: 'Blocks.sol',
    text: 'keys.length != named * BLS12381.G1_LENGTH || signature.length != BLS12381.G2_LENGTH',
    instead: 'keys.length != named * BLS12381.G1_LENGTH',
    tests: 'BlocksTest',
  },
  {
    rule: 'I6 D18: an exit takes the key out',
    file: 'Merchants.sol',
    text: 'if (m.missingSince == 0) {\n            _checkKey',
    instead: 'if (m.missingSince != 0) {\n            _checkKey',
    tests: PAYPLACE,
  },
  {
    rule: 'I5: an exit leaves no lock behind',
    file: 'Merchants.sol',
    text: 'if (m.locked != 0) revert',
    instead: 'if (m.joinedAt == 0) revert',
    tests: PAYPLACE,
  },
  {
    rule: 'D4: one record per account',
    file: 'Merchants.sol',
    text: 'if (exitedAt == 0 || exitedAt > o.k) {',
    instead: 'if (exitedAt > o.k) {',
    tests: 'MerchantsTest',
  },
  {
    rule: 'D3: an approval ends with its window',
    file: 'Merchants.sol',
    text: 'if (validUntil > ends) revert',
    instead: 'if (validUntil == 0) revert',
    tests: 'MerchantsTest',
  },
  {
    rule: 'D29 I2: a withdrawal leaves the reserves of others',
    file: 'Withdrawals.sol',
    text: 'uint128 free = c.highestVoucher - committed;',
    instead: 'uint128 free = c.highestVoucher - (committed - c.reserved);',
    tests: `${PAYPLACE}|WithdrawalsTest`,
  },
  {
    rule: 'D37: put out only after eta blocks',
    file: 'Withdrawals.sol',
    text: 'if (missed < o.timing.eta) {',
    instead: 'if (missed == 0) {',
    tests: `${PAYPLACE}|WithdrawalsTest`,
  },
  {
    rule: 'D30: a shift waits for a later block',
    file: 'Shifts.sol',
    text: 'o.lastPeriod > s.period || block.timestamp',
    instead: 'o.lastPeriod >= 0 || block.timestamp',
    tests: PAYPLACE,
  },
  {
    rule: 'D43: a request in the freeze waits for the block after the next',
    file: 'Shifts.sol',
    text: 'block.timestamp + o.timing.delta',
    instead: 'block.timestamp',
    tests: 'ShiftsTest',
  },
  {
    rule: 'D30: a shift waits for its challenge',
    file: 'Shifts.sol',
    text: 'if (block.timestamp < challengeEnds || !blockFollowed) {',
    instead: 'if (!blockFollowed) {',
    tests: `${PAYPLACE}|ShiftsTest`,
  },
  {
    rule: 'I14: a shift moves nothing that a voucher spent',
    file: 'Shifts.sol',
    text: 'if (amount > left) amount = left;',
    instead: 'if (amount > 2 ** 96) amount = left;',
    tests: `${PAYPLACE}|ShiftsTest`,
  },
  {
    rule: 'D31: after a challenge the consumer waits',
    file: 'Shifts.sol',
    text: 'if (block.timestamp < s.coolUntil) revert',
    instead: 'if (s.coolUntil == 1) revert',
    tests: 'ShiftsTest',
  },
  {
    rule: 'I3: a voucher is signed by its consumer',
    file: 'Vouchers.sol',
    text: 'if (signer != consumer) revert',
    instead: 'if (signer == address(0)) revert',
    tests: `${PAYPLACE}|LocksTest`,
  },
  {
    rule: 'D35 I2: a voucher is at most the deposit',
    file: 'Vouchers.sol',
    text: 'if (amount > c.deposit) {',
    instead: 'if (amount > c.deposit && consumer == address(0)) {',
    tests: 'LocksTest',
  },
  {
    rule: 'I13: a voucher names its operator',
    file: 'Vouchers.sol',
    text: 'keccak256(abi.encode(VOUCHER_TYPEHASH, consumer, operatorId, amount))',
    instead: 'keccak256(abi.encode(VOUCHER_TYPEHASH, consumer, uint32(1), amount))',
    tests: `${PAYPLACE}|ShiftsTest`,
  },
  {
    rule: 'I1 D36: what arrives is what was asked for',
    file: 'Channels.sol',
    text: 'if (received != sum) revert',
    instead: 'if (received > sum) revert',
    tests: 'ChannelsTest',
  },
  {
    rule: 'D36 I16: no call comes back while money moves',
    file: 'Withdrawals.sol',
    text: '    ) external nonReentrant {',
    instead: '    ) external {',
    tests: 'WithdrawalsTest',
  },
  {
    rule: 'I18: activities never overlap',
    file: 'Activities.sol',
    text: 'activity.start < lastEnd || ',
    instead: '',
    tests: 'ActivitiesTest',
  },
  {
    rule: 'I1: a credit is claimed once',
    file: 'Withdrawals.sol',
    text: '        _credit[msg.sender] = 0;\n',
    instead: '',
    tests: `${PAYPLACE}|WithdrawalsTest`,
  },
  {
    rule: 'I4: what a shift adds to one operator it takes from the other',
    file: 'Shifts.sol',
    text: '        _channels[from][consumer].deposit -= uint128(amount);\n',
    instead: '',
    tests: `${PAYPLACE}|ShiftsTest`,
  },
  {
    rule: 'I5: what is unlocked is not reserved any more',
    file: 'Blocks.sol',
    text: 'c.reserved -= amount;\n            c.committed -= amount;',
    instead: 'c.committed -= amount;',
    tests: PAYPLACE,
  },
  {
    rule: 'I7 D27: the missing are paid their lock',
    file: 'Withdrawals.sol',
    text: 'bool fromLock = m.missingSince != 0 || lockedNow;',
    instead: 'bool fromLock = lockedNow;',
    tests: 'WithdrawalsTest',
  },
  {
    rule: 'I8: no consumer pays more than a voucher says',
    file: 'Withdrawals.sol',
    text: 'if (amount > free) {',
    instead: 'if (amount > type(uint128).max) {',
    tests: `${PAYPLACE}|WithdrawalsTest`,
  },
  {
    rule: 'I15 D24: a leaf has a largest size',
    file: 'Leaves.sol',
    text: 'uint256 internal constant ENTRIES_MAX = 400;',
    instead: 'uint256 internal constant ENTRIES_MAX = 4000;',
    tests: 'LocksTest',
  },
  {
    rule: 'I17 D34: of two signatures that recover alike one is refused',
    file: 'Vouchers.sol',
    text: 'address signer = ECDSA.recover(_digest(structHash), voucher.r, voucher.vs);',
    instead: `address signer = ecrecover(
            _digest(structHash),
            uint8(uint256(voucher.vs) >> 255) + 27,
            voucher.r,
            voucher.vs & bytes32(type(uint256).max >> 1)
        );`,
    tests: 'LocksTest',
  },
]

/** The mutated text of the file. Throws an Error where the rule isn't found exactly once. */
export function mutate(folder: string, mutant: Mutant): string {
  const source = readFileSync(join(folder, mutant.file), 'utf8')
  if (source.split(mutant.text).length !== 2) {
    throw new Error(`${mutant.rule}: not found exactly once in ${mutant.file}`)
  }
  return source.replace(mutant.text, () => mutant.instead)
}

// The binary form of proposals and answers: round trips, every truncation, every bound.

import fc from 'fast-check'
import t from 'tap'
import { checkProposal } from '../../../chain/payplace/check.ts'
import {
  ANSWER_BYTES,
  decodeAnswer,
  decodeProposal,
  encodeAnswer,
  encodeProposal,
  proposalJson,
  readerOf,
} from '../../../chain/payplace/codec.ts'
import type { MerchantEntries } from '../../../chain/payplace/leaf.ts'
import { type BlockProposal, ProposalError } from '../../../chain/payplace/proposal.ts'
import { BEFORE, before, honest } from './checking.ts'
import { consumer, merchants, NOW, pack, proposal, signingView, source } from './support.ts'

function encode(given: BlockProposal): Buffer {
  return Buffer.concat([...encodeProposal(given, [...given.merchants].length)])
}

/** Everything read, or the fault, or 'merchants' where the fault shows when those are read. */
function readAll(bytes: Buffer): BlockProposal | string {
  const decoded = decodeProposal(readerOf(bytes))
  if (typeof decoded === 'string') return decoded
  try {
    return { ...decoded, merchants: [...decoded.merchants] }
  } catch (error) {
    if (error instanceof ProposalError) return 'merchants'
    throw error
  }
}

const given = proposal(before, honest)
const bytes = encode(given)
const SOURCE = 97
const HEAD = 145

t.test('a proposal survives its binary form, and can be signed from it', async (t) => {
  t.same(readAll(bytes), given)
  t.equal(bytes.length, HEAD + 3 * SOURCE + 3 * 8 + 5 * 32, 'no byte more than needed')
  const decoded = decodeProposal(readerOf(bytes))
  if (typeof decoded === 'string') throw new Error(decoded)
  t.notOk('refused' in checkProposal(signingView(before), decoded, () => {}))
  t.same(readAll(encode({ ...given, form: 'changes' })), { ...given, form: 'changes' })
})

t.test('any content: decode(encode(x)) is x and encode(decode(b)) is b', async (t) => {
  const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
  const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b))
  const sets = fc.dictionary(
    fc.constantFrom('0', '1', '2', '3'),
    fc.bigInt({ min: 1n, max: 2n ** 96n - 1n }),
  )
  const property = fc.property(
    fc.record({
      operator: uint32,
      k: count,
      period: count,
      tau: count,
      prevRoot: hash,
      root: hash,
    }),
    fc.record({ number: count, hash }),
    fc.uniqueArray(fc.tuple(uint32, sets), { selector: ([id]) => id, maxLength: 5 }),
    (header, snapshot, table) => {
      const list = table
        .sort(([a], [b]) => a - b)
        .map(([id, set]): MerchantEntries => ({ id, entries: pack(set) }))
      const made = {
        header,
        snapshot,
        form: 'whole' as const,
        merchants: list,
        sources: [source(1, 5n)],
      }
      const encoded = encode(made)
      const read = readAll(encoded)
      if (typeof read === 'string') return false
      return encode(read).equals(encoded) && proposalJson(read) === proposalJson(made)
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: 9, numRuns: 100 }))
})

t.test('no beginning of a proposal is one, nor anything longer', async (t) => {
  for (let length = 0; length < bytes.length; length++) {
    const outcome = readAll(bytes.subarray(0, length))
    const expected = length < HEAD + 3 * SOURCE ? 'truncated' : 'merchants'
    t.equal(outcome, expected, `${length} bytes`)
  }
  t.equal(readAll(Buffer.concat([bytes, Buffer.alloc(1)])), 'merchants', 'a byte more')
  const none = encode({ ...given, merchants: [], sources: [] })
  t.equal(readAll(Buffer.concat([none, Buffer.alloc(1)])), 'merchants', 'none and a byte more')
})

t.test('every field out of its bounds', async (t) => {
  const cases: readonly [name: string, at: number, value: string, outcome: string][] = [
    ['magic', 0, '00', 'magic'],
    ['version', 3, '32', 'magic'],
    ['form', 4, '02', 'form'],
    ['k above 2^53', 9, '0020000000000000', 'number'],
    ['period above 2^53', 17, 'ffffffffffffffff', 'number'],
    ['tau above 2^53', 25, '0020000000000000', 'number'],
    ['snapshot above 2^53', 97, '0020000000000000', 'number'],
    ['sources', 137, '00003e81', 'count'],
    ['sources, most', 137, '00003e80', 'truncated'],
    ['merchants', 141, '00100001', 'count'],
    ['merchants, most', 141, '00100000', 'merchants'],
    ['a source of nothing', HEAD + 20, '00'.repeat(12), 'amount'],
    ['entries beyond the shards', HEAD + 3 * SOURCE + 4, '00003e81', 'merchants'],
  ]
  for (const [name, at, value, outcome] of cases) {
    const changed = Buffer.from(bytes)
    Buffer.from(value, 'hex').copy(changed, at)
    t.equal(readAll(changed), outcome, name)
  }
})

t.test('changed bytes: no other error, and nothing but the same leaves is signed', async (t) => {
  const property = fc.property(
    fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    (changes) => {
      const changed = Buffer.from(bytes)
      for (const [at, value] of changes) changed[at] = value
      const read = readAll(changed)
      if (typeof read === 'string') return true
      const result = checkProposal(signingView(before), read, () => {})
      return 'refused' in result || result.index.root.equals(given.header.root)
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: 3, numRuns: 2_000 }))
})

t.test('the writer refuses what the reader would', async (t) => {
  const write = (more: Partial<BlockProposal>, count = 3) => [
    ...encodeProposal({ ...given, ...more }, count),
  ]
  t.throws(() => write({}, 2), RangeError, 'another number of merchants')
  t.throws(() => write({ merchants: [] }, 2 ** 20 + 1), RangeError)
  const [voucher] = given.sources
  const crowd = Array.from({ length: 16_001 }, () => voucher ?? source(0, 1n))
  t.throws(() => write({ sources: crowd }), RangeError)
  const large = { id: 1, entries: Buffer.alloc(32 * 16_000, 1) }
  t.same(readAll(encode({ ...given, merchants: [large] })), { ...given, merchants: [large] })
  const larger = { id: 1, entries: Buffer.alloc(32 * 16_001, 1) }
  t.throws(() => write({ merchants: [larger] }, 1), RangeError)
  t.throws(() => write({ header: { ...given.header, k: 2 ** 53 } }), RangeError)
  t.throws(() => write({ header: { ...given.header, root: Buffer.alloc(31) } }), RangeError)
  t.throws(() => write({ merchants: [{ id: 1, entries: Buffer.alloc(33) }] }, 1), RangeError)
  const [first] = given.sources
  if (first === undefined) throw new Error('no source')
  t.throws(() => write({ sources: [{ ...first, signature: Buffer.alloc(64) }] }), RangeError)
})

t.test('answers: exactly 156 bytes', async (t) => {
  const answer = {
    ...{ operator: 7, k: 4, period: 3, root: given.header.root, id: 2 },
    signature: Buffer.alloc(96, 0x5a),
  }
  const encoded = encodeAnswer(answer)
  t.equal(encoded.length, ANSWER_BYTES)
  t.equal(ANSWER_BYTES, 156)
  t.same(decodeAnswer(encoded), answer)
  for (const length of [0, 155]) t.equal(decodeAnswer(encoded.subarray(0, length)), 'truncated')
  t.equal(decodeAnswer(Buffer.concat([encoded, Buffer.alloc(1)])), 'truncated')
  t.equal(decodeAnswer(Buffer.alloc(156)), 'magic')
  const large = Buffer.from(encoded)
  large[8] = 0xff
  t.equal(decodeAnswer(large), 'number')
  t.throws(() => encodeAnswer({ ...answer, signature: Buffer.alloc(95) }), RangeError)
})

t.test('JSON shows amounts as text and bytes as hex', async (t) => {
  const shown = JSON.parse(proposalJson(proposal(before, merchants(BEFORE))))
  t.equal(shown.header.prevRoot, `0x${before.root.toString('hex')}`)
  t.same(shown.merchants[1], { id: 2, entries: { [consumer(0)]: '20', [consumer(1)]: '10' } })
  t.equal(shown.sources[0].amount, '100')
  t.equal(shown.header.tau, NOW - 4)
})

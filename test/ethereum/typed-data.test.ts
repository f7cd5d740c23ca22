import { createHash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { TypedDataEncoder, type TypedDataField } from 'ethers'
import fc from 'fast-check'
import t from 'tap'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantAnswerDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf } from '../../ethereum/signature.ts'
import {
  meteringKeyDigest,
  payPlaceDomain,
  receiptDigest,
  sessionQueryDigest,
  voucherDigest,
} from '../../ethereum/typed-data.ts'

const accountNamed = (seed: string): Address =>
  accountOf(createHash('sha256').update(seed).digest())
const consumer = accountNamed('consumer')
const merchant = accountNamed('merchant')
const contract = accountNamed('contract')
const chainId = 31_337
const domain = payPlaceDomain(chainId, contract)

const fields = (text: string): TypedDataField[] =>
  text.split(',').map((field) => {
    const [type = '', name = ''] = field.split(' ')
    return { type, name }
  })
const VOUCHER = fields('address consumer,uint32 operator,uint96 amount')
const RECEIPT = fields(
  'address consumer,uint32 operator,bytes16 session,address merchant,uint96 amount,uint96 credited,uint64 time',
)
const MERCHANT_ANSWER = fields(
  'uint32 operator,uint32 merchant,uint64 k,uint64 period,bytes32 root,bytes signature',
)
const SESSION_QUERY = fields('address consumer,uint32 operator,uint64 time')

const METERING_KEY = fields('address consumer,uint32 operator,bytes32 keyHash,bytes32 nonce')

function byEthers(name: string, types: TypedDataField[], value: object): string {
  return TypedDataEncoder.hash(
    { name: 'PayPlace', version: '1', chainId, verifyingContract: checksumAddress(contract) },
    { [name]: types },
    value,
  ).slice(2)
}

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const uint96 = fc.bigInt({ min: 0n, max: 2n ** 96n - 1n })
const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const account = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((seed) => {
  return `0x${createHash('sha256').update(seed).digest('hex').slice(24)}` as Address
})
const session = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('hex'))

t.test('Voucher, Receipt and SessionQuery digests equal those of ethers', async (t) => {
  const check = (property: Parameters<typeof fc.assert>[0], seed: number) =>
    t.doesNotThrow(() => fc.assert(property, { seed, numRuns: 50 }))
  check(
    fc.property(account, uint32, uint96, (consumer, operator, amount) => {
      const value = { consumer, operator, amount }
      const digest = voucherDigest(domain, value).toString('hex')
      return digest === byEthers('Voucher', VOUCHER, value)
    }),
    1,
  )
  check(
    fc.property(
      fc.record({ consumer: account, operator: uint32, session, merchant: account }),
      fc.record({ amount: uint96, credited: uint96, time }),
      (place, money) => {
        const value = { ...place, ...money }
        const expected = byEthers('Receipt', RECEIPT, { ...value, session: `0x${value.session}` })
        return receiptDigest(domain, value).toString('hex') === expected
      },
    ),
    2,
  )
  check(
    fc.property(account, uint32, time, (consumer, operator, time) => {
      const value = { consumer, operator, time }
      const digest = sessionQueryDigest(domain, value).toString('hex')
      return digest === byEthers('SessionQuery', SESSION_QUERY, value)
    }),
    3,
  )
})

t.test("a merchant's answer is signed in a digest that equals that of ethers", async (t) => {
  const [root, signature] = [Buffer.alloc(32, 5), Buffer.alloc(96, 6)]
  const value = { operator: 3, id: 2, k: 7, period: 10, root, signature }
  const expected = byEthers('MerchantAnswer', MERCHANT_ANSWER, { ...value, merchant: 2 })
  t.equal(merchantAnswerDigest(domain, value).toString('hex'), expected)
  t.throws(() => merchantAnswerDigest(domain, { ...value, root: signature }), RangeError)
})

t.test('a grant for a metering key is signed in a digest that equals that of ethers', async (t) => {
  const [keyHash, nonce] = [Buffer.alloc(32, 5), Buffer.alloc(32, 6)]
  const value = { consumer, operator: 3, keyHash, nonce }
  const expected = byEthers('MeteringKey', METERING_KEY, value)
  t.equal(meteringKeyDigest(domain, value).toString('hex'), expected)
  t.throws(() => meteringKeyDigest(domain, { ...value, nonce: Buffer.alloc(31) }), RangeError)
})

t.test('a digest stays what it was when the next one is computed', async (t) => {
  const first = voucherDigest(domain, { consumer, operator: 1, amount: 5n })
  const copy = Buffer.from(first)
  voucherDigest(payPlaceDomain(1, contract), { consumer: merchant, operator: 2, amount: 6n })
  t.same(first, copy)
  t.same(voucherDigest(domain, { consumer, operator: 1, amount: 5n }), copy)
})

t.test('a value beyond its type is refused, never cut', async (t) => {
  const receipt = {
    ...{ consumer, operator: 1, session: '0'.repeat(32), merchant },
    ...{ amount: 1n, credited: 1n, time: 1 },
  }
  const wrong: Record<string, () => Buffer> = {
    'amount 2^96': () => voucherDigest(domain, { consumer, operator: 1, amount: 2n ** 96n }),
    'amount -1': () => voucherDigest(domain, { consumer, operator: 1, amount: -1n }),
    'operator 2^32': () => voucherDigest(domain, { consumer, operator: 2 ** 32, amount: 1n }),
    'operator 0.5': () => voucherDigest(domain, { consumer, operator: 0.5, amount: 1n }),
    'session of 31 digits': () => receiptDigest(domain, { ...receipt, session: '0'.repeat(31) }),
    'session in capitals': () => receiptDigest(domain, { ...receipt, session: 'A'.repeat(32) }),
    'credited 2^96': () => receiptDigest(domain, { ...receipt, credited: 2n ** 96n }),
    'time -1': () => sessionQueryDigest(domain, { consumer, operator: 1, time: -1 }),
  }
  for (const [name, digest] of Object.entries(wrong)) t.throws(digest, RangeError, name)
})

t.test('keccak256 is noble’s Keccak-256 for every length around a block', async (t) => {
  for (const length of [0, 1, 31, 64, 66, 135, 136, 137, 256, 1_000]) {
    const bytes = createHash('shake256', { outputLength: length }).update(`${length}`).digest()
    t.same(keccak256(bytes), Buffer.from(keccak_256(bytes)), `${length} bytes`)
  }
})

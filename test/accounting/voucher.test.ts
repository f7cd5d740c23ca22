import { Wallet } from 'ethers'
import fc from 'fast-check'
import t from 'tap'
import {
  EVIDENCE_CHARACTERS_MAX,
  isSigned,
  type Payment,
  readPayment,
  signatureText,
} from '../../accounting/voucher.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import {
  accountNamed,
  contract,
  domain,
  hex,
  keyNamed,
  paymentBy,
  voucherSignature,
} from './vouchers.ts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const UINT96_MAX = 2n ** 96n - 1n
const consumer = accountNamed('alice')
const good = paymentBy('alice', 5n)
const session = 'ab'.repeat(16)
const usage = { inputOctets: '1000', outputOctets: '0' }

/** The refusal of a body; `bad-signature` where only that is wrong, `paid` where nothing is. */
function judge(body: unknown): string {
  const read = readPayment(body, domain)
  if ('refusal' in read) return read.refusal
  return isSigned(read, domain) ? 'paid' : 'bad-signature'
}
function read(body: unknown): Payment {
  const payment = readPayment(body, domain)
  if ('refusal' in payment) throw new Error(payment.message)
  return payment
}

t.test('a good payment in every form a device may send it', async (t) => {
  const forms: Record<string, object> = {
    plain: good,
    'EIP-55 consumer': { ...good, consumer: checksumAddress(consumer) },
    'consumer in capitals': { ...good, consumer: `0x${consumer.slice(2).toUpperCase()}` },
    'signature in capitals': { ...good, signature: `0x${good.signature.slice(2).toUpperCase()}` },
    'its session': { ...good, session },
    'its usage': { ...good, usage },
    'its domain': { ...good, chainId: 31_337, contract: checksumAddress(contract) },
    'evidence of any shape': { ...good, evidence: { type: 'x', value: ['y'] } },
    'the highest amount': paymentBy('alice', UINT96_MAX),
  }
  for (const [name, body] of Object.entries(forms)) t.equal(judge(body), 'paid', name)
  t.match(read({ ...good, session, usage }), { consumer, amount: 5n, session, octets: 1000n })
  t.equal(signatureText(read(good).signature), good.signature)
  t.match(read(good), { session: undefined, octets: undefined })
})

t.test('400: what is not in its one form', async (t) => {
  const { signature: _, ...unsigned } = good
  const wrongCase = checksumAddress(consumer).replace(/[a-f]/, (digit) => digit.toUpperCase())
  const bodies: Record<string, unknown> = {
    ...{ null: null, 'a list': [good], text: 'good', 'a number': 5, nothing: undefined },
    'an empty object': {},
    'no signature': unsigned,
    'an unknown field': { ...good, tip: 1 },
    'a field __proto__': JSON.parse(`{"__proto__":{},${JSON.stringify(good).slice(1)}`),
    'consumer of 39 digits': { ...good, consumer: consumer.slice(0, -1) },
    'consumer without 0x': { ...good, consumer: consumer.slice(2) },
    'consumer with a wrong checksum': { ...good, consumer: wrongCase },
    'consumer as a number': { ...good, consumer: 5 },
    'operator as text': { ...good, operator: '3' },
    'operator 2^32': { ...good, operator: 2 ** 32 },
    'operator -1': { ...good, operator: -1 },
    'operator 3.5': { ...good, operator: 3.5 },
    'amount as a number': { ...good, amount: 5 },
    'amount zero': { ...good, amount: '0' },
    'amount with a leading zero': { ...good, amount: '05' },
    'amount with a sign': { ...good, amount: '+5' },
    'amount negative': { ...good, amount: '-5' },
    'amount with a fraction': { ...good, amount: '5.0' },
    'amount in hex': { ...good, amount: '0x5' },
    'amount with an exponent': { ...good, amount: '5e1' },
    'amount with a line break': { ...good, amount: '5\n' },
    'amount in other digits': { ...good, amount: '٥' },
    'amount 2^96': { ...good, amount: `${UINT96_MAX + 1n}` },
    'amount of 30 digits': { ...good, amount: '9'.repeat(30) },
    'signature of 64 bytes (compact)': { ...good, signature: good.signature.slice(0, -2) },
    'signature of 66 bytes': { ...good, signature: `${good.signature}00` },
    'signature cut in a digit': { ...good, signature: good.signature.slice(0, -1) },
    'signature without 0x': { ...good, signature: good.signature.slice(2) },
    'signature with another letter': { ...good, signature: good.signature.replace(/.$/, 'g') },
    'session of 31 digits': { ...good, session: session.slice(1) },
    'session in capitals': { ...good, session: session.toUpperCase() },
    'session null': { ...good, session: null },
    'usage null': { ...good, usage: null },
    'usage of one direction': { ...good, usage: { inputOctets: '1' } },
    'usage with more': { ...good, usage: { ...usage, packets: '1' } },
    'usage as numbers': { ...good, usage: { inputOctets: 1, outputOctets: 2 } },
    'usage above 64 bits': { ...good, usage: { ...usage, inputOctets: `${2n ** 64n}` } },
    'usage with a leading zero': { ...good, usage: { ...usage, inputOctets: '01' } },
    'chainId as text': { ...good, chainId: '31337' },
    'contract of no address': { ...good, contract: 'here' },
  }
  for (const [name, body] of Object.entries(bodies)) t.equal(judge(body), 'malformed', name)
  const text = 'x'.repeat(EVIDENCE_CHARACTERS_MAX - 2)
  t.equal(judge({ ...good, evidence: text }), 'paid')
  t.equal(judge({ ...good, evidence: `${text}x` }), 'too-large')
})

t.test('401 wrong-domain and 422 wrong-operator are told from a bad signature', async (t) => {
  t.equal(judge({ ...good, chainId: 1 }), 'wrong-domain')
  t.equal(judge({ ...good, contract: accountNamed('other contract') }), 'wrong-domain')
  t.equal(judge({ ...good, operator: 4 }), 'wrong-operator')
  t.equal(judge({ ...good, operator: 4, chainId: 1 }), 'wrong-domain', 'the domain comes first')
  const other = accountNamed('other contract')
  const signed: Record<string, Buffer> = {
    'for another chain': voucherSignature('alice', 5n, { separator: payPlaceDomain(1n, contract) }),
    'for another contract': voucherSignature('alice', 5n, {
      separator: payPlaceDomain(31_337n, other),
    }),
    'for another operator': voucherSignature('alice', 5n, { operator: 4 }),
    'for another amount': voucherSignature('alice', 6n),
    'by another account': voucherSignature('alice', 5n, { key: keyNamed('bob') }),
    'for another consumer': voucherSignature('bob', 5n, { key: keyNamed('alice') }),
  }
  for (const [name, bytes] of Object.entries(signed)) {
    t.equal(judge({ ...good, signature: hex(bytes) }), 'bad-signature', name)
  }
})

t.test('401 bad-signature: only the one form that the contract takes', async (t) => {
  const bytes = voucherSignature('alice', 5n)
  const v = bytes.readUInt8(64)
  const s = BigInt(hex(bytes.subarray(32, 64)))
  const word = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
  const r = bytes.subarray(0, 32)
  const low = bytes.subarray(32, 64)
  const forms: Record<string, Buffer[]> = {
    'the other v, which a mere verification would let pass': [r, low, Buffer.of(55 - v)],
    'v 0': [r, low, Buffer.of(0)],
    'v 1': [r, low, Buffer.of(1)],
    'v 26': [r, low, Buffer.of(26)],
    'v 29': [r, low, Buffer.of(29)],
    'v of EIP-155': [r, low, Buffer.of(35)],
    'high s, with its v': [r, word(ORDER - s), Buffer.of(55 - v)],
    'high s, with our v': [r, word(ORDER - s), Buffer.of(v)],
    's zero': [r, word(0n), Buffer.of(v)],
    's of the order': [r, word(ORDER), Buffer.of(v)],
    'r zero': [word(0n), low, Buffer.of(v)],
    'r of the order': [word(ORDER), low, Buffer.of(v)],
    'r above the order': [word(2n ** 256n - 1n), low, Buffer.of(v)],
    'all zeros': [Buffer.alloc(65)],
  }
  for (const [name, parts] of Object.entries(forms)) {
    const signature = hex(Buffer.concat(parts))
    t.equal(judge({ ...good, signature }), 'bad-signature', name)
  }
})

t.test('a voucher signed by ethers is ours, byte for byte', async (t) => {
  const wallet = new Wallet(hex(keyNamed('alice')))
  const type = ['address consumer', 'uint32 operator', 'uint96 amount'].map((field) => {
    const [type = '', name = ''] = field.split(' ')
    return { type, name }
  })
  const signature = await wallet.signTypedData(
    { name: 'PayPlace', version: '1', chainId: 31_337, verifyingContract: contract },
    { Voucher: type },
    { consumer, operator: 3, amount: 5n },
  )
  t.equal(signature, good.signature)
})

t.test('round trips: what is signed is taken, what is altered is not', async (t) => {
  const amounts = fc.bigInt({ min: 1n, max: UINT96_MAX })
  const taken = fc.property(fc.nat(20), amounts, (n, amount) => {
    const payment = read(paymentBy(`payer ${n}`, amount))
    return payment.amount === amount && isSigned(payment, domain)
  })
  t.doesNotThrow(() => fc.assert(taken, { seed: 5, numRuns: 60 }))
  const altered = fc.property(
    amounts,
    fc.nat(64),
    fc.integer({ min: 1, max: 255 }),
    (amount, at, mask) => {
      const signature = voucherSignature('alice', amount)
      signature.writeUInt8(signature.readUInt8(at) ^ mask, at)
      return !isSigned({ consumer, amount, signature }, domain)
    },
  )
  t.doesNotThrow(() => fc.assert(altered, { seed: 6, numRuns: 100 }))
  const anything = fc.property(fc.anything(), (body) => judge(body) === 'malformed')
  t.doesNotThrow(() => fc.assert(anything, { seed: 7, numRuns: 300 }))
})

// Bad vouchers over HTTP: each is refused with its one status and code, and changes nothing.

import { once } from 'node:events'
import { connect } from 'node:net'
import { TypedDataEncoder } from 'ethers'
import t from 'tap'
import { signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import {
  accountNamed,
  contract,
  domain,
  hex,
  keyNamed,
  paymentBy,
  voucherSignature,
} from '../accounting/vouchers.ts'
import { rig } from './payment-rig.ts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const UINT96_MAX = 2n ** 96n - 1n
const AMOUNT = 30n
const alice = accountNamed('alice')
const good = paymentBy('alice', AMOUNT)
const bytes = voucherSignature('alice', AMOUNT)
const v = bytes.readUInt8(64)

const join = (...parts: Uint8Array[]): string => hex(Buffer.concat(parts))
const withV = (value: number): string => join(bytes.subarray(0, 64), Buffer.of(value))
const signedFor = (o: Parameters<typeof voucherSignature>[2]): string =>
  hex(voucherSignature('alice', AMOUNT, o))

/** n - s with the v that then fits, or with the one that was there. */
function highS(value: number): string {
  const s = ORDER - BigInt(hex(bytes.subarray(32, 64)))
  const word = Buffer.from(s.toString(16).padStart(64, '0'), 'hex')
  return join(bytes.subarray(0, 32), word, Buffer.of(value))
}

/** By ethers, since our own code knows one domain name and version. */
function underDomain(name: string, version: string): string {
  const type = [
    { name: 'consumer', type: 'address' },
    { name: 'operator', type: 'uint32' },
    { name: 'amount', type: 'uint96' },
  ]
  const digest = TypedDataEncoder.hash(
    { name, version, chainId: domain.chainId, verifyingContract: contract },
    { Voucher: type },
    { consumer: alice, operator: domain.operator, amount: AMOUNT },
  )
  return hex(signDigest(Buffer.from(digest.slice(2), 'hex'), keyNamed('alice')))
}

/** Changes of a good payment: name, change, status, code. */
type Case = readonly [name: string, change: object, status: number, code: string]

const other = accountNamed('another contract')
const domains: readonly Case[] = [
  [
    'the domain of another name',
    { signature: underDomain('OtherPlace', '1') },
    401,
    'bad-signature',
  ],
  ['another version', { signature: underDomain('PayPlace', '2') }, 401, 'bad-signature'],
  ['chain 1', signedForChain(1n), 401, 'bad-signature'],
  ['chain 1, and says so', { ...signedForChain(1n), chainId: 1 }, 401, 'wrong-domain'],
  ['another contract', signedForContract(), 401, 'bad-signature'],
  [
    'another contract, and says so',
    { ...signedForContract(), contract: other },
    401,
    'wrong-domain',
  ],
  ['operator 4', { signature: signedFor({ operator: 4 }) }, 401, 'bad-signature'],
  [
    'operator 4, and says so',
    { signature: signedFor({ operator: 4 }), operator: 4 },
    422,
    'wrong-operator',
  ],
  ['our voucher said to be for operator 4', { operator: 4 }, 422, 'wrong-operator'],
]

function signedForChain(chainId: bigint): object {
  return { signature: signedFor({ separator: payPlaceDomain(chainId, contract) }) }
}
function signedForContract(): object {
  return { signature: signedFor({ separator: payPlaceDomain(domain.chainId, other) }) }
}

const signers: readonly Case[] = [
  ['signed by bob', { signature: signedFor({ key: keyNamed('bob') }) }, 401, 'bad-signature'],
  ['said to be bob’s', { consumer: accountNamed('bob') }, 401, 'bad-signature'],
  ['bob’s voucher', { signature: hex(voucherSignature('bob', AMOUNT)) }, 401, 'bad-signature'],
  ['of a stranger', { consumer: accountNamed('carol') }, 404, 'unknown-consumer'],
  ['another amount than was signed', { amount: '31' }, 401, 'bad-signature'],
]

const forms: readonly Case[] = [
  ...[0, 1, 26, 29, 35, 255].map(
    (value): Case => [`v ${value}`, { signature: withV(value) }, 401, 'bad-signature'],
  ),
  ['the other v', { signature: withV(55 - v) }, 401, 'bad-signature'],
  ['high s, with its v', { signature: highS(55 - v) }, 401, 'bad-signature'],
  ['high s, with our v', { signature: highS(v) }, 401, 'bad-signature'],
  ['64 bytes', { signature: hex(bytes.subarray(0, 64)) }, 400, 'malformed'],
  ['66 bytes', { signature: join(bytes, Buffer.of(0)) }, 400, 'malformed'],
  ['half a byte less', { signature: hex(bytes).slice(0, -1) }, 400, 'malformed'],
  ['no bytes', { signature: '0x' }, 400, 'malformed'],
]

const amounts: readonly Case[] = [
  ['equal', paymentBy('alice', 20n), 409, 'not-higher'],
  ['lower', paymentBy('alice', 19n), 409, 'not-higher'],
  ['one above the deposit', paymentBy('alice', 101n), 422, 'over-deposit'],
  ['the highest uint96', paymentBy('alice', UINT96_MAX), 422, 'over-deposit'],
  ['2^96', { amount: `${UINT96_MAX + 1n}` }, 400, 'malformed'],
  ['2^256 + 30', { amount: `${2n ** 256n + AMOUNT}` }, 400, 'malformed'],
]

t.test('every bad voucher has its status and code, one by one and in a batch', async (t) => {
  const { ledger, world, deposit, pay, post } = rig()
  deposit('alice', 100n)
  deposit('bob', 100n)
  t.equal((await pay(paymentBy('alice', 20n))).status, 200)
  const before = ledger.account(alice)
  ledger.drain()
  const cases = [...domains, ...signers, ...forms, ...amounts]
  for (const [name, change, status, code] of cases) {
    const answer = await pay({ ...good, ...change })
    t.match(answer, { status, error: { code } }, name)
  }
  const payments = cases.map(([, change]) => ({ ...good, ...change }))
  const { status, results } = await post('/v1/payments', { payments })
  t.equal(status, 200)
  t.same(
    results.map(({ error }: { error?: { code: string } }) => error?.code),
    cases.map(([, , , code]) => code),
  )
  t.equal(ledger.account(alice), before)
  t.same(ledger.drain().journal, [])
  t.equal(world.outcomes.filter((outcome) => outcome === 'paid').length, 1)
  t.equal((await pay(good)).status, 200, 'the same voucher, untouched')
})

t.test('a voucher pays once: whoever sends it again, in whatever session’s name', async (t) => {
  const { ledger, open, deposit, pay } = rig()
  deposit('alice', 100n)
  deposit('bob', 100n)
  const [first, second, bobs] = [open('alice', 1), open('alice', 2), open('bob')]
  const voucher = paymentBy('alice', 15n)
  t.equal((await pay({ ...voucher, session: first })).receipt.credited, '15')
  const replays: readonly [string, object, number, string][] = [
    ['in the same session', { ...voucher, session: first }, 409, 'not-higher'],
    ['from another session of hers', { ...voucher, session: second }, 409, 'not-higher'],
    ['in nobody’s name', voucher, 409, 'not-higher'],
    ['from the session of another', { ...voucher, session: bobs }, 404, 'unknown-session'],
    ['by bob, as his', { ...voucher, consumer: accountNamed('bob') }, 401, 'bad-signature'],
  ]
  for (const [name, body, status, code] of replays) {
    t.match(await pay(body), { status, error: { code } }, name)
  }
  const credits = [first, second, bobs].map((id) => ledger.session(id)?.credit)
  t.same(credits, [15n, 0n, 0n])
})

t.test('a body cut anywhere is refused, and one whose sender goes away pays nothing', async (t) => {
  const { ledger, deposit, post, pay, app } = rig()
  deposit('alice', 100n)
  const text = JSON.stringify(good)
  const headers = { 'content-type': 'application/json' }
  for (let length = 0; length < text.length; length += 7) {
    const cut = await post('/v1/payments', text.slice(0, length), { headers })
    t.match(cut, { status: 400, error: { code: 'malformed' } }, `${length} of ${text.length}`)
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const request = `POST /v1/payments HTTP/1.1\r\nhost: localhost\r\n\
content-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, -1)}`
  const socket = connect({ port: address.port, host: '127.0.0.1' })
  socket.on('error', () => {})
  const arrived = once(app.server, 'request')
  socket.write(request)
  await arrived
  socket.destroy()
  await once(socket, 'close')
  t.equal(ledger.account(alice)?.voucher, undefined)
  t.equal((await pay(good)).status, 200)
})

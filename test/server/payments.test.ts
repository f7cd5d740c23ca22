import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { recoverAddress } from '../../ethereum/signature.ts'
import { receiptDigest } from '../../ethereum/typed-data.ts'
import { accountNamed, domain, hex, paymentBy, voucherSignature } from '../accounting/vouchers.ts'
import { diskFull, merchant, NOW_MS, rig } from './payment-rig.ts'

const ZERO_SESSION = '0'.repeat(32)
const ZERO_ADDRESS = `0x${'0'.repeat(40)}`
const UINT96_MAX = 2n ** 96n - 1n

interface ReceiptJson {
  readonly consumer: string
  readonly operator: number
  readonly session: string
  readonly merchant: string
  readonly amount: string
  readonly credited: string
  readonly time: number
}

/** The account whose signature a receipt carries. */
function signerOf(receipt: ReceiptJson, signature: string): string | undefined {
  const lower = (address: string) => address.toLowerCase() as Address
  const value = {
    ...{ ...receipt, consumer: lower(receipt.consumer), merchant: lower(receipt.merchant) },
    ...{ amount: BigInt(receipt.amount), credited: BigInt(receipt.credited) },
  }
  const bytes = Buffer.from(signature.slice(2), 'hex')
  return recoverAddress(receiptDigest(domain.separator, value), bytes)
}

t.test('a payment is stored, then answered with a receipt the operator signed', async (t) => {
  const { world, ledger, open, deposit, pay } = rig()
  const alice = deposit('alice', 100n)
  const session = open('alice')
  const paid = await pay(paymentBy('alice', 15n, { session }))
  t.equal(paid.status, 200)
  t.match(paid.headers['content-type'], /^application\/json/)
  const { receipt } = paid
  t.same(receipt, {
    ...{ consumer: checksumAddress(alice), operator: 3, session },
    ...{ merchant: checksumAddress(merchant), amount: '15', credited: '15', time: NOW_MS / 1_000 },
  })
  t.equal(signerOf(receipt, paid.signature), accountNamed('operator'))
  t.equal(ledger.session(session)?.credit, 15n)
  t.equal(world.commits.length, 1)
  t.match(world.commits[0]?.accounts, [{ voucher: { amount: 15n } }])
  const more = await pay(paymentBy('alice', 100n))
  t.match(more.receipt, { session: ZERO_SESSION, merchant: ZERO_ADDRESS, credited: '0' })
  t.equal(signerOf(more.receipt, more.signature), accountNamed('operator'))
  t.same(world.outcomes, ['paid', 'paid'])
})

t.test(
  'product terms: a payment and its answer are under 500 bytes, at their longest',
  async (t) => {
    const { open, deposit, pay } = rig()
    deposit('alice', UINT96_MAX)
    const usage = { inputOctets: '99999999999999', outputOctets: '99999999999999' }
    const body = paymentBy('alice', UINT96_MAX, { session: open('alice'), usage })
    const paid = await pay(body)
    t.equal(paid.status, 200)
    const sizes = { request: JSON.stringify(body).length, answer: paid.text.length }
    t.ok(sizes.request < 500 && sizes.answer < 500, JSON.stringify(sizes))
  },
)

t.test('each refusal has its status and code and changes nothing', async (t) => {
  const { world, ledger, open, deposit, pay } = rig()
  const alice = deposit('alice', 100n, 10n)
  deposit('bob', 100n)
  const session = open('alice')
  const bobs = open('bob')
  t.equal((await pay(paymentBy('alice', 20n))).status, 200)
  const before = ledger.account(alice)
  ledger.drain()
  const otherV = voucherSignature('alice', 30n)
  otherV.writeUInt8(55 - otherV.readUInt8(64), 64)
  const cases: [name: string, body: unknown, status: number, code: string][] = [
    ['no object', [], 400, 'malformed'],
    ['an amount of 2^96', paymentBy('alice', 30n, { amount: `${2n ** 96n}` }), 400, 'malformed'],
    ['the other v', paymentBy('alice', 30n, { signature: hex(otherV) }), 401, 'bad-signature'],
    ['signed for less', { ...paymentBy('alice', 20n), amount: '30' }, 401, 'bad-signature'],
    ['another chain', paymentBy('alice', 30n, { chainId: 1 }), 401, 'wrong-domain'],
    ['a stranger', paymentBy('carol', 30n), 404, 'unknown-consumer'],
    [
      'no session of ours',
      paymentBy('alice', 30n, { session: ZERO_SESSION }),
      404,
      'unknown-session',
    ],
    ['the session of another', paymentBy('alice', 30n, { session: bobs }), 404, 'unknown-session'],
    ['equal', paymentBy('alice', 20n), 409, 'not-higher'],
    ['lower', paymentBy('alice', 19n, { session }), 409, 'not-higher'],
    [
      'too much evidence',
      paymentBy('alice', 30n, { evidence: 'x'.repeat(9_000) }),
      413,
      'too-large',
    ],
    ['above the deposit', paymentBy('alice', 101n), 422, 'over-deposit'],
    ['another operator', paymentBy('alice', 30n, { operator: 4 }), 422, 'wrong-operator'],
  ]
  for (const [name, body, status, code] of cases) {
    const answer = await pay(body)
    t.equal(answer.status, status, name)
    t.match(answer.error, { code, message: /./ }, name)
  }
  t.equal(ledger.account(alice), before)
  t.same(ledger.drain().journal, [])
  t.same(world.outcomes, ['paid', ...cases.map(([, , , code]) => code)])
  t.equal((await pay(paymentBy('alice', 100n))).status, 200, 'the whole deposit may be paid')
})

t.test('what is asked to move to another operator can not be promised', async (t) => {
  const { world, ledger, payments, deposit, pay } = rig()
  const alice = deposit('alice', 100n, 0n, 60n)
  const above = await pay(paymentBy('alice', 41n))
  t.match(above, { status: 422, error: { code: 'over-deposit', message: /60 of it/ } })
  const more = { operator: 3, amount: 41n, signature: voucherSignature('alice', 41n) }
  ledger.meet(alice)
  t.match(payments.payVoucherUri(more, alice), { refusal: 'over-deposit' })
  t.equal((await pay(paymentBy('alice', 40n))).status, 200, 'the rest can')
  deposit('alice', 100n, 0n, 90n)
  t.equal((await pay(paymentBy('alice', 50n))).status, 422, 'also after more was asked for')
  deposit('alice', 100n)
  t.equal((await pay(paymentBy('alice', 100n))).status, 200, 'and all of it when it was cancelled')
  t.same(world.outcomes, ['over-deposit', 'over-deposit', 'paid', 'over-deposit', 'paid'])
})

t.test('409 tells the best voucher known, in the books or on chain', async (t) => {
  const { deposit, pay } = rig()
  deposit('alice', 100n, 40n)
  const onChain = await pay(paymentBy('alice', 40n))
  t.same(Object.keys(onChain.error), ['code', 'message', 'amount'])
  t.match(onChain.error, { code: 'not-higher', amount: '40' })
  const best = paymentBy('alice', 55n)
  t.equal((await pay(best)).status, 200)
  const inBooks = await pay(paymentBy('alice', 50n))
  t.match(inBooks.error, { code: 'not-higher', amount: '55', signature: best.signature })
})

t.test('a voucher settled on chain is not credited again', async (t) => {
  const { ledger, open, deposit, pay } = rig()
  const alice = deposit('alice', 100n, 40n)
  const session = open('alice')
  const paid = await pay(paymentBy('alice', 45n, { session }))
  t.equal(paid.receipt.credited, '5')
  t.equal(ledger.account(alice)?.credit, 0n)
})

t.test('nothing is answered before it is durable, a 409 no more than a receipt', async (t) => {
  const { world, deposit, pay } = rig()
  deposit('alice', 100n)
  const disk = Promise.withResolvers<void>()
  world.commit = () => disk.promise
  const answered: string[] = []
  const first = pay(paymentBy('alice', 20n)).then(({ status }) => answered.push(`${status}`))
  const again = pay(paymentBy('alice', 20n)).then(({ error }) => answered.push(error.amount))
  await sleep(30)
  t.same(answered, [])
  disk.resolve()
  await Promise.all([first, again])
  t.same(answered.sort(), ['20', '200'])
})

t.test('503: a store that failed is told of before the ledger changes', async (t) => {
  const { world, ledger, deposit, pay, post } = rig()
  const alice = deposit('alice', 100n)
  world.failed = diskFull()
  t.match(await pay(paymentBy('alice', 20n)), {
    status: 503,
    error: { code: 'storage-unavailable' },
  })
  t.notOk(ledger.knows(alice))
  const batch = await post('/v1/payments', { payments: [paymentBy('alice', 20n)] })
  t.match(batch.results, [{ error: { code: 'storage-unavailable' } }])
  world.failed = undefined
  world.commit = () => {
    throw diskFull()
  }
  t.equal((await pay(paymentBy('alice', 20n))).status, 503, 'it fails while this one is stored')
  t.equal((await pay(paymentBy('alice', 20n))).status, 503, 'nor is it told that it is known')
  world.commit = () => {}
  t.match((await pay(paymentBy('alice', 20n))).error, { code: 'not-higher', amount: '20' })
  t.same(
    world.outcomes.slice(0, 4),
    Array.from({ length: 4 }, () => 'storage-unavailable'),
  )
})

t.test('503: books that can’t be read; accounts not in memory are fetched once', async (t) => {
  const { world, ledger, deposit, pay, post } = rig()
  const alice = deposit('alice', 100n)
  const bob = deposit('bob', 100n)
  world.ensure = () => {
    throw diskFull()
  }
  t.match(await pay(paymentBy('alice', 20n)), { error: { code: 'storage-unavailable' } })
  world.ensure = (account) => ledger.meet(account)
  world.ensured = []
  const payments = [1n, 2n, 3n].flatMap((n) => [paymentBy('alice', n), paymentBy('bob', n)])
  const { results } = await post('/v1/payments', { payments })
  t.same(
    results.map((result: { receipt?: ReceiptJson }) => result.receipt?.amount),
    ['1', '1', '2', '2', '3', '3'],
  )
  t.same(world.ensured, [alice, bob])
  world.ensured = []
  await pay({ ...paymentBy('carol', 20n) })
  await pay({ ...paymentBy('alice', 20n), amount: '30' })
  t.same(world.ensured, [], 'neither strangers nor bad signatures reach the store')
})

t.test('503: a mirror that is stale is asked once, for 500 ms', async (t) => {
  const { world, deposit, pay } = rig()
  deposit('alice', 100n)
  world.nowMs += 59_999
  t.equal((await pay(paymentBy('alice', 20n))).status, 200, 'an outage changes nothing at first')
  t.same(world.refreshes, [])
  world.nowMs += 1
  t.match(await pay(paymentBy('alice', 30n)), { status: 503, error: { code: 'chain-unavailable' } })
  t.same(world.refreshes, [500])
  world.refresh = () => true
  t.equal((await pay(paymentBy('alice', 30n))).status, 200)
})

t.test('503: of a consumer unknown while the mirror is cut off nothing is said', async (t) => {
  const { world, deposit, pay, post } = rig()
  deposit('alice', 100n)
  world.connected = false
  t.equal((await pay(paymentBy('alice', 20n))).status, 200, 'known ones go on')
  t.match(await pay(paymentBy('bob', 20n)), { error: { code: 'chain-unavailable' } })
  t.same(world.refreshes, [500])
  world.refresh = () => {
    deposit('bob', 100n)
    world.connected = true
    return true
  }
  const payments = [paymentBy('alice', 20n), paymentBy('bob', 20n), paymentBy('carol', 20n)]
  const { results } = await post('/v1/payments', { payments })
  t.match(results, [
    { error: { code: 'not-higher' } },
    { receipt: { amount: '20' } },
    { error: { code: 'unknown-consumer' } },
  ])
})

t.test('the deposit that counts is the one at the moment of the decision', async (t) => {
  const { world, ledger, deposit, pay } = rig()
  const alice = deposit('alice', 100n)
  world.ensure = (account) => {
    ledger.meet(account)
    world.channels.delete(alice)
  }
  t.match(await pay(paymentBy('alice', 20n)), { error: { code: 'unknown-consumer' } })
  t.equal(ledger.account(alice)?.voucher, undefined)
})

t.test('the device’s usage is held against the NAS’s, of a paid voucher only', async (t) => {
  const { world, ledger, open, deposit, pay } = rig()
  const alice = deposit('alice', 100n)
  const session = open('alice')
  const place = ledger.session(session)?.place
  if (place === undefined) throw new Error('no session')
  const accounted = {
    ...{ eventAtMs: NOW_MS, sentAtMs: NOW_MS, inputOctets: 40_000_000n, outputOctets: 0n },
    wide: false,
    ...{ sessionTimeSeconds: 1, terminateCause: undefined, record: 'first' },
    octetsPerSecondMax: 10n ** 9n,
  }
  world.nowMs += 1_000
  ledger.report(session, accounted, place, world.nowMs)
  const usage = { inputOctets: '500000', outputOctets: '500000' }
  const unsigned = { ...paymentBy('alice', 80n, { session, usage }), amount: '90' }
  t.equal((await pay(unsigned)).status, 401)
  t.notOk(ledger.session(session)?.disputed)
  const paid = await pay(paymentBy('alice', 90n, { session, usage }))
  const credited = BigInt(paid.receipt.credited)
  t.equal(credited, ledger.session(session)?.credit)
  t.equal(credited + (ledger.account(alice)?.credit ?? 0n), 90n)
  t.match(world.commits[0]?.disputes, [
    { session, kind: 'usage-disagreement', nasOctets: 40_000_000n, otherOctets: 1_000_000n },
  ])
})

t.test(
  'two devices of one account race: each amount is won once, the sums are right',
  async (t) => {
    const { ledger, open, deposit, pay } = rig()
    const alice = deposit('alice', 1_000n)
    const sessions = [open('alice', 1), open('alice', 2)]
    const amounts = Array.from({ length: 40 }, (_, i) => BigInt(i + 1))
    const won = new Map<string, number>()
    const race = amounts.flatMap((amount) =>
      sessions.map(async (session) => {
        const answer = await pay(paymentBy('alice', amount, { session }))
        if (answer.status === 200) won.set(`${amount}`, (won.get(`${amount}`) ?? 0) + 1)
        else t.equal(answer.error.code, 'not-higher')
        return answer.status === 200 ? BigInt(answer.receipt.credited) : 0n
      }),
    )
    const credited = (await Promise.all(race)).reduce((sum, part) => sum + part, 0n)
    t.same(
      [...won.values()],
      amounts.map(() => 1),
    )
    const credit = sessions.map((id) => ledger.session(id)?.credit ?? 0n)
    t.equal((credit[0] ?? 0n) + (credit[1] ?? 0n) + (ledger.account(alice)?.credit ?? 0n), 40n)
    t.ok(credited <= 40n && credited > 0n, `${credited} went where it was named for`)
    const journal = ledger.drain().journal
    t.same(journal, [], 'all of it was committed')
  },
)

t.test('the voucher of a certificate goes through the same door', async (t) => {
  const { world, ledger, payments, deposit } = rig()
  const alice = deposit('alice', 100n)
  ledger.meet(alice)
  const uri = (amount: bigint, change: object = {}) =>
    payments.payVoucherUri(
      { operator: 3, amount, signature: voucherSignature('alice', amount), ...change },
      alice,
    )
  t.match(uri(20n), { named: 0n, unassigned: 20n })
  t.equal(ledger.account(alice)?.voucher?.amount, 20n)
  t.match(uri(20n), { refusal: 'not-higher', best: { amount: 20n } })
  t.match(uri(30n, { operator: 4 }), { refusal: 'wrong-operator' })
  t.match(uri(30n, { signature: voucherSignature('bob', 30n) }), { refusal: 'bad-signature' })
  t.match(uri(101n), { refusal: 'over-deposit' })
  world.failed = diskFull()
  t.match(uri(30n), { refusal: 'storage-unavailable' })
  world.channels.clear()
  t.match(uri(30n), { refusal: 'unknown-consumer' })
  t.equal(ledger.account(alice)?.voucher?.amount, 20n)
})

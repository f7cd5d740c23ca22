// The order that makes paying safe: a voucher is on the disk before it leaves, and whatever the
// answer, the next one starts from what the operator is known to have.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { ReportEvidence } from '../../attestation/usage-report.ts'
import { datanetInterface } from '../../chain/bindings.ts'
import { openTill, type Paid, type Till } from '../../device/till.ts'
import type { UsageReporter } from '../../device/usage-reporter.ts'
import {
  dropped,
  EMPTY_BOOK,
  promise,
  signedFor,
  taken,
  type VoucherBook,
} from '../../device/voucher-book.ts'
import { lockPayer, openVouchers } from '../../device/vouchers-file.ts'
import { CONTRACT } from './operator-double.ts'
import {
  type Answer,
  accountKey,
  operatorKey,
  payingTo,
  receiptFor,
  SESSION,
  type Sent,
  sessionJson,
  startOperator,
  voucherOf,
} from './payer-double.ts'

const NOW_MS = 1_700_000_000_000

function folder(t: { teardown(f: () => void): void }): string {
  const place = mkdtempSync(join(tmpdir(), 'datanet-till-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  return place
}

type Teardown = { teardown(f: () => void | Promise<void>): void }

async function till(t: Teardown, answer: (sent: Sent, directory: string) => Answer) {
  const directory = folder(t)
  const { url, sent } = await startOperator(t, (one) => answer(one, directory))
  const to = payingTo(url)
  const escrow = { rpc: `${url}/chain`, contract: CONTRACT, operatorId: 1, account: to.account }
  const vouchers = await openVouchers(directory)
  const open = openTill({ to, escrow, directory, vouchers, now: () => NOW_MS })
  return { till: open, sent, directory }
}

const book = (takenSoFar: bigint, signed: bigint, pending?: bigint): VoucherBook => ({
  ...{ taken: takenSoFar, signed },
  pending: pending === undefined ? undefined : { amount: pending, session: SESSION },
})
const pay = (open: Till, amount: bigint): Promise<Paid> =>
  open.pay(SESSION, amount, undefined, 2_000)
const refuse = (status: number, error: object, headers = {}): Answer => ({
  ...{ status, headers },
  body: { error: { code: 'some-code', message: 'some message', ...error } },
})

const ANSWERS: readonly [
  name: string,
  answer: (sent: Sent) => Answer,
  paid: object,
  after: VoucherBook,
][] = [
  ['taken', (sent) => receiptFor(sent), { kind: 'paid' }, book(70n, 70n)],
  ['no answer', () => 'hang up', { kind: 'later' }, book(50n, 70n, 70n)],
  ['503', () => refuse(503, {}), { kind: 'later', message: 'some message' }, book(50n, 70n, 70n)],
  [
    '429 with a time',
    () => refuse(429, {}, { 'retry-after': '7' }),
    { kind: 'later', afterMs: 7_000 },
    book(50n, 70n, 70n),
  ],
  [
    '422: it changed nothing',
    () => refuse(422, { code: 'over-deposit' }),
    { kind: 'refused', code: 'over-deposit' },
    book(50n, 70n),
  ],
  [
    '409 with our own signature for more: another device of the account',
    () => refuse(409, { amount: '90', signature: voucherOf(90n) }),
    { kind: 'known' },
    book(90n, 90n),
  ],
  ['409 for the same', () => refuse(409, { amount: '70' }), { kind: 'known' }, book(70n, 70n)],
  [
    '409 for more than we ever signed, not shown',
    () => refuse(409, { amount: '91' }),
    { kind: 'unproven', claimed: 91n },
    book(50n, 70n),
  ],
  [
    '… or shown with somebody else’s signature',
    () => refuse(409, { amount: '91', signature: voucherOf(91n, operatorKey) }),
    { kind: 'unproven' },
    book(50n, 70n),
  ],
  [
    'a receipt that another account signed',
    (sent) => receiptFor(sent, { by: accountKey }),
    { kind: 'refused', code: 'receipt-invalid' },
    book(50n, 70n),
  ],
  [
    'a receipt for less',
    (sent) => receiptFor(sent, { amount: 69n }),
    { kind: 'refused', code: 'receipt-invalid' },
    book(50n, 70n),
  ],
]

t.test('what each answer to a voucher of 70 leaves behind, with 50 taken before', async (t) => {
  for (const [name, answer, expected, after] of ANSWERS) {
    let onDisk: unknown
    const { till: open, directory } = await till(t, (sent, place) => {
      if (sent.body.amount === '50') return receiptFor(sent)
      onDisk = JSON.parse(readFileSync(join(place, 'vouchers.json'), 'utf8')).operators
      return answer(sent)
    })
    t.match(await pay(open, 50n), { kind: 'paid' }, name)
    t.match(await pay(open, 70n), expected, name)
    t.match(onDisk, { 1: { taken: '50', signed: '70', pending: { amount: '70' } } }, name)
    t.same(open.book, after, name)
    t.same((await openVouchers(directory)).book(1), after, `${name}: the same after a restart`)
  }
})

t.test('receipts are kept, one a line', async (t) => {
  const { till: open, directory } = await till(t, (sent) => receiptFor(sent, { credited: 5n }))
  for (const amount of [5n, 10n]) await pay(open, amount)
  const lines = readFileSync(join(directory, 'receipts.jsonl'), 'utf8').trim().split('\n')
  t.match(
    lines.map((line) => JSON.parse(line)),
    [{ amount: '5' }, { amount: '10', credited: '5' }],
  )
})

t.test('sessions, by the operator’s clock', async (t) => {
  const dateAt = (ms: number) => ({ date: new Date(ms).toUTCString() })
  let offsetMs = 0
  const { till: open, sent } = await till(t, ({ body }) => {
    const { time } = body as { time: number }
    const headers = dateAt(NOW_MS + offsetMs)
    if (Math.abs(time * 1000 - NOW_MS - offsetMs) > 60_000) {
      return refuse(401, { code: 'wrong-time' }, headers)
    }
    return { status: 200, headers, body: { sessions: [sessionJson({ paid: '7' })] } }
  })
  await open.ask(2_000)
  t.equal(open.viewAtMs, NOW_MS)
  const [session] = open.sessions
  const age = session === undefined ? undefined : open.ageMostMs(session)
  t.equal(age, NOW_MS + 1_000 - 1_000_000, 'times are whole seconds: it may be one more')
  t.match(open.sessions, [{ id: SESSION, paid: 7n, startedAtMs: 1_000_000 }])
  offsetMs = 600_000
  await open.ask(2_000)
  t.equal(open.viewAtMs, undefined, 'told the time, nothing else')
  await open.ask(2_000)
  t.equal(open.now(), NOW_MS + 600_500, 'ten minutes off, and half a second for the header')
  t.match(open.sessions, [{ paid: 7n }])
  t.equal(sent.length, 3)
  open.outdate()
  t.equal(open.viewAtMs, undefined)
})

t.test('what the chain says of the escrow', async (t) => {
  const words = (...values: bigint[]): string =>
    values.map((value) => value.toString(16).padStart(64, '0')).join('')
  let result = `0x${words(1_000n, 0n, 30n, 0n)}`
  let shift = words(2n, 400n, 0n, 7n, 1n, 0n)
  const shiftSelector = datanetInterface.getFunction('shift')?.selector ?? ''
  const { till: open } = await till(t, (sent) => {
    if (sent.path !== '/chain') return receiptFor(sent)
    const isShift = JSON.stringify(sent.body).includes(shiftSelector)
    return { status: 200, body: { result: isShift ? `0x${shift}` : result } }
  })
  await pay(open, 20n)
  await open.readDeposit(2_000)
  t.equal(open.deposit, 1_000n)
  t.equal(open.book.taken, 20n, 'a node that names more than was signed does not count')
  shift = words(2n, 400n, 1_700_000_000n, 7n, 1n, 0n)
  await open.readDeposit(2_000)
  t.equal(open.deposit, 600n, 'what is asked to move away is not there to pay with')
  result = 'nonsense'
  await open.readDeposit(2_000)
  t.equal(open.deposit, 600n, 'the last word stays')
})

t.test('the book: one voucher at a time, and never a lower one', async (t) => {
  const out = promise(EMPTY_BOOK, 5n, SESSION)
  t.same(promise(out, 5n, SESSION), out, 'the same again')
  t.throws(() => promise(out, 6n, SESSION), RangeError)
  t.throws(() => promise(out, 5n, 'b'.repeat(32)), RangeError)
  t.throws(() => promise(taken(out, 5n), 5n, SESSION), RangeError)
  t.same(taken(out, 4n), { taken: 4n, signed: 5n, pending: out.pending }, 'still unknown')
  t.same(dropped(out), book(0n, 5n))
  t.same(signedFor(out, 9n), { ...out, signed: 9n })
  t.equal(signedFor(out, 4n), out)
})

t.test('vouchers.json: what is not ours is not guessed at', async (t) => {
  const directory = folder(t)
  const good = { taken: '1', signed: '2', pending: null }
  const write = (text: string): void => writeFileSync(join(directory, 'vouchers.json'), text)
  const file = (one: object): string => JSON.stringify({ version: 1, operators: { 7: one } })
  write(file(good))
  const vouchers = await openVouchers(directory)
  t.same(vouchers.book(7), book(1n, 2n))
  t.equal(vouchers.book(8), EMPTY_BOOK)
  const damaged = [
    '',
    '{"version":2,"operators":{}}',
    '{"version":1}',
    file({ ...good, taken: 1 }),
    file({ ...good, signed: '-1' }),
    file({ ...good, pending: { amount: '3', session: 'x' } }),
    file({ taken: '1', signed: '2' }),
    JSON.stringify({ version: 1, operators: { x: good } }),
    `${file(good)}${' '.repeat(70_000)}`,
  ]
  for (const text of damaged) {
    write(text)
    await t.rejects(openVouchers(directory), { code: 'damaged' }, text.slice(0, 80))
  }
})

t.test('one payer for one folder', async (t) => {
  const directory = folder(t)
  const lock = lockPayer(directory)
  t.throws(() => lockPayer(directory), { code: 'exists' })
  lock.release()
  lockPayer(directory).release()
})

const EVIDENCE = { report: 'AAAA', signature: 'BBBB' }
const NONCE = Buffer.alloc(16, 2).toString('base64url')

const PAID_REPORTS: readonly [string, terms: object, accepted: boolean, isAsked: boolean][] = [
  ['a report that is billed', { usage: { by: 'attested', trust: 'software' } }, true, true],
  ['one that is not taken', { usage: { by: 'attested', trust: 'software' } }, false, false],
  ['one that nothing is billed by', {}, true, false],
]

t.test('after a payment whose report changed the bill, the operator is asked', async (t) => {
  for (const [name, usage, accepted, isAsked] of PAID_REPORTS) {
    const directory = folder(t)
    const terms = { ...(sessionJson()['terms'] as object), ...usage }
    const { url } = await startOperator(t, (sent) => {
      if (!sent.path.endsWith('/payments')) {
        return { status: 200, body: { sessions: [sessionJson({ terms })] } }
      }
      const answer = receiptFor(sent)
      if (answer === 'hang up') throw new Error(name)
      const said = { accepted, reason: 'stale', nonce: NONCE }
      return { ...answer, body: { ...(answer.body as object), usage: said } }
    })
    const to = payingTo(url)
    const escrow = { rpc: `${url}/chain`, contract: CONTRACT, operatorId: 1, account: to.account }
    const vouchers = await openVouchers(directory)
    const reporter: UsageReporter = {
      ...{ trust: () => 'software', prepare: () => undefined, answered: () => undefined },
      sign: async () => EVIDENCE as unknown as ReportEvidence,
    }
    const open = openTill({ to, escrow, directory, vouchers, reporter, now: () => NOW_MS })
    t.equal(open.trust, 'software')
    await open.ask(2_000)
    t.match(await open.pay(SESSION, 9n, { received: 9n, sent: 1n }, 2_000), { kind: 'paid' })
    t.equal(open.viewAtMs === undefined, isAsked, name)
  }
})

const REPORTS: readonly [string, answer: Answer, outcome: string, heard: string][] = [
  [
    'taken',
    { status: 200, body: { usage: { accepted: true, nonce: NONCE } } },
    'taken',
    `${NONCE}`,
  ],
  [
    'the key is to be shown anew',
    { status: 200, body: { usage: { accepted: false, reason: 'key-expired', nonce: NONCE } } },
    ...(['no-key', `key-expired ${NONCE}`] as const),
  ],
  [
    'too late',
    { status: 200, body: { usage: { accepted: false, reason: 'session-over' } } },
    ...(['over', 'session-over'] as const),
  ],
  ['an operator without the route', refuse(404, {}), 'again', ''],
  [
    'another refusal',
    { status: 200, body: { usage: { accepted: false, reason: 'replayed' } } },
    ...(['again', 'replayed'] as const),
  ],
  ['nobody answers', 'hang up', 'again', ''],
]

t.test('what each answer to a report without money is worth', async (t) => {
  for (const [name, answer, outcome, heard] of REPORTS) {
    const directory = folder(t)
    const { url, sent } = await startOperator(t, ({ path }) =>
      path === '/v1/usage' ? answer : { status: 200, body: { sessions: [sessionJson()] } },
    )
    const to = payingTo(url)
    const escrow = { rpc: `${url}/chain`, contract: CONTRACT, operatorId: 1, account: to.account }
    const vouchers = await openVouchers(directory)
    const said: string[] = []
    const reporter: UsageReporter = {
      ...{ trust: () => 'software', prepare: () => undefined },
      sign: async () => EVIDENCE as unknown as ReportEvidence,
      answered: (_, { reason, nonce }) => said.push(`${reason} ${nonce}`.trim()),
    }
    const deps = { to, escrow, directory, vouchers, now: () => NOW_MS }
    const open = openTill({ ...deps, reporter })
    await open.ask(2_000)
    const usage = { received: 9n, sent: 1n }
    t.equal(await open.report(SESSION, usage, 2_000), outcome, name)
    t.same(said, heard === '' ? [] : [heard], name)
    t.match(
      sent.at(-1),
      { path: '/v1/usage', body: { session: SESSION, evidence: EVIDENCE } },
      name,
    )
    t.equal(open.book.signed, 0n, 'no money went with it')
    const keyless = { ...reporter, sign: async () => undefined }
    const early = openTill({ ...deps, reporter: keyless })
    await early.ask(2_000)
    t.equal(await early.report(SESSION, usage, 2_000), 'no-key', 'before there is a key')
    const without = openTill(deps)
    await without.ask(2_000)
    t.equal(await without.report(SESSION, usage, 2_000), 'over', 'without a key')
  }
})

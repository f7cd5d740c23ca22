// Paying the real server over HTTP: sessions opened by EAP-TLS, vouchers of accounts with a real
// deposit, receipts checked against what GET /v1/operator says; races, floods, and a kill -9.

import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Answer, closedLoop, postRequest, type Target } from '../../bench/http-load.ts'
import { percentile } from '../../bench/table.ts'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { accountOf, recoverAddress, signDigest } from '../../ethereum/signature.ts'
import {
  type Domain,
  payPlaceDomain,
  receiptDigest,
  sessionQueryDigest,
  voucherDigest,
} from '../../ethereum/typed-data.ts'
import { formatVoucherUri } from '../../ethereum/voucher-uri.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { type Credential, forger } from './forged.ts'
import { openPayers, type Payers } from './payers.ts'
import {
  type RunningServer,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const TOKEN = 10n ** 18n
const CLASS = 25
const accounts = { alice: randomBytes(32), bob: randomBytes(32), carol: randomBytes(32) }
const crowd = Array.from({ length: 5 }, () => randomBytes(32))
const config = testConfig({
  more: 'sessions: { per_account: 10 }\nadmission: { newcomers_per_client: 100 }\n',
})

let directory: string
let server: RunningServer
let payers: Payers
let domain: Domain
let operatorAccount: string
let stations = 0

t.before(async () => {
  directory = temporaryDirectory(t)
  server = await startServer(t, { directory, config })
  payers = await openPayers(server)
  domain = payPlaceDomain(payers.access.chainId, payers.access.contract)
  const operator = (await (await fetch(`${server.url}/v1/operator`)).json()) as { account: string }
  operatorAccount = operator.account
  for (const key of [...Object.values(accounts), ...crowd]) {
    await payers.fund(key, payers.operatorId, 100n * TOKEN)
  }
})

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

function voucherBy(key: Buffer, amount: bigint): Buffer {
  const consumer = accountOf(key)
  return signDigest(voucherDigest(domain, { consumer, operator: payers.operatorId, amount }), key)
}

function paymentBy(key: Buffer, amount: bigint, more: object = {}): object {
  return {
    ...{ consumer: checksumAddress(accountOf(key)), operator: payers.operatorId },
    ...{ amount: `${amount}`, signature: hex(voucherBy(key, amount)), ...more },
  }
}

interface PaidOrNot {
  readonly receipt?: Record<'consumer' | 'session' | 'merchant' | 'amount' | 'credited', string> & {
    readonly operator: number
    readonly time: number
  }
  readonly signature?: string
  readonly error?: { readonly code: string; readonly amount?: string }
}

async function post(path: string, body: unknown) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: text })
  return { status: answer.status, body: await answer.text(), sent: text.length }
}

async function pay(body: unknown) {
  const { status, body: text, sent } = await post('/v1/payments', body)
  return { status, sent, received: text.length, ...(JSON.parse(text) as PaidOrNot) }
}

/** The best voucher the server knows, as a 409 tells it. */
async function bestOf(key: Buffer): Promise<bigint> {
  const { error } = await pay(paymentBy(key, 1n))
  if (error?.amount === undefined) throw new Error(`no best voucher: ${error?.code}`)
  return BigInt(error.amount)
}

function join(key: Buffer, uris?: (uris: string[]) => string[]) {
  const forge = forger(payers.access, Math.floor(Date.now() / 1000))
  const credential: Credential = forge({ accountKey: key, ...(uris === undefined ? {} : { uris }) })
  const secret = Buffer.from(SECRET)
  const transport = openTransport({ host: '127.0.0.1', port: server.authPort, secret })
  const supplicant = createSupplicant({ tlsMin: '1.2', tlsMax: '1.3', ...credential })
  const callingStationId = `02-00-00-00-05-${(++stations).toString(16).padStart(2, '0')}`
  const peer = { transport, supplicant, identity: 'anonymous@datanet', callingStationId }
  return authenticate(peer).finally(() => transport.close())
}

/** Opens a session; its id. */
async function joined(t: Test, key: Buffer): Promise<string> {
  const { outcome, attributes } = await join(key)
  t.equal(outcome, 'accept')
  const value = attributes.find(({ type }) => type === CLASS)?.value ?? Buffer.alloc(0)
  const [, id = ''] = /^ai:([0-9a-f]{32})$/.exec(value.toString('latin1')) ?? []
  t.not(id, '', 'Class names the session')
  return id
}

async function sessionsOf(key: Buffer): Promise<Record<string, unknown>[]> {
  const time = Math.floor(Date.now() / 1000)
  const query = { consumer: accountOf(key), operator: payers.operatorId, time }
  const signature = hex(signDigest(sessionQueryDigest(domain, query), key))
  const answer = await post('/v1/sessions/query', { consumer: query.consumer, time, signature })
  return (JSON.parse(answer.body) as { sessions: Record<string, unknown>[] }).sessions
}

const target = (): Target => {
  const { hostname, port } = new URL(server.url)
  return { host: hostname, port: Number(port) }
}

t.test('a device learns its session and pays for it; the receipt is the operator’s', async (t) => {
  const session = await joined(t, accounts.alice)
  const other = await joined(t, accounts.bob)
  const before = await sessionsOf(accounts.alice)
  t.match(before, [{ id: session, paid: '0', tariff: 'standard', client: 'loopback' }])
  const usage = { inputOctets: '0', outputOctets: '0' }
  const amount = 41n * 10n ** 15n
  const paid = await pay(paymentBy(accounts.alice, amount, { session, usage }))
  t.equal(paid.status, 200)
  t.ok(paid.sent < 500 && paid.received < 500, `${paid.sent} bytes out, ${paid.received} back`)
  const { receipt, signature = '' } = paid
  if (receipt === undefined) throw new Error('no receipt')
  t.match(receipt, { session, amount: `${amount}`, operator: payers.operatorId })
  const lower = (address: string) => address.toLowerCase() as Address
  const value = {
    ...{ ...receipt, consumer: lower(receipt.consumer), merchant: lower(receipt.merchant) },
    ...{ amount: BigInt(receipt.amount), credited: BigInt(receipt.credited) },
  }
  const signer = recoverAddress(
    receiptDigest(domain, value),
    Buffer.from(signature.slice(2), 'hex'),
  )
  t.equal(signer, lower(operatorAccount))
  t.match(await sessionsOf(accounts.alice), [{ id: session, paid: receipt.credited }])
  const replayed = await pay(paymentBy(accounts.alice, amount, { session: other }))
  t.match(replayed, { status: 404, error: { code: 'unknown-session' } }, 'another’s session')
  const again = await pay(paymentBy(accounts.alice, amount, { session }))
  t.match(again, { status: 409, error: { code: 'not-higher', amount: `${amount}` } })
  const more = await pay(paymentBy(accounts.alice, 101n * TOKEN, { session }))
  t.match(more, { status: 422, error: { code: 'over-deposit' } })
  const stranger = await pay(paymentBy(randomBytes(32), 1n))
  t.match(stranger, { status: 404, error: { code: 'unknown-consumer' } })
})

t.test('bodies that are no payment: 400 and 413, and the server goes on', async (t) => {
  for (const [body, status] of [
    ['{', 400],
    ['[]', 400],
    [' '.repeat(1_000_001), 413],
    [`{"payments":[${'1,'.repeat(1_000)}1]}`, 413],
  ] as const) {
    t.equal((await post('/v1/payments', body)).status, status, body.slice(0, 20))
  }
})

t.test('two devices of one account race: exactly one wins each amount', async (t) => {
  const sessions = [await joined(t, accounts.carol), await joined(t, accounts.carol)]
  const amounts = Array.from({ length: 40 }, (_, i) => BigInt(i + 1) * 10n ** 14n)
  const wins: string[] = []
  const credited = new Map(sessions.map((session) => [session, 0n]))
  for (const amount of amounts) {
    const device = async (session: string): Promise<void> => {
      const { receipt, error } = await pay(paymentBy(accounts.carol, amount, { session }))
      if (receipt === undefined) {
        t.equal(error?.code, 'not-higher')
        return
      }
      wins.push(receipt.amount)
      credited.set(session, (credited.get(session) ?? 0n) + BigInt(receipt.credited))
    }
    await Promise.all(sessions.map(device))
  }
  const sum = [...credited.values()].reduce((total, part) => total + part, 0n)
  t.equal(sum, amounts.at(-1), 'below an interval’s price all of it goes where it was named for')
  for (const { id, paid } of await sessionsOf(accounts.carol)) {
    t.equal(paid, `${credited.get(String(id))}`, 'the books say what the receipts said')
  }
})

t.test('10,000 at once: each is answered, and the best voucher is the highest paid', async (t) => {
  const requests = Array.from({ length: 10_000 }, (_, i) => {
    const key = crowd[i % crowd.length] ?? accounts.alice
    const payment = paymentBy(key, BigInt(1 + Math.floor(i / crowd.length)) * 10n ** 13n)
    return postRequest(target(), '/v1/payments', JSON.stringify(payment))
  })
  const startedAt = performance.now()
  const answers = await closedLoop(target(), requests, 900)
  const seconds = (performance.now() - startedAt) / 1000
  t.equal(answers.length, 10_000)
  const counts = new Map<number, number>()
  for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1)
  t.same(
    [...counts.keys()].filter((status) => ![200, 409, 429].includes(status)),
    [],
  )
  t.ok((counts.get(200) ?? 0) >= 5 * 50, `${[...counts]}`)
  const p99 = percentile(
    answers.map(({ ms }) => ms),
    0.99,
  )
  t.comment(`${seconds.toFixed(1)} s, p99 ${p99.toFixed(0)} ms, ${[...counts]}`)
  const paid = bestPaid(answers)
  for (const key of crowd) {
    t.equal(await bestOf(key), paid.get(checksumAddress(accountOf(key))))
  }
})

function bestPaid(answers: readonly Answer[]): Map<string, bigint> {
  const best = new Map<string, bigint>()
  for (const { status, body } of answers) {
    const { receipt } = JSON.parse(body) as PaidOrNot
    if (status !== 200 || receipt === undefined) continue
    const amount = BigInt(receipt.amount)
    if (amount > (best.get(receipt.consumer) ?? 0n)) best.set(receipt.consumer, amount)
  }
  return best
}

t.test('what a receipt was given for is there after kill -9', async (own) => {
  // The server outlives this test: its end belongs to the whole file.
  const session = await joined(own, accounts.bob)
  const { receipt } = await pay(paymentBy(accounts.bob, 7n * 10n ** 15n, { session }))
  own.equal(receipt?.session, session)
  await server.stop('SIGKILL')
  server = await startServer(t, { directory, config })
  own.equal(await bestOf(accounts.bob), 7n * 10n ** 15n)
  const found = (await sessionsOf(accounts.bob)).find(({ id }) => id === session)
  own.equal(found?.['paid'], receipt?.credited)
})

t.test('product terms §8.3: the voucher in a certificate pays before the decision', async (t) => {
  const amount = 9n * 10n ** 15n
  const signature = voucherBy(accounts.bob, amount)
  const uri = formatVoucherUri({ operator: payers.operatorId, amount, signature })
  const { outcome } = await join(accounts.bob, (uris) => [...uris, uri])
  t.equal(outcome, 'accept')
  t.equal(await bestOf(accounts.bob), amount)
})

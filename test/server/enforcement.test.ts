import { pino } from 'pino'
import t from 'tap'
import type { DynamicAuthorization, Session } from '../../accounting/session.ts'
import type { NamedSession, Outcome } from '../../server/dynamic-authorization.ts'
import { createEnforcement, type EnforcementDeps } from '../../server/enforcement.ts'
import { createMetrics } from '../../server/metrics.ts'
import {
  accountOf,
  emptyLedger,
  idOf,
  newSession,
  placeAt,
  tariffWith,
  usage,
  voucher,
} from '../accounting/books.ts'
import { nas } from './accounting-rig.ts'

const MINUTE = 60_000

const outcome = (change: Partial<Outcome>): Outcome => ({
  ...{ result: 'ack', ok: false, gone: false, answered: true, attempts: 1, trail: [] },
  advice: undefined,
  ...change,
})
const ack = outcome({ ok: true })
const timeout = outcome({ result: 'timeout', answered: false, attempts: 5, advice: 'check it' })

/** Books with one session, and a NAS that answers as it is told. */
function rig(o: {
  answer: Outcome
  throttleKbps?: number
  storeFails?: boolean
  nas?: EnforcementDeps['nasNamed']
}) {
  const ledger = emptyLedger()
  const tariff = tariffWith(o.throttleKbps === undefined ? {} : { throttleKbps: o.throttleKbps })
  ledger.begin(newSession(1, { tariff }), 0)
  ledger.confirm(idOf(1), 0)
  const asked: string[] = []
  const rows: DynamicAuthorization[] = []
  const clock = { nowMs: 0 }
  const nas = { answer: o.answer }
  const lines: { msg: string; advice?: string }[] = []
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const deps = {
    ledger,
    client: {
      async disconnect(_nas: unknown, { id }: NamedSession) {
        asked.push(`disconnect ${id.slice(-1)}`)
        return nas.answer
      },
      async rateLimit(_nas: unknown, { id }: NamedSession, kbps: number | undefined) {
        asked.push(`rate ${id.slice(-1)} ${kbps}`)
        return ack
      },
      pending: () => 0,
      close: async () => undefined,
    },
    nasNamed: o.nas ?? (() => undefined),
    durable: async () => {
      rows.push(...ledger.drain().authorizations)
      if (o.storeFails === true) throw new Error('full')
    },
    now: () => clock.nowMs,
    log,
    metrics: createMetrics(),
  }
  const enforcement = createEnforcement(deps)
  const at = async (nowMs: number): Promise<Session | undefined> => {
    clock.nowMs = nowMs
    enforcement.sweep()
    // What the sweep began in the background ends within this turn: nothing here waits.
    await new Promise((resolve) => setImmediate(resolve))
    return ledger.session(idOf(1))
  }
  return { ledger, enforcement, asked, rows, lines, nas, at, deps }
}

t.test('missed_max: a Disconnect-Request, an audit row; the Stop closes', async (t) => {
  const { ledger, asked, rows, at } = rig({ answer: ack })
  await at(2 * MINUTE - 1)
  t.same(asked, [])
  t.match(await at(2 * MINUTE), { state: 'disconnecting', cutReason: 'intervals-missed' })
  t.same(asked, ['disconnect 1'])
  t.match(rows, [{ session: idOf(1), kind: 'disconnect', result: 'ack', attempts: 1 }])
  const record = usage({ eventAtMs: 2 * MINUTE + 500, terminateCause: 6 })
  ledger.stop(idOf(1), record, placeAt(), 2 * MINUTE + 1_000)
  t.match(await at(10 * MINUTE), { state: 'closed', endedBy: 'stopped' })
  t.same(asked, ['disconnect 1'], 'asked once')
})

t.test('a Stop that is lost after the ACK does not keep the session open', async (t) => {
  const { asked, at } = rig({ answer: ack })
  await at(2 * MINUTE)
  t.match(await at(2 * MINUTE + 9_999), { state: 'disconnecting' })
  t.match(await at(2 * MINUTE + 10_000), { state: 'closed', endedBy: 'disconnected' })
  t.same(asked, ['disconnect 1'])
})

t.test('C3 RFC 5176 §3.5: 503 says the session is gone: closed at once', async (t) => {
  const gone = outcome({ result: 'nak-503', gone: true })
  const { at } = rig({ answer: gone })
  t.match(await at(2 * MINUTE), { state: 'closed', endedBy: 'disconnected' })
})

t.test('a NAS that is silent, or refuses what it should do, is asked again', async (t) => {
  const refused = outcome({ result: 'nak-501', advice: 'allow it in its settings' })
  for (const answer of [timeout, refused]) {
    const { asked, enforcement, lines, nas, at } = rig({ answer })
    await at(2 * MINUTE)
    t.equal(enforcement.isSilent('lobby'), true, 'its sessions get short Session-Timeouts')
    t.match(lines.at(-1), { msg: 'Disconnect-Request', advice: answer.advice, level: 40 })
    await at(3 * MINUTE - 1)
    t.same(asked, ['disconnect 1'])
    nas.answer = ack
    t.match(await at(3 * MINUTE), { state: 'disconnecting' })
    t.same(asked, ['disconnect 1', 'disconnect 1'])
    t.equal(enforcement.isSilent('lobby'), false)
    t.match(await at(3 * MINUTE + 10_000), { state: 'closed' })
  }
})

t.test('the rate first, where the tariff says so; back when it has paid', async (t) => {
  const { ledger, asked, rows, at } = rig({ answer: ack, throttleKbps: 64 })
  t.match(await at(MINUTE), { state: 'overdue' })
  t.same(asked, ['rate 1 64'])
  ledger.pay(voucher(1, 200n), idOf(1), MINUTE + 1)
  t.match(await at(2 * MINUTE), { state: 'current' })
  t.same(asked, ['rate 1 64', 'rate 1 undefined'])
  t.same(
    rows.map(({ kind }) => kind),
    ['throttle', 'restore'],
  )
})

t.test('a tariff without a rate leaves it', async (t) => {
  const { asked, at } = rig({ answer: ack })
  t.match(await at(MINUTE), { state: 'overdue' })
  t.same(asked, [])
})

t.test('a store that fails keeps nobody on who does not pay', async (t) => {
  const { asked, at } = rig({ answer: ack, storeFails: true })
  await at(2 * MINUTE)
  t.same(asked, ['disconnect 1'])
})

t.test('what a restart interrupted is taken up again', async (t) => {
  const { asked, at, deps } = rig({ answer: timeout })
  await at(2 * MINUTE)
  t.same(asked, ['disconnect 1'])
  const restarted = createEnforcement(deps)
  restarted.sweep()
  await new Promise((resolve) => setImmediate(resolve))
  t.same(asked, ['disconnect 1', 'disconnect 1'])
})

t.test('the operator may put anybody off', async (t) => {
  const { ledger, enforcement, asked, rows } = rig({ answer: ack })
  const cut = ledger.cut(idOf(1), 'operator', 1_000)
  if (cut === undefined) throw new Error('not open')
  t.equal(await enforcement.putOff(cut, 'operator'), 'ack')
  t.same(asked, ['disconnect 1'])
  t.match(rows, [{ reason: 'operator', result: 'ack' }])
})

/** A session that pays and that its NAS tells of, until it doesn't any more. */
function silenced(answer: Outcome, takesDisconnect: boolean) {
  const coa = takesDisconnect ? { coa: { port: 3799, secret: nas.secret } } : {}
  const world = rig({ answer, nas: () => ({ ...nas, ...coa }) })
  const { ledger } = world
  ledger.report(idOf(1), usage({ eventAtMs: 1_000 }), placeAt(), 1_000)
  ledger.pay(voucher(1, 10_000n), idOf(1), 1_000)
  return world
}

t.test('a session that silence has closed is put off once, as well as can be', async (t) => {
  for (const answer of [ack, timeout]) {
    const { asked, rows, enforcement, at } = silenced(answer, true)
    await at(180_999)
    t.same(asked, [])
    t.match(await at(181_000), { state: 'closed', endedBy: 'interims-missed' })
    t.same(asked, ['disconnect 1'])
    await at(10 * MINUTE)
    t.same(asked, ['disconnect 1'], 'not again')
    t.match(rows, [{ kind: 'disconnect', reason: 'not-admitted', result: answer.result }])
    t.equal(enforcement.isSilent('lobby'), false, 'a NAS without power is not held to it')
  }
})

t.test('… not where its NAS takes none, or its station is somebody else’s by now', async (t) => {
  const without = silenced(ack, false)
  t.match(await without.at(181_000), { state: 'closed' })
  t.same([without.asked, without.rows], [[], []])
  const taken = silenced(ack, true)
  taken.ledger.begin(newSession(2, { account: accountOf(2) }), 170_000)
  taken.ledger.confirm(idOf(2), 170_000)
  t.match(await taken.at(181_000), { state: 'closed' })
  t.same(taken.asked, [])
})

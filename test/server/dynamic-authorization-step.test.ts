import t from 'tap'
import {
  begin,
  type Exchange,
  type ExchangeEvent,
  type Outcome,
  type SetTraits,
  type Step,
  step,
} from '../../server/dynamic-authorization-step.ts'
import { seeded } from '../radius/support.ts'

const full = { namesNas: true, namesUser: false }
const station = { namesNas: false, namesUser: false }
const named = { namesNas: false, namesUser: true }
/** The sets of most profiles: naming the NAS, then less; the last by User-Name. */
const sets: SetTraits = [full, station, station, named]
const middle = 0.5

const START_MS = 1_000_000

function underWay(next: Step): Exchange {
  if (next.do === 'finish') throw new Error(`it is over: ${next.outcome.result}`)
  return next.exchange
}

/** Answers one after the other; gives what was done and how it ended, if it did. */
function play(answers: readonly (number | 'ack' | 'bare')[], of: SetTraits = sets) {
  const chance = { nowMs: START_MS, random: middle }
  let next = begin(of, chance)
  const asked: number[] = []
  for (const answer of answers) {
    const exchange = underWay(next)
    asked.push(exchange.at)
    let event: ExchangeEvent = { type: 'ack' }
    if (answer !== 'ack') event = { type: 'nak', cause: answer === 'bare' ? undefined : answer }
    next = step(exchange, event, chance)
  }
  if (next.do !== 'finish') asked.push(next.exchange.at)
  return { asked, outcome: next.do === 'finish' ? next.outcome : undefined }
}

/** Answers, the sets asked with, and of the outcome: result, and what it means. */
type Row = readonly [
  name: string,
  answers: readonly (number | 'ack' | 'bare')[],
  asked: readonly number[],
  result: string | undefined,
  meaning: 'done' | 'gone' | 'failed' | 'advised' | undefined,
]

const ROWS: readonly Row[] = [
  ['ACK', ['ack'], [0], 'ack', 'done'],
  ['401 Unsupported-Attribute: the next set', [401], [0, 1], undefined, undefined],
  ['401, then ACK', [401, 'ack'], [0, 1], 'ack', 'done'],
  ['401 to every set', [401, 401, 401, 401], [0, 1, 2, 3], 'nak-401', 'advised'],
  ['402 Missing-Attribute: the next set', [402, 'ack'], [0, 1], 'ack', 'done'],
  ['402 to every set', [402, 402, 402, 402], [0, 1, 2, 3], 'nak-402', 'advised'],
  ['404 Invalid-Request: the next set', [404, 404, 'ack'], [0, 1, 2], 'ack', 'done'],
  ['404 to every set', [404, 404, 404, 404], [0, 1, 2, 3], 'nak-404', 'advised'],
  ['407 Invalid-Attribute-Value: the next set', [407, 'ack'], [0, 1], 'ack', 'done'],
  ['407 to every set', [407, 407, 407, 407], [0, 1, 2, 3], 'nak-407', 'advised'],
  ['403: without naming the NAS', [403], [0, 1], undefined, undefined],
  ['403, then 403 although it was not named', [403, 403], [0, 1], 'nak-403', 'advised'],
  ['403, then 401: on with the sets', [403, 401, 'ack'], [0, 1, 2], 'ack', 'advised'],
  ['405 Unsupported-Service', [405], [0], 'nak-405', 'advised'],
  ['406 Unsupported-Extension', [406], [0], 'nak-406', 'advised'],
  ['501 Administratively-Prohibited', [501], [0], 'nak-501', 'advised'],
  ['502 Request-Not-Routable', [502], [0], 'nak-502', 'advised'],
  ['503 Session-Context-Not-Found', [503], [0], 'nak-503', 'gone'],
  ['401, then 503', [401, 503], [0, 1], 'nak-503', 'gone'],
  [
    '503 to a User-Name of ours proves nothing',
    [401, 401, 401, 503],
    [0, 1, 2, 3],
    'nak-503',
    'failed',
  ],
  ['504 Session-Context-Not-Removable', [504], [0], 'nak-504', 'failed'],
  ['505 Other-Proxy-Processing-Error', [505], [0], 'nak-505', 'advised'],
  ['506 Resources-Unavailable', [506], [0], 'nak-506', 'failed'],
  ['507 Request-Initiated', [507], [0], 'nak-507', 'advised'],
  ['508 Multiple-Session-Selection-Unsupported', [508], [0], 'nak-508', 'advised'],
  ['510 Missing-Message-Authenticator', [510], [0], 'nak-510', 'advised'],
  ['a bare NAK: the next set', ['bare', 'ack'], [0, 1], 'ack', 'done'],
  ['bare NAKs to every set', ['bare', 'bare', 'bare', 'bare'], [0, 1, 2, 3], 'nak', 'advised'],
  ['an unknown 4xx: the next set', [499, 'ack'], [0, 1], 'ack', 'done'],
  ['an unknown 5xx', [599], [0], 'nak-599', 'failed'],
  ['201, which is no error, in a NAK', [201], [0], 'nak-201', 'failed'],
  ['0', [0], [0], 'nak-0', 'failed'],
  ['600', [600], [0], 'nak-600', 'failed'],
  ['4294967295', [0xffff_ffff], [0], 'nak-4294967295', 'failed'],
]

for (const [name, answers, asked, result, meaning] of ROWS) {
  t.test(`C5 RFC 5176 §3.5: ${name}`, async (t) => {
    const played = play(answers)
    t.same(played.asked, asked)
    t.equal(played.outcome?.result, result)
    if (played.outcome === undefined) return
    const { ok, gone, answered, attempts, trail, advice } = played.outcome
    t.equal(ok, result === 'ack')
    t.equal(gone, meaning === 'gone')
    t.equal(advice !== undefined, meaning === 'advised')
    t.equal(answered, true)
    t.equal(attempts, answers.length)
    t.equal(trail.length, answers.length)
  })
}

t.test('C5: 403 where no set leaves the NAS out, or none names it, is the end', async (t) => {
  for (const few of [[full], [full, full], [station, station]]) {
    const { asked, outcome } = play([403], few)
    t.same(asked, [0])
    t.match(outcome, { result: 'nak-403', ok: false, gone: false, advice: /NAS-Identifier/ })
  }
})

/** Lets every timer run out; when each datagram went out and how it ended. */
function silence(random: () => number): { sentMs: number[]; endedMs: number; outcome: Outcome } {
  let nowMs = START_MS
  const sentMs = [0]
  let next = begin(sets, { nowMs, random: random() })
  for (;;) {
    const exchange = underWay(next)
    nowMs = exchange.dueAtMs
    next = step(exchange, { type: 'timer' }, { nowMs, random: random() })
    if (next.do === 'finish') return { sentMs, endedMs: nowMs - START_MS, outcome: next.outcome }
    t.equal(next.do, 'repeat', 'the same octets')
    t.equal(underWay(next).at, 0, 'the same set')
    sentMs.push(nowMs - START_MS)
  }
}

t.test('RFC 5080 §2.2.1: IRT 2 s, doubling, MRT 16 s, MRD 30 s', async (t) => {
  const { sentMs, endedMs, outcome } = silence(() => middle)
  t.same(sentMs, [0, 2_000, 6_000, 14_000])
  t.equal(endedMs, 30_000)
  t.match(outcome, { result: 'timeout', ok: false, gone: false, answered: false, attempts: 4 })
})

t.test('RFC 5080 §2.2.1: MRC 5, reached where jitter makes room for it', async (t) => {
  const { sentMs, endedMs, outcome } = silence(() => 0)
  t.equal(sentMs.length, 5)
  t.ok((sentMs[4] ?? 0) < 30_000)
  t.ok(endedMs <= 30_000)
  t.equal(outcome.attempts, 5)
})

t.test(
  'RFC 5080 §2.2.1: every wait is within a tenth of its rule, and never the same',
  async (t) => {
    const random = seeded(5080)
    const firsts = new Set<number>()
    for (let round = 0; round < 200; round++) {
      const { sentMs, endedMs, outcome } = silence(random)
      const waits = sentMs.slice(1).map((at, index) => at - (sentMs[index] ?? 0))
      for (const [index, wait] of waits.entries()) {
        const previous = index === 0 ? 1_000 : (waits[index - 1] ?? 0)
        const [least, most] = index === 0 ? [1.8, 2.2] : [1.9, 2.1]
        t.ok(wait >= least * previous && wait <= most * previous, `${wait}`)
        t.ok(wait <= 17_600, 'MRT, give or take the jitter')
      }
      t.ok(endedMs <= 30_000 && endedMs > 25_000, `${endedMs}`)
      t.ok(outcome.attempts <= 5)
      firsts.add(waits[0] ?? 0)
    }
    t.ok(firsts.size > 190)
  },
)

t.test('a timer that fires early, or for a request already answered, sends nothing', async (t) => {
  const exchange = underWay(begin(sets, { nowMs: START_MS, random: middle }))
  const early = step(exchange, { type: 'timer' }, { nowMs: START_MS + 1_999, random: middle })
  t.same(early, { do: 'wait', exchange })
})

t.test('each set of attributes is a request of its own: its time begins anew', async (t) => {
  let exchange = underWay(begin(sets, { nowMs: START_MS, random: middle }))
  exchange = underWay(
    step(exchange, { type: 'timer' }, { nowMs: START_MS + 2_000, random: middle }),
  )
  const nowMs = START_MS + 5_000
  const next = step(exchange, { type: 'nak', cause: 401 }, { nowMs, random: middle })
  t.match(next, {
    do: 'request',
    exchange: { at: 1, attempts: 3, dueAtMs: nowMs + 2_000, endsAtMs: nowMs + 30_000 },
  })
})

t.test('silence after a NAK is a timeout of a NAS that did answer', async (t) => {
  let next = begin(sets, { nowMs: START_MS, random: middle })
  next = step(underWay(next), { type: 'nak', cause: 401 }, { nowMs: START_MS, random: middle })
  while (next.do !== 'finish') {
    const { exchange } = next
    next = step(exchange, { type: 'timer' }, { nowMs: exchange.dueAtMs, random: middle })
  }
  t.match(next.outcome, { result: 'timeout', answered: true, attempts: 5 })
  t.same(next.outcome.trail, ['nak-401', 'timeout'])
})

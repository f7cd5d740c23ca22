// Drives the native addon itself with everything that could hurt it: recorded and invented flights,
// whole and bent, genuine flights of live clients bent on the way, all functions in any order, on
// handles of any age. It knows what engine.c documents and throws where the addon does anything
// else; a crash ends the process, and a sanitized build says why. Every round makes its own choices
// from the seed and its number, which are in each error.

import { X509Certificate } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type ConnectionOptions, createSecureContext, type SecureVersion } from 'node:tls'
import type { Addon } from '../../eap/native.ts'
import { CIPHERS, GROUPS, SIGNATURE_ALGORITHMS, SUITES } from '../../eap/parameters.ts'
import { caCertificate, p256, rsa, server } from '../eap/credentials.ts'
import { openClient, type TlsClient } from '../eap/peer.ts'
import { bend, invent } from './flight-bending.ts'
import { type Random, seeded } from './random.ts'

/** Every function of the addon, those that this file does not know included. */
type Functions = Readonly<Record<string, (...words: unknown[]) => unknown>>

const FLIGHT_BYTES_MAX = 65_536
/** What the header of engine.c allows, one for the feed that ends it all included. */
const FEEDS_MAX = 9
const RESULTS = ['continue', 'established', 'incomplete', 'failed', 'late', 'closed'] as const
type Status = (typeof RESULTS)[number]
const KNOWN = ['createContext', 'open', 'feed', 'take', 'commit', 'exportKey', 'get', 'close']

/** One sort of client, and the last session that one of it was given: used only with tickets. */
interface Station {
  readonly options: ConnectionOptions
  readonly certificate: Buffer
  session: Buffer | undefined
}

interface Client {
  readonly peer: TlsClient
  readonly station: Station
  /** What it wants to say next. */
  next: Buffer
  /** Whether nobody has come between the two. */
  genuine: boolean
}

/** What is known about one handle of the addon. */
interface Subject {
  readonly handle: unknown
  status: Status
  feeds: number
  /** Taken from the addon and not yet given to the client. */
  said: Buffer
  client: Client | undefined
}

interface Fuzz {
  readonly functions: Functions
  readonly contexts: readonly unknown[]
  readonly flights: readonly Buffer[]
  readonly results: Map<string, number>
  readonly stations: readonly Station[]
}

function count(fuzz: Fuzz, what: string): void {
  fuzz.results.set(what, (fuzz.results.get(what) ?? 0) + 1)
}

/** What a call came to: its value, or the exception, which must be one. */
function attempt(fuzz: Fuzz, name: string, words: readonly unknown[]) {
  try {
    const value = fuzz.functions[name]?.(...words)
    count(fuzz, name)
    return { value, error: undefined }
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`${name} threw no Error`)
    count(fuzz, `${name}: ${error.message}`)
    return { value: undefined, error }
  }
}

/** A call that must throw this, or must not throw where it is undefined. Returns the value. */
function must(fuzz: Fuzz, name: string, words: readonly unknown[], message: RegExp | undefined) {
  const { value, error } = attempt(fuzz, name, words)
  if (message === undefined ? error !== undefined : !message.test(error?.message ?? 'no error')) {
    throw new Error(`${name} should throw ${message}, but: ${error?.message ?? String(value)}`)
  }
  return error === undefined ? { value } : undefined
}

function feed(fuzz: Fuzz, subject: Subject, flight: Buffer): Status {
  const { status, handle } = subject
  const large = flight.length > FLIGHT_BYTES_MAX ? /Buffer within its limit/ : undefined
  const over = status === 'continue' ? undefined : /the handshake is over/
  const wanted = status === 'closed' ? /closed/ : (large ?? over)
  // In memory of its own, so that a sanitizer sees where it ends; small Buffers share theirs.
  const alone = Buffer.from(Uint8Array.from(flight).buffer)
  const done = must(fuzz, 'feed', [handle, alone], wanted)
  if (done === undefined) return status
  const result = RESULTS[Number(done.value)]
  if (result === undefined || result === 'closed') throw new Error(`feed returned ${done.value}`)
  count(fuzz, `feed ${result}`)
  subject.status = result
  if (++subject.feeds > FEEDS_MAX) throw new Error('a conversation without end')
  if (result === 'continue' || result === 'incomplete' || result === 'failed') return result
  // Both mean that a Finished was good, which nobody can make up.
  const certificate = must(fuzz, 'get', [handle, 4], undefined)?.value
  if (subject.client === undefined) throw new Error(`${result} without a client`)
  const { certificate: own } = subject.client.station
  if (!own.equals(certificate as Buffer)) throw new Error('whose certificate')
  return result
}

function take(fuzz: Fuzz, subject: Subject): void {
  const { status, handle } = subject
  const withheld = status === 'established' ? /withheld/ : undefined
  const taken = must(fuzz, 'take', [handle], status === 'closed' ? /closed/ : withheld)
  if (taken === undefined) return
  if (!Buffer.isBuffer(taken.value) || taken.value.length > FLIGHT_BYTES_MAX) {
    throw new Error(`take returned ${String(taken.value).length}`)
  }
  subject.said = Buffer.concat([subject.said, taken.value])
}

/** Lets the client have what was said to it, and then the addon what the client says. */
async function converse(fuzz: Fuzz, subject: Subject, random: Random): Promise<void> {
  const { client } = subject
  if (client === undefined || client.peer.socket.destroyed) return
  if (subject.status === 'continue') {
    if (subject.feeds > 0) {
      take(fuzz, subject)
      client.next = await client.peer.exchange(subject.said)
      subject.said = Buffer.alloc(0)
    }
    const bent = random.chance(0.4)
      ? bend(client.next, random.pick(fuzz.flights), random)
      : undefined
    if (bent !== undefined && !bent.equals(client.next)) client.genuine = false
    const status = feed(fuzz, subject, bent ?? client.next)
    const went = status === 'established' || status === 'continue'
    if (client.genuine && !went) throw new Error(`a genuine flight: ${status}`)
  } else if (subject.status === 'established') {
    const committed = must(fuzz, 'commit', [subject.handle], undefined)?.value as Buffer
    await client.peer.exchange(committed)
    const { socket } = client.peer
    if (socket.isSessionReused()) count(fuzz, 'resumed')
    if (client.genuine) client.station.session = socket.getSession()
    if (client.genuine && !client.peer.seen.secured) throw new Error('the client is not done')
    client.peer.close()
  }
}

function callOf(fuzz: Fuzz, subject: Subject, random: Random): void {
  const { handle, status } = subject
  const closed = status === 'closed' ? /closed/ : undefined
  const proven = closed ?? (status === 'established' ? undefined : /not established/)
  const told = status === 'late' ? undefined : proven
  const which = random.below(12)
  if (which < 3) take(fuzz, subject)
  else if (which < 4) {
    must(fuzz, 'commit', [handle], proven)
    // What it said has not gone to the client.
    if (subject.client !== undefined) subject.client.genuine = false
  } else if (which < 7) {
    const length = random.pick([-1, 0, 1, 64, 128, 256, 257, 2 ** 31 - 1])
    const good = length >= 1 && length <= 256
    const label = random.pick(['EXPORTER_x', 'client EAP encryption', 'x'.repeat(240), '\u20ac'])
    // TLS 1.3 has room for 249 octets, 1.2 for all that a call can bring.
    attempt(fuzz, 'exportKey', [handle, 64, 'x'.repeat(250 + random.below(258)), undefined])
    const context = [undefined, Buffer.alloc(0), Buffer.of(13), Buffer.alloc(256)][random.below(4)]
    const range = good ? undefined : /out of range/
    const key = must(fuzz, 'exportKey', [handle, length, label, context], proven ?? range)
    if (key && (key.value as Buffer).length !== length) throw new Error('a key of another length')
  } else if (which < 11) {
    attempt(fuzz, 'get', [handle, random.pick([-1, 99, 2 ** 31 - 1, -(2 ** 31), 2 ** 40])])
    const field = random.pick([0, 0, 1, 2, 3, 4, 5, 6])
    const value = must(fuzz, 'get', [handle, field], field === 0 ? closed : told)?.value
    if (value === null || value === undefined) {
      if ((field === 0 ? closed : told) === undefined) throw new Error(`get ${field} gave nothing`)
    }
  } else {
    must(fuzz, 'close', [handle], undefined)
    subject.status = 'closed'
  }
}

function detached(): Buffer {
  const memory = new ArrayBuffer(64)
  const buffer = Buffer.from(memory)
  structuredClone(memory, { transfer: [memory] })
  return buffer
}

/** Words that no caller of ours would say, among some that it would. */
const WORDS: readonly (readonly unknown[])[] = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 32, 1.5, Number.NaN, 1e300, 1n],
  [new Uint16Array(8), new DataView(new ArrayBuffer(9)), new Float64Array(0), detached()],
  [0, 1, 79, 80, 160, 161, 240, FLIGHT_BYTES_MAX, FLIGHT_BYTES_MAX + 1].map((size) =>
    Buffer.alloc(size, 22),
  ),
  ['', 'x', 'P-256', '\0', 'x'.repeat(508), '\u{1F600}'.repeat(200), server.cert],
  [undefined, null, {}, [], () => 1, Symbol('x'), Object.create(null), true],
]

function word(fuzz: Fuzz, subjects: readonly Subject[], random: Random): unknown {
  const handles = subjects.map(({ handle }) => handle)
  const list = random.pick([...WORDS, handles, fuzz.contexts, fuzz.flights])
  return list[random.below(list.length)]
}

/**
 * Any function with words of any kind, in any number: a value or an Error. What that does to a
 * handle is not followed, so it goes to handles that nobody uses afterwards.
 */
function callBlindly(fuzz: Fuzz, spent: readonly Subject[], random: Random): void {
  const name = random.pick(Object.keys(fuzz.functions))
  const words = Array.from({ length: random.below(10) }, () => word(fuzz, spent, random))
  // Else nearly all would end at the first word.
  if (random.chance(0.6)) words[0] = random.pick(spent).handle
  else if (random.chance(0.7)) words[0] = random.pick(fuzz.contexts)
  attempt(fuzz, name, words)
}

function pemsOf(random: Random): unknown[] {
  const bentPem = (pem: string) => bend(Buffer.from(pem), Buffer.from(rsa.cert), random)
  const key = Buffer.from(server.key)
  const cert = Buffer.from(server.cert)
  return random.chance(0.5) ? [bentPem(server.cert), key] : [cert, bentPem(server.key)]
}

async function round(fuzz: Fuzz, random: Random): Promise<void> {
  const live = random.chance(0.2)
  const nowSeconds = Math.floor(Date.now() / 1000)
  // One key of 80 octets, where the addon has tickets; a blind call may have taken it away.
  fuzz.functions['setTicketKeys']?.(fuzz.contexts[0], Buffer.alloc(80, 1))
  const open = (_: unknown, n: number): Subject => {
    // A live client meets one that has its version.
    const context = random.pick(live && n === 0 ? fuzz.contexts.slice(0, 5) : fuzz.contexts)
    // The time and the end of a login, for an addon that asks for them.
    const words = [context, nowSeconds, nowSeconds + 3600]
    const handle = fuzz.functions['open']?.(...words)
    return { handle, status: 'continue', feeds: 0, said: Buffer.alloc(0), client: undefined }
  }
  const subjects = Array.from({ length: 1 + random.below(3) }, open)
  const blind = [1, 2].map(open)
  const [first] = subjects
  if (first !== undefined && live) {
    const station = random.pick(fuzz.stations)
    const { options, session } = station
    const peer = openClient({ ...options, ...(session && random.chance(0.7) && { session }) })
    const next = await peer.exchange(Buffer.alloc(0))
    first.client = { peer, station, next, genuine: true }
  }
  for (let step = 3 + random.below(20); step > 0; step--) {
    const at = random.below(subjects.length)
    const over = subjects[at]?.status !== 'continue' && subjects[at]?.status !== 'established'
    // Most of what is over is replaced, closed or not: only a few calls tell anything about it.
    if (over && random.chance(0.6)) subjects[at] = open(undefined, 1)
    const subject = random.pick(subjects)
    const choice = random.below(10)
    if (subject.client !== undefined && choice < 6) await converse(fuzz, subject, random)
    else if (choice < 6) {
      if (subject.client !== undefined) subject.client.genuine = false
      const flight = random.chance(0.2) ? invent(random) : random.pick(fuzz.flights)
      const whole = random.chance(0.25)
      feed(fuzz, subject, whole ? flight : bend(flight, random.pick(fuzz.flights), random))
    } else if (choice < 8) {
      // There is more to ask where there is more to tell.
      const calls = subject.status === 'established' ? 6 : 1
      for (let n = 0; n < calls; n++) callOf(fuzz, subject, random)
    } else callBlindly(fuzz, blind, random)
  }
  if (random.chance(0.02)) attempt(fuzz, 'createContext', [...pemsOf(random), ...LISTS])
  first?.client?.peer.close()
  // The others are left to the garbage collector.
  for (const { handle } of subjects)
    if (random.chance(0.7)) must(fuzz, 'close', [handle], undefined)
}

const LISTS = [0x0303, 0x0304, CIPHERS, SUITES, SIGNATURE_ALGORITHMS, GROUPS]

function contextsOf(functions: Functions): unknown[] {
  const create = (by: typeof server, versions: readonly number[]) => {
    const pems = [Buffer.from(by.cert), Buffer.from(by.key)]
    return functions['createContext']?.(...pems, ...versions, ...LISTS.slice(2))
  }
  const resuming = create(server, [0x0303, 0x0304])
  return [
    resuming,
    resuming,
    resuming,
    create(server, [0x0303, 0x0304]),
    create(rsa, [0x0303, 0x0304]),
    create(server, [0x0303, 0x0303]),
    create(server, [0x0304, 0x0304]),
  ]
}

function stationsOf(): Station[] {
  const versions: SecureVersion[] = ['TLSv1.2', 'TLSv1.3']
  return versions.flatMap((version) =>
    [p256, rsa].flatMap((credential) =>
      ['auto', 'P-521:P-256'].map((ecdhCurve) => {
        const only = { minVersion: version, maxVersion: version, ecdhCurve } as const
        const secureContext = createSecureContext({ ...credential, ...only, ca: caCertificate })
        const options = { ...only, secureContext, rejectUnauthorized: false }
        const certificate = new X509Certificate(credential.cert).raw
        return { options, certificate, session: undefined }
      }),
    ),
  )
}

/**
 * `rounds` rounds from `seed`; returns how often each call came to what. Throws at the first thing
 * that is not documented, with what repeats it.
 */
export async function fuzzAddon(
  addon: Addon,
  flights: readonly Buffer[],
  { seed, from = 0, rounds }: { seed: string; from?: number; rounds: number },
): Promise<ReadonlyMap<string, number>> {
  const functions = { ...addon } as unknown as Functions
  if (!KNOWN.every((name) => typeof functions[name] === 'function')) throw new Error('no addon')
  const fuzz: Fuzz = {
    functions,
    contexts: contextsOf(functions),
    flights,
    results: new Map(),
    stations: stationsOf(),
  }
  for (let n = from; n < from + rounds; n++) {
    try {
      await round(fuzz, seeded(`${seed} ${n}`))
    } catch (error) {
      throw new Error(`seed ${seed}, round ${n}: ${(error as Error).message}`, { cause: error })
    }
    if (n % 16 === 0) await turn()
  }
  return fuzz.results
}

// The load generator: N EAP-TLS authentications with K in flight against one server, as a process
// of its own so that its CPU is not the server's. Each line of standard input is a LoadSpec, each
// line of its output a LoadResult; it ends with its input. It checks every reply and every key; it
// starts no server. Called by generator.ts.

import { createInterface } from 'node:readline'
import { authenticate, type PeerResult } from '../test/peer/peer.ts'
import { createSupplicant, type Supplicant, type TlsVersion } from '../test/peer/tls.ts'
import { openTransport } from '../test/peer/transport.ts'
import { percentile } from './table.ts'

/**
 * One run. Station n uses credential n modulo their number, so a station always has the same
 * account.
 */
export interface LoadSpec {
  readonly port: number
  readonly secret: string
  readonly tls: TlsVersion
  /** OpenSSL group list of the supplicants. */
  readonly groups: string
  readonly credentials: readonly LoadCredential[]
  readonly count: number
  readonly inFlight: number
  /** First station number; conversations left half open need stations no later run uses. */
  readonly firstStation: number
  /**
   * How many Calling-Station-Ids take turns; more than inFlight, a server holds one conversation
   * each.
   */
  readonly stations: number
  /** Each station offers a TLS session it has from this server; its first login is a full one. */
  readonly resume?: Resumption
  /** Leave each conversation half open after that many rounds. */
  readonly abandonAfterRounds?: number
  /** First retransmission after. */
  readonly retryMs: number
  /** Whole run: what is not done by then counts as failed. */
  readonly limitMs: number
}

/**
 * What a station offers: the session of its last login, or that of its last full login again, for a
 * server that gives none at a resumption that it would take up itself.
 */
export type Resumption = 'last' | 'full'

/** A device as the server shall see it. */
export interface LoadCredential {
  readonly identity: string
  readonly certificatePem: string
  readonly keyPem: string
}

/** Outcome of a run. Times are of whole conversations, over those that ended as asked. */
export interface LoadResult {
  readonly done: number
  readonly failed: number
  /** Of those done, how many took up an earlier TLS session. */
  readonly resumed: number
  /** What the failed ones were: outcome and count. */
  readonly failures: Readonly<Record<string, number>>
  readonly retransmits: number
  readonly droppedReplies: number
  readonly roundsPerAuth: number
  readonly authPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const NAS_PORT_TYPE_WIRELESS = { type: 61, value: Buffer.of(0, 0, 0, 19) }
const FRAMED_MTU_1400 = { type: 12, value: Buffer.of(0, 0, 5, 120) }

function station(number: number): string {
  const octets = Buffer.alloc(6)
  octets[0] = 2
  octets.writeUInt32BE(number, 2)
  return (octets.toString('hex').match(/../g) ?? []).join('-').toUpperCase()
}

/** Prepared once per device and TLS version: many short runs would else mostly parse keys. */
const supplicants = new Map<string, Supplicant>()

function supplicantFor(
  { tls, groups }: LoadSpec,
  { certificatePem, keyPem }: LoadCredential,
): Supplicant {
  const key = `${tls} ${groups} ${certificatePem}`
  const known = supplicants.get(key)
  if (known !== undefined) return known
  const made = createSupplicant({ tlsMin: tls, tlsMax: tls, groups, certificatePem, keyPem })
  supplicants.set(key, made)
  return made
}

/** Sessions to offer, by server, TLS version and station; those of a run before it included. */
const sessions = new Map<string, Buffer>()
// Some stations at some servers, each start of a server being another one: far below this.
const SESSIONS_MAX = 10_000

function remember(key: string, kind: Resumption, result: PeerResult): void {
  const { outcome, resumed, session } = result
  if (outcome !== 'accept') sessions.delete(key)
  else if (resumed && kind === 'full') return
  else if (session !== undefined && sessions.size < SESSIONS_MAX) sessions.set(key, session)
  // Refused without an alternative: not worth another try. Taken up and not replaced: it is kept.
  else if (!resumed) sessions.delete(key)
}

async function run(spec: LoadSpec): Promise<LoadResult> {
  const transport = openTransport({
    host: '127.0.0.1',
    port: spec.port,
    secret: Buffer.from(spec.secret),
    retryMs: spec.retryMs,
    giveUpMs: spec.limitMs,
  })
  const devices = spec.credentials.map((credential) => ({
    identity: credential.identity,
    supplicant: supplicantFor(spec, credential),
  }))
  const wanted = spec.abandonAfterRounds === undefined ? 'accept' : 'abandoned'
  const times: number[] = []
  const failures: Record<string, number> = {}
  let rounds = 0
  let resumed = 0
  let next = 0

  async function worker(): Promise<void> {
    while (next < spec.count) {
      const number = next++ % spec.stations
      const device = devices[number % devices.length]
      if (device === undefined) return
      const callingStationId = station(spec.firstStation + number)
      const kept = `${spec.port} ${spec.tls} ${callingStationId}`
      const session = spec.resume === undefined ? undefined : sessions.get(kept)
      const startedMs = performance.now()
      const result = await authenticate({
        transport,
        ...device,
        callingStationId,
        ...(session === undefined ? {} : { session }),
        attributes: [NAS_PORT_TYPE_WIRELESS, FRAMED_MTU_1400],
        ...(spec.abandonAfterRounds === undefined
          ? {}
          : { abandonAfterRounds: spec.abandonAfterRounds }),
      })
      rounds += result.rounds
      if (spec.resume !== undefined) remember(kept, spec.resume, result)
      const keysWrong = result.outcome === 'accept' && !result.keysMatch
      const outcome = keysWrong ? 'wrong keys' : result.outcome
      if (outcome === wanted) {
        times.push(performance.now() - startedMs)
        if (result.resumed) resumed += 1
      } else failures[outcome] = (failures[outcome] ?? 0) + 1
    }
  }

  const startedMs = performance.now()
  const limit = setTimeout(() => {
    next = spec.count
    transport.close()
  }, spec.limitMs)
  await Promise.all(Array.from({ length: Math.min(spec.inFlight, spec.count) }, worker))
  clearTimeout(limit)
  const seconds = (performance.now() - startedMs) / 1000
  const { retransmits, droppedReplies } = transport.stats
  transport.close()
  return {
    done: times.length,
    failed: spec.count - times.length,
    resumed,
    failures,
    retransmits,
    droppedReplies,
    roundsPerAuth: rounds / spec.count,
    authPerSecond: times.length / seconds,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const spec: LoadSpec = JSON.parse(line)
  process.stdout.write(`${JSON.stringify(await run(spec))}\n`)
}

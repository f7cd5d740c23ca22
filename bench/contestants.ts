// The servers of the comparison behind one shape: start, restart when a server is known to
// refuse after so many conversations, warm up before anything is measured, stop. Called by
// phases.ts.

import { runLoad } from './generator.ts'
import type { LoadCredential, LoadResult, LoadSpec, Resumption } from './load.ts'
import type { RunningServer } from './peers.ts'

/** How one server is started and what is known of its limits. */
export interface ContestantPlan {
  readonly name: string
  /** Conversations it serves before it has to be started again; Infinity for no limit. */
  readonly capacity: number
  /** Authentications per TLS version before it is measured: code compiled, caches filled. */
  readonly warmup: number
  /** Its stations offer a TLS session; a server that takes up none is out. Undefined: none does. */
  readonly resumes: Resumption | undefined
  readonly start: () => Promise<RunningServer>
}

/** Where things run, and with which devices. */
export interface Bench {
  readonly serverCpu: number
  readonly generatorCpu: number
  readonly secret: string
  /** OpenSSL group list of the supplicants. */
  readonly groups: string
  readonly credentials: readonly LoadCredential[]
  readonly say: (line: string) => void
}

/** One server in the race. */
export interface Contestant {
  readonly name: string
  readonly resumes: Resumption | undefined
  /** Conversations it serves after a fresh start; Infinity for no limit. */
  readonly room: number
  /** The running, warm server with room for so many more conversations. */
  ready(conversations: number): Promise<RunningServer>
  /** A process started just now and warmed up. */
  fresh(): Promise<RunningServer>
  stop(): Promise<void>
}

/** What differs from run to run; the rest is filled in here. */
export type LoadRun = Pick<LoadSpec, 'tls' | 'count' | 'inFlight'> & Partial<LoadSpec>

/** A whole LoadSpec against this server. */
export function loadSpec(bench: Bench, server: RunningServer, run: LoadRun): LoadSpec {
  return {
    port: server.port,
    secret: bench.secret,
    groups: bench.groups,
    credentials: bench.credentials,
    firstStation: 0,
    stations: Math.max(STATIONS, run.inFlight * 2),
    retryMs: RETRY_MS,
    limitMs: 60_000,
    ...run,
  }
}

/** A load run by a generator of its own. */
export const load = (
  bench: Bench,
  server: RunningServer,
  run: LoadRun,
  cpu: number,
): Promise<LoadResult> => runLoad(loadSpec(bench, server, run), cpu)

// What an access point waits before it asks again (hostapd as a NAS).
const RETRY_MS = 3000
// With 16 accounts four stations each, which is what sessions.per_account allows by default.
const STATIONS = 64
const WARMUP_IN_FLIGHT = 8
/** Stations of a run that resumes: one an account, and twice as many as are in flight. */
export const RESUMING_STATIONS = 16

/** What a run needs beyond the rest where the stations are to resume. */
export const resuming = ({ resumes }: Pick<ContestantPlan, 'resumes'>): Partial<LoadSpec> =>
  resumes === undefined ? {} : { resume: resumes, stations: RESUMING_STATIONS }

/** Puts a plan on the track; nothing is started yet. */
export function enter(plan: ContestantPlan, bench: Bench): Contestant {
  let server: RunningServer | undefined
  let used = 0

  async function stop(): Promise<void> {
    const running = server
    server = undefined
    await running?.stop()
  }

  async function fresh(): Promise<RunningServer> {
    await stop()
    server = await plan.start()
    used = plan.warmup * 2
    for (const tls of ['1.2', '1.3'] as const) {
      const run = { tls, count: plan.warmup, inFlight: WARMUP_IN_FLIGHT, ...resuming(plan) }
      const result = await load(bench, server, run, bench.generatorCpu)
      if (result.failed > 0) {
        const why = JSON.stringify(result.failures)
        throw new Error(
          `${plan.name}: ${result.failed} of ${plan.warmup} failed in TLS ${tls}: ${why}`,
        )
      }
      if (plan.resumes !== undefined && result.resumed === 0) {
        throw new Error(`${plan.name}: no session was resumed in TLS ${tls}`)
      }
    }
    return server
  }

  return {
    name: plan.name,
    resumes: plan.resumes,
    room: plan.capacity - plan.warmup * 2,
    async ready(conversations) {
      if (server === undefined || used + conversations > plan.capacity) await fresh()
      used += conversations
      if (server === undefined) throw new Error(`${plan.name} is not running`)
      return server
    },
    fresh,
    stop,
  }
}

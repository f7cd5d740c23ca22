// What one half-open conversation costs a server in resident memory. Each figure is of a process of
// its own that has been through as many whole conversations before, so that neither its warm-up nor
// memory it had freed and kept can pass for conversations. Called by eap.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import type { TlsVersion } from '../test/peer/tls.ts'
import { type Bench, type Contestant, type LoadRun, load } from './contestants.ts'
import { TLS_VERSIONS } from './cpu.ts'
import type { RunningServer } from './peers.ts'
import { attempt } from './phases.ts'
import { descendantsOf, residentBytes } from './schedstat.ts'
import { median } from './table.ts'

/** Resident memory of one server with one TLS version, bytes of the server's own process. */
export interface MemorySample {
  readonly server: string
  readonly tls: TlsVersion
  /** Fresh, warm, and before any of the batches below. */
  readonly idleBytes: number
  /** Child processes, idle. */
  readonly childrenBytes: number
  /** Conversations in each batch. */
  readonly count: number
  /** Growth per conversation while the first `count` are half open. */
  readonly halfOpenBytes: number
  /** The same for twice `count` more beside them: memory kept from before can't hide these. */
  readonly furtherBytes: number
  /**
   * The control: what as many whole conversations, already ended, added per conversation just
   * before. In no other figure.
   */
  readonly endedBytes: number
  /** Batches of whole conversations it took until the control was small, or the most there are. */
  readonly endedBatches: number
}

/** How much to measure, and how long a server has to come to rest before it is read. */
export interface MemoryPlan {
  readonly halfOpen: number
  readonly settleMs: number
}

// Answered Identity and ClientHello: the server has sent the first fragment of its flight.
const HALF_OPEN_ROUNDS = 2
const IN_FLIGHT = 64
// Whole conversations go on until a batch of them adds next to nothing: a heap that still grows
// would pass for conversations. Far below any server's figure; a batch that shrinks it is as good.
const ENDED_MAX_BYTES = 1500
const ENDED_BATCHES_MAX = 6
const FURTHER_BATCHES = 2
const BATCHES = ENDED_BATCHES_MAX + 1 + FURTHER_BATCHES
// No station of the other phases, and each half-open batch its own.
const FIRST_STATION = 1_000_000
const READINGS = 9
// The readings take a tenth of the rest before them.
const READING_EVERY = 0.1 / READINGS

/** Starts each server anew for each TLS version. */
export async function measureMemory(
  bench: Bench,
  contestants: readonly Contestant[],
  plan: MemoryPlan,
): Promise<MemorySample[]> {
  const samples: MemorySample[] = []
  for (const contestant of contestants) {
    for (const tls of TLS_VERSIONS) {
      const what = `TLS ${tls} ${contestant.name}`
      const sample = await attempt(bench, what, () => sampleOf(bench, contestant, tls, plan))
      if (sample === undefined) continue
      samples.push(sample)
      const [each, further] = [sample.halfOpenBytes, sample.furtherBytes].map(kilobytes)
      bench.say(`  ${what}: ${each} KB each, ${further} KB each further`)
    }
    await contestant.stop()
  }
  return samples
}

const kilobytes = (bytes: number): string => (bytes / 1000).toFixed(1)

async function sampleOf(
  bench: Bench,
  contestant: Contestant,
  tls: TlsVersion,
  { halfOpen, settleMs }: MemoryPlan,
): Promise<MemorySample> {
  const count = Math.min(halfOpen, Math.floor(contestant.room / BATCHES))
  const server = await contestant.fresh()
  const idleBytes = await settled(server, settleMs)
  const children = descendantsOf(server.pid).map(residentBytes)

  /** Resident bytes after one more batch. */
  async function after(run: Pick<LoadRun, 'abandonAfterRounds' | 'firstStation'>): Promise<number> {
    const whole: LoadRun = { tls, count, inFlight: IN_FLIGHT, stations: count, ...run }
    const result = await load(bench, server, whole, bench.generatorCpu)
    if (result.failed > 0) throw new Error(`lost ${JSON.stringify(result.failures)}`)
    return settled(server, settleMs)
  }

  let baseline = await after({ firstStation: FIRST_STATION })
  let endedBytes = Number.POSITIVE_INFINITY
  let endedBatches = 1
  while (endedBytes > ENDED_MAX_BYTES && endedBatches < ENDED_BATCHES_MAX) {
    const before = baseline
    baseline = await after({ firstStation: FIRST_STATION })
    endedBytes = (baseline - before) / count
    endedBatches += 1
  }
  const left = { abandonAfterRounds: HALF_OPEN_ROUNDS }
  const first = await after({ ...left, firstStation: FIRST_STATION + count })
  let last = first
  for (let batch = 2; batch < 2 + FURTHER_BATCHES; batch++) {
    last = await after({ ...left, firstStation: FIRST_STATION + batch * count })
  }
  return {
    server: contestant.name,
    tls,
    idleBytes,
    childrenBytes: children.reduce((sum, each) => sum + each, 0),
    count,
    halfOpenBytes: (first - baseline) / count,
    furtherBytes: (last - first) / (FURTHER_BATCHES * count),
    endedBytes,
    endedBatches,
  }
}

/** Resident bytes once the server has had time to collect its garbage: median of readings. */
async function settled({ pid }: RunningServer, settleMs: number): Promise<number> {
  await sleep(settleMs)
  const readings: number[] = []
  for (let i = 0; i < READINGS; i++) {
    readings.push(residentBytes(pid))
    await sleep(settleMs * READING_EVERY)
  }
  return median(readings)
}

// When the embedded chain's state is written, and what is in it: one snapshot at a time, never
// during a restart. A block or a change counts as durable only when a snapshot that contains it is
// on disk. Writes no file itself (snapshot.ts) and starts no process. Called by embedded.ts.

import { ChainError, reasonOf } from './error.ts'
import { numberOf, type Rpc } from './jsonrpc.ts'
import { startRunner } from './runner.ts'
import {
  type ChainLog,
  type LoadedSnapshot,
  type OpenForWriting,
  writeGeneration,
} from './snapshot.ts'

/** What snapshots are made of and how. */
export interface SaverOptions {
  readonly directory: string
  readonly rpc: Rpc
  readonly log: ChainLog
  /** The largest dump `rpc` takes, in bytes of its answer. */
  readonly dumpBytesMax: number
  /** Whether the node is away because it is being restarted, which has its own log line. */
  readonly restarting: () => boolean
  readonly openFile: OpenForWriting | undefined
}

/** Keeps the chain's state on disk up to date. */
export interface Saver {
  /** The newest block that a durable snapshot contains; -1 before the first one. */
  durableBlock(): number
  /** The state has outgrown half of what can be saved: strangers' transactions must end. */
  nearlyFull(): boolean
  /** Called after every snapshot with a new durable block; returns the unsubscriber. */
  onDurable(listener: (block: number) => void): () => void
  /**
   * Something without a block was changed, or must be durable: resolves when a snapshot holds it.
   * Throws 'snapshot-failed' when that does not come within 10 s or a restart has lost it,
   * 'stopped' when the chain ends first.
   */
  changed(): Promise<void>
  wake(): void
  /** Takes a snapshot unless nothing has happened since the last one. */
  save(): Promise<void>
  /** Runs `launch` while no snapshot is under way; all that was not durable is then lost. */
  relaunch(launch: () => Promise<LoadedSnapshot>): Promise<void>
  /** No snapshot begins by itself any more; resolves when the one under way is finished. */
  end(): Promise<void>
  /** Whoever still waits is told that it was not saved. */
  close(): void
}

const SNAPSHOT_RETRY_MAX_MS = 5_000
/** Each attempt moves over 100 MB: a state that is too large does not become smaller in seconds. */
const TOO_LARGE_RETRY_MS = 60_000
const DUMP_TIMEOUT_MS = 60_000
/** How long a change waits for its snapshot before its caller is told. */
const DURABLE_TIMEOUT_MS = 10_000
/** Should a newHeads notification get lost, the block is noticed this much later. */
const POLL_MS = 1_000

/** The node's newest block. */
export async function blockNumber(rpc: Rpc): Promise<number> {
  return numberOf(await rpc.request('eth_blockNumber', [], 5_000))
}

/** What a snapshot holds: where two are the same, nothing has happened in between. */
interface Extent {
  readonly block: number
  readonly changes: number
  readonly restarts: number
}

/** A saver at rest; `loaded` is what the chain was started from, `durable` its newest block. */
export function createSaver(
  o: SaverOptions,
  loaded: LoadedSnapshot | undefined,
  durable: number,
): Saver {
  const listeners = new Set<(block: number) => void>()
  const waiters = createWaiters()
  let generation = loaded?.generation ?? 0
  let newest = loaded?.newest ?? 0
  let saved: Extent = { block: durable, changes: 0, restarts: 0 }
  let [changes, restarts] = [0, 0]
  let failure: unknown
  const size = watchSize(o)
  size.seen((loaded?.gzipBytes ?? 0) * 2)

  async function save(): Promise<void> {
    // Asked before the dump, so the dump holds at least this much, perhaps more.
    const now = { block: await blockNumber(o.rpc), changes, restarts }
    const same = now.block === saved.block && now.changes === saved.changes
    if (same && now.restarts === saved.restarts) return
    const dump = await o.rpc.request('anvil_dumpState', [], DUMP_TIMEOUT_MS)
    if (typeof dump !== 'string' || !dump.startsWith('0x1f8b')) {
      throw new ChainError('rpc-error', 'anvil_dumpState answered no gzip data')
    }
    size.seen(dump.length)
    const bytes = Buffer.from(dump.slice(2), 'hex')
    await writeGeneration(o.directory, newest + 1, bytes, o.openFile)
    newest += 1
    generation = newest
    const before = saved.block
    saved = now
    waiters.durable(now.changes)
    if (now.block !== before) for (const listener of listeners) listener(now.block)
  }

  let turn: Promise<unknown> = Promise.resolve()
  function alone(task: () => Promise<void>): Promise<void> {
    const mine = turn.then(task)
    turn = mine.catch(() => undefined)
    return mine
  }

  const run = async (): Promise<void> => {
    try {
      await alone(save)
      failure = undefined
    } catch (error) {
      failure = error
      if (isTooLarge(error)) size.seen(o.dumpBytesMax)
      throw error
    }
  }
  const told = tellFailures(o, () => saved.block)
  const runner = startRunner(run, {
    everyMs: POLL_MS,
    retryMs: (failures) =>
      isTooLarge(failure)
        ? TOO_LARGE_RETRY_MS
        : Math.min(250 * 2 ** (failures - 1), SNAPSHOT_RETRY_MAX_MS),
    ...told,
  })

  return {
    durableBlock: () => saved.block,
    nearlyFull: size.nearlyFull,
    onDurable(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    changed() {
      changes += 1
      const waiting = waiters.wait(changes, () => failure)
      runner.wake()
      return waiting
    },
    wake: runner.wake,
    save: () => alone(save),
    relaunch: (launch) =>
      alone(async () => {
        const again = await launch()
        // By its generation, not by asking: the node may have mined for others already.
        const block = again.generation === generation ? saved.block : await blockNumber(o.rpc)
        generation = again.generation
        newest = Math.max(newest, again.newest)
        saved = { ...saved, block, changes }
        restarts += 1
        waiters.lost('the embedded chain was restarted before the change was saved; try again')
      }),
    end: runner.end,
    close: () => waiters.end('the embedded chain has ended before the change was saved'),
  }
}

const isTooLarge = (error: unknown): boolean =>
  error instanceof ChainError && error.code === 'answer-too-large'

/** Says once when the state has outgrown half of what can be saved. */
function watchSize(o: SaverOptions): { seen(bytes: number): void; nearlyFull(): boolean } {
  let full = false
  return {
    seen(bytes) {
      if (full || bytes <= o.dumpBytesMax / 2) return
      full = true
      const event = { level: 'warn', event: 'chain-nearly-full', bytes, bytesMax: o.dumpBytesMax }
      o.log(
        event,
        `the embedded chain is over half of the size that can be saved: transactions \
of devices are refused from now on; move ${o.directory} away to begin an empty chain`,
      )
    },
    nearlyFull: () => full,
  }
}

/** A failure is told once, and so is its end. */
function tellFailures(
  o: SaverOptions,
  durable: () => number,
): { failed: (error: unknown, failures: number) => void; recovered: () => void } {
  let told = false
  return {
    failed(error, failures) {
      const away = error instanceof ChainError && error.code === 'chain-unreachable'
      // The end of the child is heard a moment after its connections broke; a second failure in a
      // row without a restart is no longer that.
      if (told || (away && (o.restarting() || failures === 1))) return
      told = true
      const code = (error as NodeJS.ErrnoException).code
      const event = { level: 'error', event: 'chain-snapshot-failed', code, block: durable() }
      const hint = code === 'ENOSPC' ? '; free space on this disk' : ''
      const text = `a snapshot of the chain can't be written (${reasonOf(error)}); new blocks stay \
hidden until it can${hint}`
      o.log(event, text)
    },
    recovered() {
      if (told) o.log({ level: 'info', event: 'chain-snapshot-recovered' }, 'snapshots work again')
      told = false
    },
  }
}

interface Waiters {
  /** Resolves when change number `change` is durable; `why` is the cause given when it is late. */
  wait(change: number, why: () => unknown): Promise<void>
  durable(changes: number): void
  /** Rejects all who wait now. */
  lost(text: string): void
  /** Rejects all who wait and all who come. */
  end(text: string): void
}

/** Those who wait for a change to be durable: as many as there are requests under way. */
function createWaiters(): Waiters {
  const waiting = new Set<{ change: number; resolve(): void; reject(error: unknown): void }>()
  let ended: string | undefined
  return {
    wait(change, why) {
      if (ended !== undefined) return Promise.reject(new ChainError('stopped', ended))
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const one = { change, resolve, reject }
      waiting.add(one)
      const late = setTimeout(() => {
        const text = 'the embedded chain could not save the change'
        reject(new ChainError('snapshot-failed', text, { cause: why() }))
      }, DURABLE_TIMEOUT_MS)
      return promise.finally(() => {
        clearTimeout(late)
        waiting.delete(one)
      })
    },
    durable(changes) {
      for (const one of waiting) if (one.change <= changes) one.resolve()
    },
    lost(text) {
      for (const one of waiting) one.reject(new ChainError('snapshot-failed', text))
    },
    end(text) {
      ended = text
      for (const one of waiting) one.reject(new ChainError('stopped', text))
    },
  }
}

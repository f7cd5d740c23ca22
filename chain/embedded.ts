// The embedded chain: a supervised anvil whose state is snapshotted after every block. A block
// counts as durable only when a snapshot that contains it survives kill -9; whoever shows blocks to
// others shows only those. Called by the server's start-up; refuses a directory another server
// uses.

import { mkdir, rm } from 'node:fs/promises'
import type { Address } from '../ethereum/address.ts'
import { type Anvil, EMBEDDED_CHAIN_ID, freePort, startAnvil } from './anvil.ts'
import { ChainError, reasonOf } from './error.ts'
import { numberOf, quantity, type Rpc } from './jsonrpc.ts'
import { lockDirectory } from './lock.ts'
import { openRpc } from './rpc.ts'
import { type Runner, startRunner } from './runner.ts'
import { type ChainLog, type OpenForWriting, readNewest, writeGeneration } from './snapshot.ts'
import { openSocketRpc } from './socket.ts'

/** The running embedded chain. */
export interface EmbeddedChain {
  /**
   * http:// on loopback, the same for its whole life; only the server itself may use it (anvil_*
   * methods).
   */
  readonly url: string
  readonly chainId: bigint
  /** Process id of the supervised child, for the status page; it changes with a restart. */
  pid(): number
  /** The newest block that a durable snapshot contains. */
  durableBlock(): number
  /** Called after every snapshot with the new durable block; returns the unsubscriber. */
  onDurable(listener: (block: number) => void): () => void
  /** Sets the balance that pays for gas; resolves when that is durable. */
  setBalance(account: Address, wei: bigint): Promise<void>
  /** Resolves when everything done so far is durable. */
  saved(): Promise<void>
  /** Takes a last snapshot, ends the child, releases the directory. */
  stop(): Promise<void>
  /** Resolves when the chain is gone for good: 'stopped', or why it could not be kept running. */
  readonly exited: Promise<string>
}

/**
 * Restarts in a row before we give up: 0.1 + 0.2 + … + 3.2 s, then something is broken for good.
 */
const RESTARTS_MAX = 6
const RESTART_DELAY_MS = 100
/** A child that lived this long was healthy: its end starts a new count. */
const HEALTHY_MS = 60_000
const SNAPSHOT_RETRY_MAX_MS = 5_000
/** How long setBalance waits for its snapshot before it tells its caller. */
const DURABLE_TIMEOUT_MS = 10_000
/** Should a newHeads notification get lost, the block is noticed this much later. */
const POLL_MS = 1_000

/** Everything that changes while the chain runs. */
interface Supervision {
  anvil: Anvil
  generation: number
  durable: number
  /** Changes without a block (balances): made, and contained in a durable snapshot. */
  changes: number
  changesDurable: number
  stopping: boolean
}

interface Context {
  readonly directory: string
  readonly port: number
  readonly log: ChainLog
  readonly now: () => number
  readonly rpc: Rpc
  readonly openFile: OpenForWriting | undefined
}

/**
 * Starts the chain from the newest snapshot in `directory`, or an empty one. `now` is a clock in
 * ms; `openFile` replaces how snapshot files are opened (tests). Throws ChainError: chain-
 * directory-in-use, anvil-missing, anvil-failed, snapshot-unreadable, snapshot-failed.
 */
export async function startEmbeddedChain(o: {
  readonly directory: string
  readonly log: ChainLog
  readonly now: () => number
  readonly openFile?: OpenForWriting
}): Promise<EmbeddedChain> {
  await mkdir(o.directory, { recursive: true, mode: 0o700 })
  const lock = lockDirectory(o.directory)
  let started: Anvil | undefined
  try {
    const port = await freePort()
    const rpc = openRpc(`http://127.0.0.1:${port}`)
    const context: Context = { ...o, port, rpc, openFile: o.openFile }
    const { anvil, generation } = await launch(context)
    started = anvil
    const durable = generation === 0 ? -1 : await blockNumber(rpc)
    const supervised = {
      anvil,
      generation,
      durable,
      changes: 0,
      changesDurable: 0,
      stopping: false,
    }
    // The empty chain becomes durable too: its genesis block then is the same after a kill -9.
    if (generation === 0) await snapshot(context, supervised)
    return supervise(context, supervised, () => lock.release())
  } catch (error) {
    await started?.kill()
    lock.release()
    if (error instanceof ChainError) throw error
    const text = `the embedded chain could not be started in ${o.directory} (${reasonOf(error)})`
    throw new ChainError('snapshot-failed', text, { cause: error })
  }
}

/** Starts anvil from the newest readable generation; generation 0 means there was none. */
async function launch(context: Context): Promise<{ anvil: Anvil; generation: number }> {
  const { directory, port, log } = context
  const loaded = await readNewest(directory, log)
  const loadState = loaded === undefined ? {} : { loadState: loaded.file }
  const anvil = await startAnvil({ port, directory, ...loadState })
  // anvil has read it; unpacked it is ten times the size of the snapshot.
  if (loaded !== undefined) await rm(loaded.file, { force: true })
  return { anvil, generation: loaded?.generation ?? 0 }
}

async function blockNumber(rpc: Rpc): Promise<number> {
  return numberOf(await rpc.request('eth_blockNumber', [], 5_000))
}

/** Writes one generation; `durable` and `changesDurable` advance only after it is on disk. */
async function snapshot(context: Context, chain: Supervision): Promise<void> {
  const changes = chain.changes
  // Asked before the dump, so the dump holds at least this block, perhaps newer ones too.
  const block = await blockNumber(context.rpc)
  if (block === chain.durable && changes === chain.changesDurable) return
  const dump = await context.rpc.request('anvil_dumpState', [], 60_000)
  if (typeof dump !== 'string' || !dump.startsWith('0x1f8b')) {
    throw new ChainError('rpc-error', 'anvil_dumpState answered no gzip data')
  }
  const bytes = Buffer.from(dump.slice(2), 'hex')
  await writeGeneration(context.directory, chain.generation + 1, bytes, context.openFile)
  chain.generation += 1
  chain.durable = block
  chain.changesDurable = changes
}

/** The running part: snapshots on every head, restarts on every unexpected end. */
function supervise(context: Context, chain: Supervision, unlock: () => void): EmbeddedChain {
  const { rpc, port, log } = context
  const listeners = new Set<(block: number) => void>()
  const gone = Promise.withResolvers<string>()
  const snapshots = startSnapshots(context, chain, () => {
    for (const listener of listeners) listener(chain.durable)
  })
  const heads = openSocketRpc(`ws://127.0.0.1:${port}`, { onNotification: () => snapshots.wake() })
  const subscribe = (): void => {
    // A lost subscription costs one POLL_MS of delay, so a failure here needs no other answer.
    heads.request('eth_subscribe', ['newHeads']).then(snapshots.wake, () => undefined)
  }
  subscribe()
  snapshots.wake()

  let finished = false
  async function finish(reason: string): Promise<void> {
    if (finished) return
    finished = true
    await snapshots.end()
    heads.close()
    await chain.anvil.kill()
    rpc.close()
    unlock()
    gone.resolve(reason)
  }
  watchChild(context, chain, { restarted: subscribe, lost: finish })

  function saved(): Promise<void> {
    chain.changes += 1
    return changeSaved(chain, snapshots, chain.changes)
  }

  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    chain.stopping = true
    await snapshots.end()
    try {
      if (!finished) await snapshot(context, chain)
    } catch (error) {
      const event = { level: 'error', event: 'chain-last-snapshot-failed', block: chain.durable }
      log(event, `the last snapshot failed (${reasonOf(error)}); block ${chain.durable} is kept`)
    }
    await finish('stopped')
  }

  return {
    url: `http://127.0.0.1:${port}`,
    chainId: EMBEDDED_CHAIN_ID,
    pid: () => chain.anvil.pid,
    durableBlock: () => chain.durable,
    onDurable(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async setBalance(account, wei) {
      await rpc.request('anvil_setBalance', [account, quantity(wei)])
      await saved()
    },
    saved,
    stop: () => (stopped ??= stop()),
    exited: gone.promise,
  }
}

/**
 * Snapshots whenever woken; a full disk is told once, retried with a growing pause, and told when
 * over.
 */
function startSnapshots(context: Context, chain: Supervision, onDurable: () => void): Runner {
  let told = false
  async function save(): Promise<void> {
    const before = chain.durable
    await snapshot(context, chain)
    if (chain.durable !== before) onDurable()
  }
  return startRunner(save, {
    everyMs: POLL_MS,
    retryMs: (failures) => Math.min(250 * 2 ** (failures - 1), SNAPSHOT_RETRY_MAX_MS),
    failed(error) {
      // While the child is being restarted there is nothing to dump; the restart has its own line.
      if (told || (error instanceof ChainError && error.code === 'chain-unreachable')) return
      told = true
      const code = (error as NodeJS.ErrnoException).code
      const event = { level: 'error', event: 'chain-snapshot-failed', code, block: chain.durable }
      const hint = code === 'ENOSPC' ? '; free space on this disk' : ''
      const text = `a snapshot of the chain can't be written (${reasonOf(error)}); new blocks stay \
hidden until it can${hint}`
      context.log(event, text)
    },
    recovered() {
      if (told)
        context.log({ level: 'info', event: 'chain-snapshot-recovered' }, 'snapshots work again')
      told = false
    },
  })
}

/** Resolves when change number `changes` is in a durable snapshot. */
async function changeSaved(chain: Supervision, snapshots: Runner, changes: number): Promise<void> {
  const late = AbortSignal.timeout(DURABLE_TIMEOUT_MS)
  while (chain.changesDurable < changes) {
    try {
      await snapshots.next()
    } catch (cause) {
      if (chain.stopping || late.aborted) {
        const text = 'the embedded chain could not save the change'
        throw new ChainError('snapshot-failed', text, { cause })
      }
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}

/** Restarts the child when it ends without having been asked to. */
function watchChild(
  context: Context,
  chain: Supervision,
  on: { restarted: () => void; lost: (reason: string) => Promise<void> },
): void {
  let attempts = 0
  let startedAt = context.now()

  async function restart(reason: string): Promise<void> {
    if (chain.stopping) return
    attempts = context.now() - startedAt > HEALTHY_MS ? 1 : attempts + 1
    if (attempts > RESTARTS_MAX) {
      chain.stopping = true
      await on.lost(`the embedded chain ended ${RESTARTS_MAX} times in a row (${reason})`)
      return
    }
    const event = { level: 'error', event: 'chain-restarting', attempt: attempts }
    context.log(event, `the embedded chain ended unexpectedly (${reason}); restarting it`)
    const delayMs = RESTART_DELAY_MS * 2 ** (attempts - 1)
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    if (chain.stopping) return
    try {
      const { anvil, generation } = await launch(context)
      if (chain.stopping) {
        await anvil.kill()
        return
      }
      chain.anvil = anvil
      chain.generation = generation
      startedAt = context.now()
      chain.durable = await blockNumber(context.rpc)
      on.restarted()
      void watch()
    } catch (error) {
      await chain.anvil.kill()
      await restart(reasonOf(error))
    }
  }

  const watch = (): Promise<void> => chain.anvil.exited.then(restart)
  void watch()
}

// The embedded chain: a supervised anvil whose state is snapshotted after every block. A block
// counts as durable only when a snapshot that contains it survives kill -9; whoever shows blocks to
// others shows only those. Called by the server's start-up; refuses a directory another server
// uses.

import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '../ethereum/address.ts'
import { type Anvil, EMBEDDED_CHAIN_ID, freePort, startAnvil } from './anvil.ts'
import { ChainError, reasonOf } from './error.ts'
import { quantity, type Rpc } from './jsonrpc.ts'
import { lockDirectory } from './lock.ts'
import { ANSWER_BYTES_MAX, openRpc } from './rpc.ts'
import { blockNumber, createSaver, type Saver } from './saver.ts'
import {
  type ChainLog,
  DEPLOYMENT_RECORD,
  type LoadedSnapshot,
  type OpenForWriting,
  readNewest,
} from './snapshot.ts'
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
  /** Whether strangers' transactions must be refused, so that the state stays small enough. */
  nearlyFull(): boolean
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

/** Everything that changes while the chain runs. */
interface Supervision {
  anvil: Anvil
  restarting: boolean
  stopping: boolean
}

interface Context {
  readonly directory: string
  readonly port: number
  readonly log: ChainLog
  readonly now: () => number
  readonly rpc: Rpc
}

/**
 * Starts the chain from the newest snapshot in `directory`, or an empty one. `now` is a clock in
 * ms; `openFile` replaces how snapshot files are opened and `dumpBytesMax` the largest state that
 * can be saved (tests). Throws ChainError: chain-directory-in-use, anvil-missing, anvil-failed,
 * snapshot-unreadable, snapshot-failed.
 */
export async function startEmbeddedChain(o: {
  readonly directory: string
  readonly log: ChainLog
  readonly now: () => number
  readonly openFile?: OpenForWriting
  readonly dumpBytesMax?: number
}): Promise<EmbeddedChain> {
  await mkdir(o.directory, { recursive: true, mode: 0o700 })
  const lock = lockDirectory(o.directory)
  let started: Anvil | undefined
  try {
    const port = await freePort()
    const dumpBytesMax = o.dumpBytesMax ?? ANSWER_BYTES_MAX
    const rpc = openRpc(`http://127.0.0.1:${port}`, dumpBytesMax)
    const context: Context = { ...o, port, rpc }
    const { anvil, loaded } = await launch(context)
    started = anvil
    const chain: Supervision = { anvil, restarting: false, stopping: false }
    const durable = loaded === undefined ? -1 : await blockNumber(rpc)
    const { openFile } = o
    const saver = createSaver(
      { ...context, dumpBytesMax, openFile, restarting: () => chain.restarting },
      loaded,
      durable,
    )
    // The empty chain becomes durable too: its genesis block then is the same after a kill -9.
    if (loaded === undefined) await saver.save()
    return supervise(context, chain, saver, () => lock.release())
  } catch (error) {
    await started?.kill()
    lock.release()
    if (error instanceof ChainError) throw error
    const text = `the embedded chain could not be started in ${o.directory} (${reasonOf(error)})`
    throw new ChainError('snapshot-failed', text, { cause: error })
  }
}

/** Starts anvil from the newest readable generation, or empty where there never was one. */
async function launch(
  context: Context,
): Promise<{ anvil: Anvil; loaded: LoadedSnapshot | undefined }> {
  const { directory, port, log } = context
  const loaded = await readNewest(directory, log)
  const record = join(directory, DEPLOYMENT_RECORD)
  if (loaded === undefined && existsSync(record)) {
    const text = `${record} names a contract, but there is no snapshot of its chain: put state.* \
back, or move ${directory} away to begin an empty chain without the deposits of this one`
    throw new ChainError('snapshot-unreadable', text)
  }
  const loadState = loaded === undefined ? {} : { loadState: loaded.file }
  const anvil = await startAnvil({ port, directory, ...loadState })
  // anvil has read it; unpacked it is ten times the size of the snapshot.
  if (loaded !== undefined) await rm(loaded.file, { force: true })
  return { anvil, loaded }
}

/** The running part: snapshots on every head, restarts on every unexpected end. */
function supervise(
  context: Context,
  chain: Supervision,
  saver: Saver,
  unlock: () => void,
): EmbeddedChain {
  const { rpc, port, log } = context
  const gone = Promise.withResolvers<string>()
  const heads = openSocketRpc(`ws://127.0.0.1:${port}`, { onNotification: () => saver.wake() })
  const subscribe = (): void => {
    // A lost subscription costs one pause of the saver's, so a failure here needs no other answer.
    heads.request('eth_subscribe', ['newHeads']).then(saver.wake, () => undefined)
  }
  subscribe()
  saver.wake()

  let finished = false
  async function finish(reason: string): Promise<void> {
    if (finished) return
    finished = true
    await saver.end()
    saver.close()
    heads.close()
    await chain.anvil.kill()
    rpc.close()
    unlock()
    gone.resolve(reason)
  }
  watchChild(context, chain, saver, { restarted: subscribe, lost: finish })

  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    chain.stopping = true
    await saver.end()
    try {
      if (!finished) await saver.save()
    } catch (error) {
      const block = saver.durableBlock()
      const event = { level: 'error', event: 'chain-last-snapshot-failed', block }
      log(event, `the last snapshot failed (${reasonOf(error)}); block ${block} is kept`)
    }
    await finish('stopped')
  }

  return {
    url: `http://127.0.0.1:${port}`,
    chainId: EMBEDDED_CHAIN_ID,
    pid: () => chain.anvil.pid,
    durableBlock: saver.durableBlock,
    nearlyFull: saver.nearlyFull,
    onDurable: saver.onDurable,
    async setBalance(account, wei) {
      await rpc.request('anvil_setBalance', [account, quantity(wei)])
      await saver.changed()
    },
    saved: saver.changed,
    stop: () => (stopped ??= stop()),
    exited: gone.promise,
  }
}

/** Restarts the child when it ends without having been asked to. */
function watchChild(
  context: Context,
  chain: Supervision,
  saver: Saver,
  on: { restarted: () => void; lost: (reason: string) => Promise<void> },
): void {
  let attempts = 0
  let startedAt = context.now()

  async function restart(reason: string): Promise<void> {
    if (chain.stopping) return
    chain.restarting = true
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
      await saver.relaunch(() => launchAgain(context, chain))
      startedAt = context.now()
      chain.restarting = false
      if (chain.stopping) return
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

/** Only from a snapshot: where all are gone, an empty chain would silently forget every deposit. */
async function launchAgain(context: Context, chain: Supervision): Promise<LoadedSnapshot> {
  const { anvil, loaded } = await launch(context)
  chain.anvil = anvil
  if (loaded !== undefined) return loaded
  const text = `the snapshots of the embedded chain in ${context.directory} are gone; put them back`
  throw new ChainError('snapshot-unreadable', text)
}

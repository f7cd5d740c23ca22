// Group commit: what the ledger changed in one turn of the event loop, and while a commit ran, goes
// to the store in one transaction; whoever waits for it is answered after that. Owns the one batch
// that failed, and tries it again before anything newer: nothing is lost, reordered or written
// twice. Refuses nothing itself: the doors ask failed() before they touch the ledger.

import type { Changes } from './session.ts'
import { type Storage, StorageError } from './storage.ts'

/** Runs `work` once after `ms` milliseconds; 0: when this turn of the event loop ends. */
export type Schedule = (work: () => void, ms: number) => { cancel(): void }

export interface Committer {
  /**
   * Resolves when everything that is in the ledger now is durable; rejects with the StorageError
   * when that failed (it is tried again, and may still become durable). `canWait`: some
   * milliseconds later will do, so that others can join.
   */
  durable(canWait?: boolean): Promise<void>
  /** The error that stands since the last attempt failed; undefined while the store works. */
  failed(): StorageError | undefined
  /** One last attempt to make everything durable; rejects where it fails. Nothing follows it. */
  close(): Promise<void>
}

export interface CommitterOptions {
  readonly ledger: { drain(): Changes }
  readonly storage: Pick<Storage, 'commit'>
  /** The store began to fail, or fails in another way than before. */
  onError(error: StorageError): void
  /** It works again, and everything that had failed is durable. */
  onRecovered(): void
  readonly retryMs?: number
  readonly schedule?: Schedule
}

const RETRY_MS = 1_000
/**
 * A commit costs the same for one as for many, and one turn of the event loop brings 32 datagrams
 * at most: while turns bring more it is put off, for some milliseconds at most.
 */
const GATHER_TURNS = 8

const byEventLoop: Schedule = (work, ms) => {
  if (ms === 0) {
    const immediate = setImmediate(work)
    return { cancel: () => clearImmediate(immediate) }
  }
  const timer = setTimeout(work, ms)
  return { cancel: () => clearTimeout(timer) }
}

/**
 * A commit costs some 0.2 ms of CPU however little is in it. Logins come one by one, a millisecond
 * of CPU each: so four share one, and a login takes tens of milliseconds anyway.
 */
const SHARED_MS = 4

/** All who wait for one commit share this. */
interface Waiters {
  readonly promise: Promise<void>
  /** All of them. */
  canWait: boolean
  resolve(): void
  reject(error: StorageError): void
}

function newWaiters(canWait = false): Waiters {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  // A commit may fail with nobody waiting for it: the error is told by onError.
  promise.catch(() => {})
  return { promise, canWait, resolve, reject }
}

function isEmpty(changes: Changes): boolean {
  return Object.values(changes).every((rows: readonly unknown[]) => rows.length === 0)
}

/** Any other error than a StorageError is a fault of ours: it stops the money just as well. */
function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const text = error instanceof Error ? error.message : String(error)
  return new StorageError('failed', `the store failed: ${text}`, { cause: error })
}

/** Joins a ledger and its store. */
export function createCommitter(o: CommitterOptions): Committer {
  const { ledger, storage } = o
  const schedule = o.schedule ?? byEventLoop
  const retryMs = o.retryMs ?? RETRY_MS
  let waiters: Waiters | undefined
  // Drained and not known to be durable: given to the store again as the same value, so that a
  // store that lost the answer can tell whether it has them. What is newer stays in the ledger, a
  // row once however often it changes, so that this can't grow.
  let undurable: Changes | undefined
  let error: StorageError | undefined
  let running: Promise<void> | undefined
  let soon: { cancel(): void } | undefined
  let asked = 0
  let closing = false

  async function commitOnce(): Promise<void> {
    if (undurable === undefined) {
      const changes = ledger.drain()
      if (isEmpty(changes)) return
      undurable = changes
    }
    await storage.commit(undurable)
    undurable = undefined
  }

  /** Everything there is now; throws what the store throws. */
  async function commitAll(): Promise<void> {
    const before = undurable !== undefined
    await commitOnce()
    if (before) await commitOnce()
  }

  function note(found: StorageError): void {
    const told = error?.message === found.message
    error = found
    if (!told) o.onError(found)
  }

  function takeWaiters(): Waiters | undefined {
    const taken = waiters
    waiters = undefined
    return taken
  }

  async function attempt(): Promise<void> {
    // Those who come from here on may have changed the ledger after it is drained: the next commit.
    const mine = takeWaiters()
    try {
      await commitAll()
      const recovered = error !== undefined
      error = undefined
      mine?.resolve()
      if (recovered) o.onRecovered()
    } catch (thrown) {
      const found = asStorageError(thrown)
      note(found)
      mine?.reject(found)
      // What these wait for may be in what failed, and newer changes can't pass it.
      takeWaiters()?.reject(found)
    }
  }

  function start(): void {
    soon?.cancel()
    soon = undefined
    running = attempt().finally(() => {
      running = undefined
      if (closing) return
      if (error !== undefined) soon = schedule(start, retryMs)
      // Not at once: a store that never leaves this turn would let nothing else run.
      else if (waiters !== undefined) plan(waiters)
    })
  }

  function plan({ canWait }: Waiters): void {
    if (canWait) soon = schedule(start, SHARED_MS)
    else gather(GATHER_TURNS)
  }

  /** Commits after the first turn that brings nobody new. */
  function gather(turns: number): void {
    const before = asked
    soon = schedule(() => {
      if (asked > before && turns > 1) gather(turns - 1)
      else start()
    }, 0)
  }

  return {
    durable(canWait = false) {
      if (error !== undefined) return Promise.reject(error)
      if (closing) return Promise.reject(new StorageError('failed', 'the server is stopping'))
      waiters ??= newWaiters(canWait)
      asked += 1
      const isSooner = waiters.canWait && !canWait
      if (isSooner) waiters.canWait = false
      if (running === undefined && (soon === undefined || isSooner)) {
        soon?.cancel()
        plan(waiters)
      }
      return waiters.promise
    },
    failed: () => error,
    async close() {
      closing = true
      soon?.cancel()
      await running
      soon?.cancel()
      const last = waiters ?? newWaiters()
      waiters = last
      await attempt()
      return last.promise
    },
  }
}

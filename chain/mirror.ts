// The mirror of the contract that admission reads: always in memory, kept current by new blocks,
// its staleness known. Owns the connection and the clockwork; what a block means is mirror-
// state.ts, how blocks are fetched mirror-sync.ts. It never answers from the node: a question costs
// no round trip, `refresh` one.

import type { Address } from '../ethereum/address.ts'
import { ChainError, reasonOf } from './error.ts'
import { bigintOf, quantity, type Rpc } from './jsonrpc.ts'
import {
  accountsOf,
  type BlockRef,
  type Change,
  type Channel,
  createMirrorState,
  entriesOf,
  type MirrorState,
  operatorAt,
  operatorsWithDeposit,
} from './mirror-state.ts'
import type { MirrorIdentity, MirrorStore } from './mirror-store.ts'
import { type SyncSource, syncMirror } from './mirror-sync.ts'
import { openRpc } from './rpc.ts'
import { type Runner, startRunner } from './runner.ts'
import type { ChainLog } from './snapshot.ts'
import { openSocketRpc } from './socket.ts'

/** What admission asks; answers are those of the last processed block. */
export interface ChainView {
  channel(operatorId: number, account: Address): Channel | undefined
  operatorsWithDeposit(account: Address): readonly number[]
  deviceKey(account: Address, spkiSha256: string): 'unset' | 'enabled' | 'disabled'
  operator(operatorId: number): OperatorView | undefined
  head(): BlockRef | undefined
}

/** An operator now; with a next key, both are valid. */
export interface OperatorView {
  readonly account: Address
  readonly serverSpkiSha256: string
  readonly nextServerSpkiSha256?: string
  readonly active: boolean
  readonly metadataUri: string
}

export interface Mirror extends ChainView {
  /** When the node last told us its head and we had processed it, by the clock given at start. */
  heardAtMs(): number
  /** The last attempt to catch up succeeded. */
  connected(): boolean
  /** One catching up now, at best one RPC; true when the mirror is at the head afterwards. */
  refresh(timeoutMs: number): Promise<boolean>
  /** Called with the accounts whose entries changed, by new blocks or by blocks taken back. */
  onChange(listener: (accounts: ReadonlySet<Address>) => void): () => void
  stop(): Promise<void>
}

export interface MirrorOptions {
  /** ws(s):// (new blocks are announced) or http(s):// (asked for every 2 s). */
  readonly url: string
  readonly chainId: bigint
  readonly contract: Address
  readonly deployBlock: number
  /** >= 1; 1 counts the head block. */
  readonly confirmations: number
  readonly store: MirrorStore
  /** Embedded chain: blocks above this are not looked at. */
  readonly visibleBlock?: () => number
  /** Calls back whenever visibleBlock may have risen; returns the unsubscriber. */
  readonly onVisible?: (listener: () => void) => () => void
  /** Wall clock, ms. */
  readonly now: () => number
  readonly log: ChainLog
}

/** An idle chain announces nothing: this often we ask whether the node still is there. */
const SOCKET_POLL_MS = 5_000
const HTTP_POLL_MS = 2_000
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 5_000
/**
 * A node whose head is an older block of ours that long did not just lag: blocks were taken back.
 */
const ROLL_BACK_AFTER_MS = 3_000
const BEHIND_POLL_MS = 500

/** Everything that changes while the mirror runs. */
interface Live {
  state: MirrorState
  identity: MirrorIdentity | undefined
  /** The node was checked to be of our chain since the last failure. */
  verified: boolean
  connected: boolean
  heardAtMs: number
  behindSinceMs: number | undefined
  /** The store missed something and must be written as a whole. */
  storeBehind: boolean
}

/**
 * Resolves when the mirror is at the head for the first time. Throws ChainError: chain-unreachable,
 * wrong-chain-id, contract-missing, …; afterwards failures only show in connected() and
 * heardAtMs().
 */
export async function startMirror(options: MirrorOptions): Promise<Mirror> {
  const live: Live = {
    state: createMirrorState(),
    identity: undefined,
    verified: false,
    connected: false,
    heardAtMs: Number.NEGATIVE_INFINITY,
    behindSinceMs: undefined,
    storeBehind: false,
  }
  const listeners = new Set<(accounts: ReadonlySet<Address>) => void>()
  const rpc = connect(options, () => runner.wake())
  const tell = (changes: Iterable<Change>): void => {
    const accounts = accountsOf(changes)
    if (accounts.size > 0) for (const listener of listeners) listener(accounts)
  }
  const runner = startRunner(() => catchUp(options, live, rpc, tell), {
    everyMs: rpc.everyMs,
    retryMs: (failures) =>
      live.behindSinceMs === undefined
        ? Math.min(RETRY_MIN_MS * 2 ** (failures - 1), RETRY_MAX_MS)
        : BEHIND_POLL_MS,
    failed: (error, failures) => failed(options, live, error, failures),
    recovered: () => {
      options.log({ level: 'info', event: 'chain-recovered' }, 'the Ethereum node answers again')
    },
  })
  const forget = options.onVisible?.(() => runner.wake())
  const stop = async (): Promise<void> => {
    forget?.()
    rpc.close()
    await runner.end()
  }
  try {
    await firstRun(runner, live)
  } catch (error) {
    await stop()
    throw error
  }
  return mirrorOf(options, live, runner, listeners, stop)
}

/** A node that lags is waited for as long as it takes to tell lagging from blocks taken back. */
async function firstRun(runner: Runner, live: Live): Promise<void> {
  for (;;) {
    try {
      return await runner.next()
    } catch (error) {
      if (live.behindSinceMs === undefined) throw error
      await new Promise((resolve) => setTimeout(resolve, BEHIND_POLL_MS))
    }
  }
}

/** The connection; a websocket subscribes to new heads whenever it comes up. */
function connect(options: MirrorOptions, wake: () => void): Rpc & { readonly everyMs: number } {
  if (!/^wss?:/.test(options.url)) return { ...openRpc(options.url), everyMs: HTTP_POLL_MS }
  const rpc: Rpc = openSocketRpc(options.url, {
    onOpen: () => {
      // Without the subscription the poll still finds every block, only later.
      rpc.request('eth_subscribe', ['newHeads']).then(wake, () => undefined)
    },
    onNotification: wake,
    onClose: wake,
  })
  return { ...rpc, everyMs: SOCKET_POLL_MS }
}

async function catchUp(
  options: MirrorOptions,
  live: Live,
  rpc: Rpc,
  tell: (changes: Iterable<Change>) => void,
): Promise<void> {
  let heardAtMs = Number.NEGATIVE_INFINITY
  const source = (onChanges: SyncSource['onChanges']): SyncSource => ({
    rpc,
    contract: options.contract,
    deployBlock: options.deployBlock,
    confirmations: options.confirmations,
    visibleBlock: options.visibleBlock ?? (() => Number.POSITIVE_INFINITY),
    onChanges,
    onHead: () => {
      heardAtMs = options.now()
    },
  })
  if (!live.verified) await verifyNode(options, live, rpc, tell)
  const rollBack =
    live.behindSinceMs !== undefined && options.now() - live.behindSinceMs >= ROLL_BACK_AFTER_MS
  const keep = (changes: readonly Change[]): void => {
    save(options, live, changes)
    tell(changes)
  }
  let outcome = await syncMirror(live.state, source(keep), rollBack)
  if (outcome === 'lost') {
    options.log(
      { level: 'warn', event: 'chain-rebuild' },
      'none of the known blocks is on the chain any more; reading it anew',
    )
    // The old entries answer until the new ones are complete, so that nobody is refused meanwhile.
    const rebuilt = createMirrorState()
    outcome = await syncMirror(
      rebuilt,
      source(() => undefined),
      false,
    )
    replaceState(options, live, rebuilt, tell)
  }
  if (outcome === 'behind') {
    live.behindSinceMs ??= options.now()
    throw new ChainError(
      'node-behind',
      `the Ethereum node at ${rpc.host} is behind block ${live.state.head?.number}`,
    )
  }
  live.behindSinceMs = undefined
  live.connected = true
  live.heardAtMs = heardAtMs
}

/** The node is of our chain id, and its chain is the one our blocks are of. */
async function verifyNode(
  options: MirrorOptions,
  live: Live,
  rpc: Rpc,
  tell: (changes: Iterable<Change>) => void,
): Promise<void> {
  const chainId = bigintOf(await rpc.request('eth_chainId', []))
  if (chainId !== options.chainId) {
    const text = `the Ethereum node at ${rpc.host} is of chain ${chainId}, not ${options.chainId}; \
check chain.rpc`
    throw new ChainError('wrong-chain-id', text)
  }
  const answer = await rpc.request('eth_getBlockByNumber', [quantity(options.deployBlock), false])
  const deployHash = (answer as { hash?: unknown } | null)?.hash
  if (typeof deployHash !== 'string') {
    const text = `the Ethereum node at ${rpc.host} does not have block ${options.deployBlock} \
yet, in which the contract was deployed`
    throw new ChainError('node-behind', text)
  }
  if (live.identity?.deployHash !== deployHash) {
    const { contract, deployBlock } = options
    const identity = { chainId, contract, deployBlock, deployHash }
    const first = live.identity === undefined
    live.identity = identity
    const stored = first ? options.store.load(identity) : undefined
    if (stored !== undefined) live.state = createMirrorState(stored)
    else replaceState(options, live, createMirrorState(), tell)
  }
  live.verified = true
}

function replaceState(
  options: MirrorOptions,
  live: Live,
  state: MirrorState,
  tell: (changes: Iterable<Change>) => void,
): void {
  const before = [...entriesOf(live.state)]
  live.state = state
  live.storeBehind = true
  save(options, live, [])
  tell([...before, ...entriesOf(state)])
}

/**
 * A store that can't be written costs a longer next start, nothing else: the mirror goes on in
 * memory.
 */
function save(options: MirrorOptions, live: Live, changes: readonly Change[]): void {
  const { state, identity, storeBehind } = live
  if (identity === undefined) return
  try {
    if (storeBehind) options.store.replace(identity, state.head, entriesOf(state))
    else options.store.save(state.head, changes)
    live.storeBehind = false
  } catch (error) {
    if (!storeBehind) {
      const event = { level: 'error', event: 'chain-mirror-not-saved' }
      options.log(event, `the mirror of the chain can't be saved (${reasonOf(error)})`)
    }
    live.storeBehind = true
  }
}

function failed(options: MirrorOptions, live: Live, error: unknown, failures: number): void {
  live.connected = false
  live.verified = false
  if (!(error instanceof ChainError && error.code === 'node-behind')) live.behindSinceMs = undefined
  // Start-up's own failure is thrown to its caller instead.
  if (failures > 1 || live.heardAtMs === Number.NEGATIVE_INFINITY) return
  const code = error instanceof ChainError ? error.code : 'chain-unreachable'
  const event = { level: 'error', event: 'chain-lost', code, block: live.state.head?.number }
  options.log(event, `the mirror of the chain is not current: ${reasonOf(error)}`)
}

function mirrorOf(
  options: MirrorOptions,
  live: Live,
  runner: Runner,
  listeners: Set<(accounts: ReadonlySet<Address>) => void>,
  stop: () => Promise<void>,
): Mirror {
  return {
    channel: (operatorId, account) => live.state.channels.get(account)?.get(operatorId),
    operatorsWithDeposit: (account) => operatorsWithDeposit(live.state, account),
    deviceKey: (account, spki) => live.state.deviceKeys.get(account)?.get(spki) ?? 'unset',
    operator: (operatorId) => operatorAt(live.state, operatorId, options.now() / 1_000),
    head: () => live.state.head,
    heardAtMs: () => live.heardAtMs,
    connected: () => live.connected,
    async refresh(timeoutMs) {
      const late = Promise.withResolvers<boolean>()
      const timer = setTimeout(() => late.resolve(false), timeoutMs)
      const caughtUp = runner.next().then(
        () => true,
        () => false,
      )
      return Promise.race([caughtUp, late.promise]).finally(() => clearTimeout(timer))
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop,
  }
}

// Our operator's entry in the contract: registered with a BLS key and its proof of possession when
// the account has none, updated when the server certificate's key or the URL changed. Called at
// start-up and after a change of the certificate; it never retires an operator.

import type { Address } from '../ethereum/address.ts'
import { datanetInterface, decodeOperator, type OperatorEntryRead } from './bindings.ts'
import { blsPublicKey, deriveOperatorBlsKey, provePossession } from './bls.ts'
import type { EmbeddedChain } from './embedded.ts'
import { ChainError } from './error.ts'
import { bigintOf, numberOf, type Rpc } from './jsonrpc.ts'
import { openRpc } from './rpc.ts'
import { DEVELOPMENT_CHAINS, openSender, readContract, type Sender } from './transactions.ts'

/** The clock of an operator's blocks, in seconds (payplace 4.3); fixed at registration. */
export interface Timing {
  readonly beta: number
  readonly gamma: number
  readonly delta: number
  readonly challenge: number
  readonly eta: number
}

/**
 * The node: our own chain, where a change is awaited until it is durable, or the url of another.
 */
export type OperatorPlace =
  | { readonly kind: 'embedded'; readonly chain: Pick<EmbeddedChain, 'url' | 'saved'> }
  | { readonly kind: 'external'; readonly url: string }

/** What the account's entry is to say. */
export interface OperatorEntry {
  readonly place: OperatorPlace
  readonly contract: Address
  readonly operatorKey: Uint8Array
  /** Base URL of our HTTP interface, at most 256 bytes; '' where there is none. */
  readonly metadataUri: string
  /** 64 hex digits. */
  readonly serverSpkiSha256: string
  /** For a registration; default by chain id. */
  readonly timing?: Timing
}

/** Which id we have, and what had to be done for it. */
export interface EnsuredOperator {
  readonly operatorId: number
  readonly done: 'registered' | 'updated' | 'nothing'
}

const DEVELOPMENT_TIMING = { beta: 60, gamma: 15, delta: 3, challenge: 130, eta: 30 } as const
const PUBLIC_TIMING = {
  beta: 86_400,
  gamma: 3_600,
  delta: 900,
  challenge: 172_800,
  eta: 30,
} as const
/** One eth_call each, newest first; an account's own operator is found long before this. */
const OPERATORS_SEARCHED_MAX = 10_000
/** A node takes batches of this size everywhere (public ones limit them to 50-100). */
const BATCH = 20
/** Someone else may take the id that our proof names; then it is made anew. */
const REGISTRATIONS_MAX = 3

/** Periods by which blocks are made: minutes on a development chain, a day on a public one. */
export function defaultTiming(chainId: bigint): Timing {
  return DEVELOPMENT_CHAINS.includes(chainId) ? DEVELOPMENT_TIMING : PUBLIC_TIMING
}

/**
 * Makes the account's entry say what `entry` says. Throws ChainError: operator-retired,
 * transaction-failed, …
 */
export async function ensureOperator(entry: OperatorEntry): Promise<EnsuredOperator> {
  const { place } = entry
  const rpc = openRpc(place.kind === 'embedded' ? place.chain.url : place.url)
  try {
    const ensured = await ensureEntry(rpc, entry)
    if (place.kind === 'embedded' && ensured.done !== 'nothing') await place.chain.saved()
    return ensured
  } finally {
    rpc.close()
  }
}

async function ensureEntry(rpc: Rpc, entry: OperatorEntry): Promise<EnsuredOperator> {
  const chainId = bigintOf(await rpc.request('eth_chainId', []))
  const sender = openSender({ rpc, chainId, privateKey: entry.operatorKey })
  const found = await findOperator(rpc, entry.contract, sender.account)
  if (found === undefined) {
    const operatorId = await register(rpc, chainId, sender, entry)
    return { operatorId, done: 'registered' }
  }
  if (!found.active) {
    const text = `operator ${found.operatorId} of account ${sender.account} is retired for good; \
use another operator key`
    throw new ChainError('operator-retired', text)
  }
  // With a change under way the announced key is the one that counts.
  const announced = found.nextServerSpkiSha256 ?? found.serverSpkiSha256
  const { operatorId } = found
  if (announced === entry.serverSpkiSha256 && found.metadataUri === entry.metadataUri) {
    return { operatorId, done: 'nothing' }
  }
  const args = [operatorId, entry.metadataUri, `0x${entry.serverSpkiSha256}`]
  const data = datanetInterface.encodeFunctionData('updateOperator', args)
  await sender.send({ to: entry.contract, data, what: 'updateOperator' })
  return { operatorId, done: 'updated' }
}

interface FoundOperator extends OperatorEntryRead {
  readonly operatorId: number
}

async function operatorCount(rpc: Rpc, contract: Address): Promise<number> {
  const data = datanetInterface.encodeFunctionData('operatorCount')
  const answer = await readContract(rpc, contract, data)
  return Number(datanetInterface.decodeFunctionResult('operatorCount', answer)[0])
}

/** The account's newest operator that is active, else its newest one. */
async function findOperator(
  rpc: Rpc,
  contract: Address,
  account: Address,
): Promise<FoundOperator | undefined> {
  const count = await operatorCount(rpc, contract)
  const last = Math.max(1, count - OPERATORS_SEARCHED_MAX + 1)
  let retired: FoundOperator | undefined
  for (let from = count; from >= last; from -= BATCH) {
    const ids = Array.from({ length: Math.min(BATCH, from - last + 1) }, (_, i) => from - i)
    const calls = ids.map((id) => {
      const data = datanetInterface.encodeFunctionData('operator', [id])
      return { method: 'eth_call', params: [{ to: contract, data }, 'latest'] }
    })
    const answers = await rpc.batch(calls)
    for (const [i, answer] of answers.entries()) {
      const found = { ...decodeOperator(String(answer)), operatorId: ids[i] ?? 0 }
      if (found.account !== account) continue
      if (found.active) return found
      retired ??= found
    }
  }
  return retired
}

async function register(
  rpc: Rpc,
  chainId: bigint,
  sender: Sender,
  entry: OperatorEntry,
): Promise<number> {
  const { contract } = entry
  const blsKey = deriveOperatorBlsKey({ accountKey: entry.operatorKey, chainId, contract })
  const info = {
    payout: sender.account,
    serverSpkiHash: `0x${entry.serverSpkiSha256}`,
    metadataURI: entry.metadataUri,
  }
  for (let attempt = 1; ; attempt++) {
    const operatorId = (await operatorCount(rpc, contract)) + 1
    const head = (await rpc.request('eth_getBlockByNumber', ['latest', false])) as {
      timestamp?: unknown
    } | null
    // g0 may not lie in the future of the block that registers us; the head's time never does.
    const timing = { g0: numberOf(head?.timestamp), ...(entry.timing ?? defaultTiming(chainId)) }
    const claim = { account: sender.account, contract, chainId, operatorId }
    const args = [info, timing, blsPublicKey(blsKey), provePossession(blsKey, claim)]
    const data = datanetInterface.encodeFunctionData('registerOperator', args)
    try {
      await sender.send({ to: contract, data, what: 'registerOperator' })
      return operatorId
    } catch (error) {
      const idTaken = (await operatorCount(rpc, contract)) >= operatorId
      if (!idTaken || attempt === REGISTRATIONS_MAX) throw error
    }
  }
}

// Everything about the chain that the server needs, started in order: the node (embedded or not),
// the contract, this operator's entry in it, the mirror. Called by main.ts, which gets one value
// with a stop.

import { ensureAttestor } from '../chain/attestor.ts'
import { type ContractPlace, type Contracts, ensureContracts } from '../chain/deploy.ts'
import { type EmbeddedChain, startEmbeddedChain } from '../chain/embedded.ts'
import { openFaucet } from '../chain/faucet.ts'
import { type Mirror, startMirror } from '../chain/mirror.ts'
import { type MirrorStore, openMirrorStore } from '../chain/mirror-store.ts'
import { ensureOperator, type OperatorPlace } from '../chain/operator.ts'
import { PROXY_ANSWER_BYTES_MAX } from '../chain/proxy.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Config } from '../config/config.ts'
import { accountOf } from '../ethereum/signature.ts'
import type { OperatorCertificate } from './certificate.ts'
import { openChainProxy } from './chain-proxy.ts'
import type { DataPaths } from './data.ts'
import type { EmbeddedServices, OperatorFacts } from './http-public.ts'
import type { Log } from './log.ts'

/** The chain as the server uses it. */
export interface ChainSide {
  readonly facts: OperatorFacts
  readonly mirror: Mirror
  readonly rpcUrl: string
  readonly embedded: EmbeddedServices | undefined
  readonly durableBlock: (() => number) | undefined
  /** The embedded chain as its keeper sees it; undefined on any other. */
  readonly own: Pick<EmbeddedChain, 'durableBlock' | 'saved'> | undefined
  /**
   * The SPKI hashes devices accept for this operator now: the one in force and an announced one.
   */
  pinnedSpki(): readonly string[]
  /** Resolves with the reason when the embedded chain can't be kept running. */
  readonly failed: Promise<string>
  stop(): Promise<void>
}

export interface ChainSideOptions {
  readonly config: Config
  readonly paths: DataPaths
  readonly operatorKey: Buffer
  readonly certificate: OperatorCertificate
  readonly log: Log
  readonly now: () => number
}

/** Starts it all; on a failure what was started is stopped again before the error goes up. */
export async function startChain(o: ChainSideOptions): Promise<ChainSide> {
  const { config, paths, log, now } = o
  const chainLog = (event: object, text: string): void => {
    const level = 'level' in event ? event.level : 'info'
    log[level === 'error' ? 'error' : level === 'warn' ? 'warn' : 'info'](withoutLevel(event), text)
  }
  const chain =
    config.chain.rpc === 'embedded'
      ? await startEmbeddedChain({ directory: paths.chain, log: chainLog, now })
      : undefined
  let store: MirrorStore | undefined
  try {
    const place: ContractPlace =
      chain === undefined
        ? { kind: 'external', url: config.chain.rpc, contract: config.chain.contract }
        : { kind: 'embedded', chain }
    const contracts = await findContracts(o, place)
    const url = chain?.url ?? config.chain.rpc
    const { operatorId, done } = await ensureOperator({
      ...{ place, contract: contracts.contract, operatorKey: o.operatorKey },
      metadataUri: config.http.publicUrl ?? '',
      serverSpkiSha256: o.certificate.spkiSha256,
      ...(config.payplace.timing === undefined ? {} : { timing: config.payplace.timing }),
    })
    if (done !== 'nothing') log.info({ operatorId }, `operator ${done} in the contract`)
    await nameAttestor(o, place, contracts, operatorId)
    store = openMirrorStore(paths.database)
    const mirror = await startMirror({
      ...{ url, store, now, log: chainLog },
      ...{ chainId: contracts.chainId, contract: contracts.contract },
      ...{ deployBlock: contracts.deployBlock, confirmations: config.chain.confirmations },
      ...(chain === undefined ? {} : gate(chain)),
    })
    return assemble(o, { chain, contracts, operatorId, mirror, store, url })
  } catch (error) {
    store?.close()
    await chain?.stop()
    throw error
  }
}

/** Without it the server runs all the same: only summaries of its consumers are not attested. */
async function nameAttestor(
  { operatorKey, log }: ChainSideOptions,
  place: OperatorPlace,
  { activity }: Contracts,
  operatorId: number,
): Promise<void> {
  try {
    const named = await ensureAttestor({ place, activity, operatorKey, operatorId })
    if (named === 'other') log.warn('the operator account is not among its attestors')
    if (named === 'set') log.info({ operatorId }, 'operator account named as attestor')
  } catch (error) {
    log.warn({ err: error }, 'the operator account could not be named as attestor of activities')
  }
}

/** Of the embedded chain the mirror sees only what a durable snapshot holds. */
const gate = (chain: EmbeddedChain) => ({
  visibleBlock: () => chain.durableBlock(),
  onVisible: (listener: () => void) => chain.onDurable(listener),
})

function withoutLevel(event: object): object {
  const { level: _, ...rest } = event as { level?: unknown }
  return rest
}

async function findContracts(o: ChainSideOptions, place: ContractPlace): Promise<Contracts> {
  const { operatorKey, paths, log } = o
  const contracts = await ensureContracts({ place, operatorKey, directory: paths.chain })
  if (contracts.replaced !== undefined) {
    const both = { before: contracts.replaced, now: contracts.contract }
    log.warn(
      both,
      'the contract has changed: a new one was deployed, deposits in the old one stay there',
    )
  }
  return contracts
}

interface Parts {
  readonly chain: EmbeddedChain | undefined
  readonly contracts: Contracts
  readonly operatorId: number
  readonly mirror: Mirror
  readonly store: MirrorStore
  readonly url: string
}

/** The services of the embedded chain, and how they end. */
function openEmbedded(chain: EmbeddedChain, contracts: Contracts, operatorKey: Buffer) {
  const { contract, token, activity } = contracts
  const faucet = openFaucet({ chain, token, contract, operatorKey })
  const rpc = openRpc(chain.url, PROXY_ANSWER_BYTES_MAX)
  const proxy = openChainProxy({ chain, rpc, contracts: { contract, token, activity } })
  const services: EmbeddedServices = {
    fund: async (account, amount) => (await faucet.fund(account, amount)).transactionHash,
    proxy,
  }
  const close = (): void => {
    faucet.close()
    rpc.close()
  }
  return { services, close }
}

function assemble(o: ChainSideOptions, parts: Parts): ChainSide {
  const { chain, contracts, operatorId, mirror } = parts
  const embedded = chain === undefined ? undefined : openEmbedded(chain, contracts, o.operatorKey)
  return {
    facts: {
      operatorId,
      account: accountOf(o.operatorKey),
      contract: contracts.contract,
      chainId: contracts.chainId,
      deployBlock: contracts.deployBlock,
      activity: contracts.activity,
      token: {
        address: contracts.token,
        symbol: contracts.tokenSymbol,
        decimals: contracts.tokenDecimals,
      },
    },
    mirror,
    rpcUrl: parts.url,
    embedded: embedded?.services,
    durableBlock: chain === undefined ? undefined : () => chain.durableBlock(),
    own: chain,
    pinnedSpki() {
      const operator = mirror.operator(operatorId)
      const hashes = [operator?.serverSpkiSha256, operator?.nextServerSpkiSha256]
      return hashes.filter((hash) => hash !== undefined)
    },
    failed: chain?.exited ?? new Promise(() => {}),
    async stop() {
      embedded?.close()
      await mirror.stop()
      parts.store.close()
      await chain?.stop()
    },
  }
}

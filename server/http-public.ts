// The routes a device may call: who the operator is, the faucet and the chain proxy of the embedded
// chain. Every body passes a strict schema before it becomes a value. Called by http.ts.

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { baseUnits } from '../accounting/tariff.ts'
import type { ActivityContracts } from '../chain/activity-calls.ts'
import { ChainError } from '../chain/error.ts'
import { countCalls } from '../chain/proxy.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { HttpError } from './http-error.ts'
import type { Log } from './log.ts'
import type { Runtime } from './runtime.ts'

/** The facts of this operator on this chain, fixed once the server has started. */
export interface OperatorFacts {
  readonly operatorId: number
  readonly account: Address
  readonly contract: Address
  readonly chainId: bigint
  /** No event of the contract is older. */
  readonly deployBlock: number
  readonly token: { readonly address: Address; readonly symbol: string; readonly decimals: number }
  /** Where activities are published, and who judges their evidence. */
  readonly activity: ActivityContracts
}

/** What only the embedded chain offers; absent on any other. */
export interface EmbeddedServices {
  /** Mints test tokens and gives gas; resolves once a durable snapshot holds it. */
  fund(account: Address, amount: bigint): Promise<string>
  /** One JSON-RPC body (single or batch) through the proxy's policy. */
  proxy(body: unknown): Promise<unknown>
}

export interface PublicDeps {
  readonly runtime: () => Runtime
  readonly facts: OperatorFacts
  readonly embedded: EmbeddedServices | undefined
  /** Where access points send their requests, for what `device create` prints. */
  readonly radiusPorts: { readonly auth: number; readonly accounting: number }
  /** The URL devices reach this server under. */
  readonly baseUrl: () => string
  /** The node devices use on a chain that is not embedded. */
  readonly chainRpc: string
  readonly now: () => number
  readonly log: Log
}

const FAUCET_TOKENS_MAX = '1000'
const FAUCET_PER_MINUTE = 10
const FAUCET_PER_DAY = 1_000
const CHAIN_PER_SECOND = 20
/** More addresses in one second are a flood from forged or rented ones. */
const CHAIN_ADDRESSES_MAX = 10_000
const SECOND_MS = 1_000
const DAY_MS = 86_400_000

const FaucetBody = z.strictObject({
  account: z.string(),
  amount: z.string().regex(/^[1-9]\d{0,29}$/, 'a whole number of base units'),
})

/** Registers the public routes. */
export function publicRoutes(routes: FastifyInstance, deps: PublicDeps): void {
  routes.get('/v1/operator', async () => operatorAnswer(deps))
  const { embedded } = deps
  if (embedded === undefined) return
  const faucetLimit = { rateLimit: { max: FAUCET_PER_MINUTE, timeWindow: 60_000 } }
  const day = { startedAtMs: deps.now(), calls: 0 }
  routes.post('/v1/faucet', { config: faucetLimit }, async (request) => {
    const { account, amount } = readFaucet(request.body, deps.facts.token.decimals)
    takeDailyTurn(day, deps.now())
    const transactionHash = await embedded.fund(account, amount).catch(refuseFunding)
    deps.log.info({ account, amount: amount.toString() }, 'faucet')
    return { account: checksumAddress(account), amount: amount.toString(), transactionHash }
  })
  const chainLimit = { rateLimit: { max: CHAIN_PER_SECOND, timeWindow: SECOND_MS } }
  const budget = createCallBudget()
  routes.post('/v1/chain', { config: chainLimit }, async (request, reply) => {
    if (!budget.take(request.ip, countCalls(request.body), deps.now())) {
      reply.header('retry-after', '1')
      const message = `the chain takes ${CHAIN_PER_SECOND} calls a second from one address`
      throw new HttpError(429, 'too-many-requests', message)
    }
    return embedded.proxy(request.body)
  })
}

/**
 * Calls by address in the running second, each call of a batch counted; forgotten when the next
 * second begins, so the table holds what one second brings.
 */
function createCallBudget(): { take(address: string, calls: number, nowMs: number): boolean } {
  const taken = new Map<string, number>()
  let startedAtMs = 0
  return {
    take(address, calls, nowMs) {
      // Also when the clock was set back: else everybody would wait for the old time.
      if (Math.abs(nowMs - startedAtMs) >= SECOND_MS) {
        taken.clear()
        startedAtMs = nowMs
      }
      const before = taken.get(address)
      if (before === undefined && taken.size >= CHAIN_ADDRESSES_MAX) return false
      const after = (before ?? 0) + calls
      if (after > CHAIN_PER_SECOND) return false
      taken.set(address, after)
      return true
    },
  }
}

function readFaucet(body: unknown, decimals: number): { account: Address; amount: bigint } {
  const parsed = FaucetBody.safeParse(body)
  if (!parsed.success) {
    throw new HttpError(400, 'malformed-request', z.prettifyError(parsed.error))
  }
  const account = parseAddress(parsed.data.account)
  if (account === undefined) {
    throw new HttpError(400, 'malformed-request', 'account: 0x and 40 hex digits are expected')
  }
  const amount = BigInt(parsed.data.amount)
  const most = baseUnits(FAUCET_TOKENS_MAX, decimals) ?? 0n
  if (amount > most) {
    const message = `the faucet gives at most ${FAUCET_TOKENS_MAX} tokens a call`
    throw new HttpError(422, 'amount-too-large', message)
  }
  return { account, amount }
}

/** What the person at the device can do is to try again; the rest is the operator's to mend. */
function refuseFunding(error: unknown): never {
  if (!(error instanceof ChainError)) throw error
  if (error.code === 'account-refused') throw new HttpError(422, error.code, error.message)
  throw new HttpError(503, 'chain-unavailable', 'the chain does not answer; try again in a minute')
}

function takeDailyTurn(day: { startedAtMs: number; calls: number }, nowMs: number): void {
  if (nowMs - day.startedAtMs >= DAY_MS) {
    day.startedAtMs = nowMs
    day.calls = 0
  }
  if (day.calls >= FAUCET_PER_DAY) {
    throw new HttpError(429, 'too-many-requests', 'the faucet has given enough for today')
  }
  day.calls += 1
}

function operatorAnswer(deps: PublicDeps): object {
  const { config, certificate, rules } = deps.runtime()
  const { facts } = deps
  const { confirmations } = config.chain
  const tariffs = [...rules.tariffs.values()].map((tariff) => ({
    name: tariff.name,
    perMinute: tariff.perMinute.toString(),
    perMegabyte: tariff.perMegabyte.toString(),
    intervalSeconds: tariff.intervalMs / 1000,
    intervalMegabytes: tariff.intervalMegabytes,
    missedMax: tariff.missedMax,
    graceSeconds: tariff.graceMs / 1000,
  }))
  return {
    name: config.operator.name,
    operatorId: facts.operatorId,
    account: checksumAddress(facts.account),
    contract: checksumAddress(facts.contract),
    chainId: Number(facts.chainId),
    deployBlock: facts.deployBlock,
    activity: {
      activities: checksumAddress(facts.activity.activities),
      attestors: checksumAddress(facts.activity.attestors),
      devices: checksumAddress(facts.activity.devices),
    },
    confirmations,
    rpc: deps.embedded === undefined ? deps.chainRpc : `${deps.baseUrl()}/v1/chain`,
    token: { ...facts.token, address: checksumAddress(facts.token.address) },
    serverSpkiSha256: certificate.spkiSha256,
    serverName: certificate.serverName,
    certificates: certificate.certificates,
    tariffs,
    radius: deps.radiusPorts,
  }
}

// Tokens into escrow: the faucet on the embedded chain, the account's own tokens on any other, then
// the deposit, with one operator or split over several. Sends transactions of the device's account
// only. Called by create, topup and shift.

import { type DepositPart, deposit as depositOwn } from '../chain/calls.ts'
import type { RpcRequest } from '../chain/transactions.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { shown } from './amounts.ts'
import type { ChainReader } from './chain.ts'
import { DeviceError } from './error.ts'
import { refusalOf, requestJson } from './http.ts'

/** Where a deposit goes and whose it is. */
export interface Deposit {
  readonly accountKey: Buffer
  /** One transaction puts them all in escrow, or none. */
  readonly parts: readonly DepositPart[]
  readonly operatorUrl: string
  readonly contract: Address
  readonly chainId: bigint
  readonly token: Token
}

interface Token {
  readonly address: Address
  readonly symbol: string
  readonly decimals: number
}

/** What the account must hold before something else is done. */
export interface Need {
  /** Whose faucet is asked. */
  readonly operatorUrl: string
  readonly amount: bigint
  readonly token: Token
}

/** The node, where progress is told, and the time (Unix s) that a permit ends by. */
export interface DepositDeps {
  readonly rpc: RpcRequest
  readonly chain: ChainReader
  readonly progress: (line: string) => void
  readonly nowSeconds: number
}

// The faucet's own limits: what two minutes give is what one command draws.
const FAUCET_TOKENS_A_CALL = 1000n
const FAUCET_CALLS_A_MINUTE = 10n
const FAUCET_MINUTES = 2n
const FAUCET_TIMEOUT_MS = 30_000
// Its limit is counted by the minute; others may take the next minute's calls, so twice.
const WAIT_SECONDS_MAX = 60
const WAITS_MAX = 2
// Approve and deposit take about 150,000 gas; at a generous 100 gwei that is 0.015 of the
// chain's coin.
const GAS_WEI_LOW = 15n * 10n ** 15n

/**
 * Brings the parts into escrow and returns the transaction hash of the deposit, mined.
 * Throws DeviceError 'unavailable' where tokens or gas are missing, ChainError where the chain
 * refuses.
 */
export async function depositTokens(deposit: Deposit, deps: DepositDeps): Promise<string> {
  const account = accountOf(deposit.accountKey)
  const { accountKey: privateKey, chainId, contract, token, operatorUrl, parts } = deposit
  const amount = parts.reduce((sum, part) => sum + part.amount, 0n)
  await drawTokens({ operatorUrl, amount, token }, account, deps)
  const receipt = await depositOwn(
    { rpc: deps.rpc, chainId, contract, token: token.address },
    { privateKey },
    parts,
    deps.nowSeconds,
  )
  for (const part of parts) {
    deps.progress(`deposited ${shown(part.amount, token)} with operator ${part.operatorId}`)
  }
  return receipt.transactionHash
}

/**
 * One deposit in equal parts, the first with what is left over. Throws DeviceError 'usage' where an
 * operator is named twice or a part would be nothing.
 */
export function splitEvenly(amount: bigint, operatorIds: readonly number[]): DepositPart[] {
  if (new Set(operatorIds).size !== operatorIds.length) {
    throw new DeviceError('usage', 'an operator is named twice')
  }
  const count = BigInt(operatorIds.length)
  if (amount < count) throw new DeviceError('usage', 'AMOUNT is too little to be split')
  const part = amount / count
  return operatorIds.map((operatorId, index) => {
    return { operatorId, amount: index === 0 ? amount - part * (count - 1n) : part }
  })
}

/** What `drawTokens` reads, and where it tells progress. */
type DrawDeps = Pick<DepositDeps, 'chain' | 'progress'>

/**
 * Makes sure the account has the tokens and the gas, by the faucet where the operator has one.
 * Throws DeviceError 'unavailable' where they are missing.
 */
export async function drawTokens(need: Need, account: Address, deps: DrawDeps): Promise<void> {
  const { token, amount } = need
  const held = await deps.chain.tokenBalance(token.address, account)
  const gas = await deps.chain.gasBalance(account)
  const missing = amount > held ? amount - held : 0n
  if (missing === 0n && gas >= GAS_WEI_LOW) return
  const most = FAUCET_TOKENS_A_CALL * unitOf(token)
  if (missing > faucetMost(token)) {
    throw lacking(need, account, held, `; ${faucetLimit(token)}`)
  }
  // One base unit where only gas is missing: the faucet brings both.
  const wanted = missing === 0n ? 1n : missing
  for (let left = wanted; left > 0n; left -= most) {
    const part = { amount: left < most ? left : most, drawn: wanted - left }
    if (await drawOnce(need, account, part, deps)) continue
    if (missing > 0n) throw lacking(need, account, held, '')
    if (gas > 0n) return // too little by our guess only: the chain decides
    const problem = `${checksumAddress(account)} has nothing to pay the chain's gas with`
    throw new DeviceError('unavailable', `${problem}: send it some, then try again`)
  }
}

/** False where this operator has no faucet: it is not on the embedded chain. */
async function drawOnce(
  { operatorUrl, token }: Need,
  account: Address,
  { amount, drawn }: { readonly amount: bigint; readonly drawn: bigint },
  deps: DrawDeps,
): Promise<boolean> {
  const body = { account: checksumAddress(account), amount: amount.toString() }
  for (let attempt = 1; ; attempt++) {
    const url = `${operatorUrl}/v1/faucet`
    const answer = await requestJson(url, { body, timeoutMs: FAUCET_TIMEOUT_MS })
    if (answer.status === 404) return false
    if (answer.status === 200) break
    const waitSeconds = answer.status === 429 ? answer.retryAfterSeconds : undefined
    // Without Retry-After it is the limit of the day, which is not worth waiting for.
    if (waitSeconds === undefined || waitSeconds > WAIT_SECONDS_MAX || attempt > WAITS_MAX) {
      const problem = `the faucet gives nothing now: ${refusalOf(answer)}`
      if (answer.status !== 429) throw new DeviceError('unavailable', problem)
      const when = waitSeconds === undefined ? 'tomorrow' : 'in a minute'
      const kept = `nothing is deposited yet, ${shown(drawn, token)} drawn so far stay on the account`
      const rest = `${faucetLimit(token)}; ${kept}: try again ${when}`
      throw new DeviceError('unavailable', `${problem}; ${rest}`)
    }
    deps.progress(`the faucet is busy: waiting ${waitSeconds} s`)
    await new Promise((resolve) => setTimeout(resolve, waitSeconds * 1000))
  }
  deps.progress(`drew ${shown(amount, token)} from the faucet`)
  return true
}

const unitOf = (token: Pick<Token, 'decimals'>): bigint => 10n ** BigInt(token.decimals)

/** The most base units one command may draw from a faucet. */
export function faucetMost(token: Pick<Token, 'decimals'>): bigint {
  return FAUCET_TOKENS_A_CALL * FAUCET_CALLS_A_MINUTE * FAUCET_MINUTES * unitOf(token)
}

/** The faucet's limits in words. */
export function faucetLimit({ symbol }: Pick<Token, 'symbol'>): string {
  const most = `at most ${FAUCET_TOKENS_A_CALL} ${symbol} a call`
  return `the faucet gives ${most} and takes ${FAUCET_CALLS_A_MINUTE} calls a minute`
}

function lacking(
  { token, amount }: Need,
  account: Address,
  held: bigint,
  more: string,
): DeviceError {
  const has = `${checksumAddress(account)} has ${shown(held, token)}, ${shown(amount, token)} needed`
  return new DeviceError('unavailable', `${has}${more}: send it the rest, then try again`)
}

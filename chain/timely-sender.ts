// Transactions that are of no use after some moment: what isn't mined is sent again for more, and
// given up in time. Owns nonces and fees of one account's such transactions; one after the other.
// What is worth sending is the caller's business. Called by the operator's notary.

import { Transaction, Wallet } from 'ethers'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { ChainError, reasonOf } from './error.ts'
import { numberOf, quantity } from './jsonrpc.ts'
import {
  type Call,
  estimateGas,
  type Fees,
  feesNow,
  type Receipt,
  type RpcRequest,
  refusalOf,
  refuseDevelopmentKey,
  withoutGas,
} from './transactions.ts'

/** A call of a contract that must be in a block before a moment. */
export interface TimelyCall extends Call {
  readonly to: Address
  /** Unix ms; nothing is sent or awaited after it. */
  readonly deadlineMs: number
}

export interface TimelySender {
  readonly account: Address
  /**
   * Resolves when mined and successful. Throws ChainError: transaction-failed (with the contract's
   * reason), transaction-timeout, insufficient-funds, chain-unreachable.
   */
  send(call: TimelyCall): Promise<Receipt>
}

export interface TimelySenderOptions {
  readonly rpc: RpcRequest
  readonly chainId: bigint
  readonly privateKey: Uint8Array
  /** Wall clock, ms. */
  readonly now: () => number
  /** After how long without a block it is sent again for more. */
  readonly resendMs?: number
}

/** Two slots of Ethereum: one full block is no reason to pay more. */
const RESEND_MS = 24_000
/** Nodes take a replacement for a tenth more; a little above is the same everywhere. */
const RAISE_PERCENT = 125n
/** 1.25^20 is some 86 times the first fee: then something else is wrong. */
const RAISES_MAX = 20
const PAUSE_MIN_MS = 20
const PAUSE_MAX_MS = 1_000
const UNDERPRICED = /underpriced|fee too low|replacement/i
const NONCE_USED = /nonce too low/i
const NONCE_TAKEN = /nonce too low|already known|already imported/i

interface Unmined {
  readonly nonce: number
  fees: Fees
  raises: number
  readonly hashes: string[]
}

/** A sender for one key. */
export function openTimelySender(o: TimelySenderOptions): TimelySender {
  const account = accountOf(o.privateKey)
  refuseDevelopmentKey(account, o.chainId)
  const wallet = new Wallet(`0x${Buffer.from(o.privateKey).toString('hex')}`)
  // What was given up may still stand in a pool: the next one takes its place, for more.
  let unmined: Unmined | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function begin(): Promise<Unmined> {
    const count = await o.rpc.request('eth_getTransactionCount', [account, 'latest'])
    const nonce = numberOf(count)
    const fees = await feesNow(o.rpc)
    const stuck = unmined?.nonce === nonce ? unmined : undefined
    return { nonce, fees: stuck === undefined ? fees : larger(fees, stuck), raises: 0, hashes: [] }
  }

  async function submit(call: TimelyCall, gasLimit: bigint): Promise<Unmined> {
    let one = await begin()
    for (;;) {
      try {
        await post(call, gasLimit, one)
        return one
      } catch (error) {
        if (one.raises >= RAISES_MAX) throw withoutGas(account, call, error)
        const reason = reasonOf(error)
        // Someone else sent with this account meanwhile: what it had is another number now.
        if (NONCE_TAKEN.test(reason)) one = { ...(await begin()), raises: one.raises + 1 }
        else if (UNDERPRICED.test(reason)) raise(one)
        else throw withoutGas(account, call, error)
      }
    }
  }

  async function post(call: TimelyCall, gasLimit: bigint, one: Unmined): Promise<void> {
    const { to, data } = call
    const { nonce, fees } = one
    const transaction = Transaction.from({
      ...{ ...fees, chainId: o.chainId, nonce, gasLimit, data },
      to: checksumAddress(to),
    })
    const raw = await wallet.signTransaction(transaction)
    one.hashes.push(String(await o.rpc.request('eth_sendRawTransaction', [raw])))
    unmined = one
  }

  async function sendOne(call: TimelyCall): Promise<Receipt> {
    const gasLimit = call.gas ?? (await estimateGas(o.rpc, account, call))
    if (o.now() >= call.deadlineMs) throw late(call)
    let one = await submit(call, gasLimit)
    let isUsed = false
    let resendAtMs = o.now() + (o.resendMs ?? RESEND_MS)
    for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(pauseMs * 1.5, PAUSE_MAX_MS)) {
      const receipt = await minedOf(one.hashes)
      if (receipt !== undefined) {
        unmined = undefined
        return settled(call, receipt)
      }
      if (o.now() >= call.deadlineMs) throw late(call)
      if (isUsed) {
        // None of these is in a block but another one of this account: given up, and mined after
        // all. This call still is to come.
        const { hashes } = one
        one = await submit(call, gasLimit)
        one.hashes.unshift(...hashes)
        isUsed = false
      } else if (o.now() >= resendAtMs && one.raises < RAISES_MAX) {
        raise(one)
        resendAtMs = o.now() + (o.resendMs ?? RESEND_MS)
        // Refused: the first one is in a block, or its fee is still the better offer.
        isUsed = await post(call, gasLimit, one).then(
          () => false,
          (error: unknown) => NONCE_USED.test(reasonOf(error)),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  async function minedOf(hashes: readonly string[]): Promise<Mined | undefined> {
    for (const hash of hashes) {
      const answer = (await o.rpc.request('eth_getTransactionReceipt', [hash])) as Mined | null
      if (typeof answer?.blockNumber === 'string') return { ...answer, transactionHash: hash }
    }
    return undefined
  }

  async function settled(call: TimelyCall, mined: Mined): Promise<Receipt> {
    const { transactionHash } = mined
    const blockNumber = numberOf(mined.blockNumber)
    if (mined.status === '0x1') return { transactionHash, blockNumber }
    const reason = await refusalOf({ rpc: o.rpc, account }, call, quantity(blockNumber))
    throw new ChainError('transaction-failed', `${call.what} was refused${reason}`)
  }

  return {
    account,
    send(call) {
      const sent = last.then(() => sendOne(call))
      last = sent.catch(() => undefined)
      return sent
    },
  }
}

interface Mined {
  readonly blockNumber: unknown
  readonly status: unknown
  readonly transactionHash: string
}

function late({ what }: TimelyCall): ChainError {
  return new ChainError('transaction-timeout', `${what} did not get into a block in time`)
}

function raise(one: Unmined): void {
  one.fees = raised(one.fees)
  one.raises += 1
}

const more = (wei: bigint): bigint => (wei * RAISE_PERCENT) / 100n + 1n

function raised(fees: Fees): Fees {
  if (fees.type === 0) return { type: 0, gasPrice: more(fees.gasPrice) }
  const { maxFeePerGas, maxPriorityFeePerGas } = fees
  return {
    type: 2,
    maxFeePerGas: more(maxFeePerGas),
    maxPriorityFeePerGas: more(maxPriorityFeePerGas),
  }
}

/** Today's fees, or what replaces one that is stuck where that is more. */
function larger(fees: Fees, stuck: Unmined): Fees {
  const next = raised(stuck.fees)
  const price = (of: Fees): bigint => (of.type === 0 ? of.gasPrice : of.maxFeePerGas)
  return price(next) > price(fees) ? next : fees
}

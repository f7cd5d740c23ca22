// Signs and sends the transactions of one account: fees, gas, nonce, receipt. One at a time per
// sender; refuses the published development keys on any chain where money could be real. Used by
// deploy.ts and faucet.ts in the server and by the device's program.

import { Transaction, Wallet } from 'ethers'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { addressOf, revertReason } from './bindings.ts'
import { ChainError, reasonOf } from './error.ts'
import { bigintOf, numberOf, quantity, type Rpc } from './jsonrpc.ts'

/** What a mined, successful transaction left behind. */
export interface Receipt {
  readonly transactionHash: string
  readonly blockNumber: number
  /** The created contract, where the transaction made one. */
  readonly contract?: Address
}

/** `to` absent: creates a contract. */
export interface Call {
  readonly to?: Address
  readonly data: string
  /** For messages: "deposit", "registerOperator". */
  readonly what: string
  /**
   * The gas limit, instead of an estimate: a node may estimate at the time of its newest block,
   * when the contract's window was not open yet.
   */
  readonly gas?: bigint
}

/** Sends for one account. */
export interface Sender {
  readonly account: Address
  /**
   * Resolves when mined and successful; throws ChainError transaction-failed, transaction-timeout,
   * …
   */
  send(call: Call): Promise<Receipt>
}

/**
 * What one node needs to answer to send through it: Rpc, or the device's path through /v1/chain.
 */
export type RpcRequest = Pick<Rpc, 'request'>

/** EIP-7825: more is refused by every chain from Osaka on. */
export const TRANSACTION_GAS_MAX = 16_777_216n
/** This much gas, or as much as a transaction may have. */
export const limitedGas = (gas: bigint): bigint =>
  gas < TRANSACTION_GAS_MAX ? gas : TRANSACTION_GAS_MAX
/** Chain ids of development nodes (geth --dev and anvil/hardhat). */
export const DEVELOPMENT_CHAINS: readonly bigint[] = [1337n, 31_337n]
const GWEI = 1_000_000_000n
const NONCE_ATTEMPTS_MAX = 3
const RECEIPT_TIMEOUT_MS = 180_000
const RECEIPT_PAUSE_MAX_MS = 1_000

/**
 * The accounts of the mnemonic "test test … junk" that anvil and hardhat print: everybody has their
 * keys.
 */
const DEVELOPMENT_ACCOUNTS: ReadonlySet<string> = new Set([
  '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266',
  '0x70997970c51812dc3a010c7d01b50e0d17dc79c8',
  '0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc',
  '0x90f79bf6eb2c4f870365e785982e1f101e93b906',
  '0x15d34aaf54267db7d7c367839aaf71a00a2c6a65',
  '0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc',
  '0x976ea74026e726554db657fa54763abd0c3a0aa9',
  '0x14dc79964da2c08b23698b3d3cc7ca32193d9955',
  '0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f',
  '0xa0ee7a142d267c1f36714e4a8f75612f20a79720',
])

/**
 * Throws 'dev-key-on-public-chain' for an account whose key is published, unless the chain is a
 * development one.
 */
export function refuseDevelopmentKey(account: Address, chainId: bigint): void {
  if (!DEVELOPMENT_ACCOUNTS.has(account) || DEVELOPMENT_CHAINS.includes(chainId)) return
  const text = `account ${account} is a development account whose key everybody knows; on chain \
${chainId} anyone could take its funds: use a key of your own`
  throw new ChainError('dev-key-on-public-chain', text)
}

/** A sender for one key; calls wait for each other, so that nonces never cross. */
export function openSender(o: {
  readonly rpc: RpcRequest
  readonly chainId: bigint
  readonly privateKey: Uint8Array
  readonly receiptTimeoutMs?: number
}): Sender {
  const account = accountOf(o.privateKey)
  refuseDevelopmentKey(account, o.chainId)
  const wallet = new Wallet(`0x${Buffer.from(o.privateKey).toString('hex')}`)
  let last: Promise<unknown> = Promise.resolve()

  async function submit(call: Call): Promise<string> {
    const gasLimit = call.gas ?? (await estimateGas(o.rpc, account, call))
    for (let attempt = 1; ; attempt++) {
      const transaction = Transaction.from({
        ...(await feesNow(o.rpc)),
        chainId: o.chainId,
        nonce: numberOf(await o.rpc.request('eth_getTransactionCount', [account, 'pending'])),
        gasLimit,
        data: call.data,
        to: call.to ?? null,
      })
      const raw = await wallet.signTransaction(transaction)
      try {
        return String(await o.rpc.request('eth_sendRawTransaction', [raw]))
      } catch (error) {
        // Another sender of the same account took the nonce between our question and our answer.
        const nonceTaken = /nonce too low|replacement transaction/i.test(reasonOf(error))
        if (!nonceTaken || attempt === NONCE_ATTEMPTS_MAX) throw withoutGas(account, call, error)
      }
    }
  }

  return {
    account,
    send(call) {
      const sent = last.then(async () => {
        const hash = await submit(call)
        return receiptOf({ ...o, account }, call, hash)
      })
      last = sent.catch(() => undefined)
      return sent
    },
  }
}

/** A fifth above what it takes at the head. Throws ChainError with the contract's reason. */
export async function estimateGas(rpc: RpcRequest, from: Address, call: Call): Promise<bigint> {
  const to = call.to === undefined ? {} : { to: call.to }
  try {
    const estimate = bigintOf(
      await rpc.request('eth_estimateGas', [{ from, ...to, data: call.data }]),
    )
    // A fifth more: storage another transaction clears meanwhile makes ours dearer.
    return limitedGas((estimate * 6n) / 5n)
  } catch (error) {
    throw withoutGas(from, call, error)
  }
}

/** The fees of a transaction: one price (type 0), or a most and a tip (type 2). Wei per gas. */
export type Fees =
  | { readonly type: 0; readonly gasPrice: bigint }
  | { readonly type: 2; readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }

/** What gets a transaction into one of the next blocks. */
export async function feesNow(rpc: RpcRequest): Promise<Fees> {
  const block = (await rpc.request('eth_getBlockByNumber', ['latest', false])) as {
    baseFeePerGas?: unknown
  } | null
  if (block?.baseFeePerGas === undefined) {
    return { type: 0, gasPrice: bigintOf(await rpc.request('eth_gasPrice', [])) }
  }
  const tip = await rpc.request('eth_maxPriorityFeePerGas', []).then(bigintOf, () => GWEI)
  // Twice the base fee stays enough for six full blocks in a row (EIP-1559: at most 1/8 more each).
  const maxFeePerGas = 2n * bigintOf(block.baseFeePerGas) + tip
  return { type: 2, maxFeePerGas, maxPriorityFeePerGas: tip }
}

interface Sent {
  readonly rpc: RpcRequest
  readonly account: Address
  readonly receiptTimeoutMs?: number
}

async function receiptOf(sent: Sent, call: Call, transactionHash: string): Promise<Receipt> {
  const { rpc, receiptTimeoutMs: timeoutMs = RECEIPT_TIMEOUT_MS } = sent
  const ends = performance.now() + timeoutMs
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 1.5, RECEIPT_PAUSE_MAX_MS)) {
    const answer = (await rpc.request('eth_getTransactionReceipt', [transactionHash])) as {
      status?: unknown
      blockNumber?: unknown
      contractAddress?: unknown
    } | null
    if (typeof answer?.blockNumber === 'string') {
      if (answer.status !== '0x1') {
        const reason = await refusalOf(sent, call, answer.blockNumber)
        throw new ChainError('transaction-failed', `${call.what} was refused${reason}`)
      }
      const created = call.to === undefined ? { contract: addressOf(answer.contractAddress) } : {}
      return { transactionHash, blockNumber: numberOf(answer.blockNumber), ...created }
    }
    if (performance.now() > ends) {
      const text = `${call.what} (${transactionHash}) was not mined within ${timeoutMs / 1_000} s`
      throw new ChainError('transaction-timeout', text)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Receipts carry no reason: the same call at the end of that block most often has the same one. */
export async function refusalOf(
  { rpc, account }: Pick<Sent, 'rpc' | 'account'>,
  call: Call,
  block: string,
): Promise<string> {
  const { to = null, data } = call
  try {
    await rpc.request('eth_call', [{ from: account, to, data }, block])
  } catch (error) {
    const thrown = error instanceof ChainError ? (error.cause as { data?: unknown }) : undefined
    const reason = revertReason(thrown?.data)
    if (reason !== undefined) return ` by the contract (${reason})`
  }
  return ' by the contract'
}

/** Nodes say it before they mine; by their words, since JSON-RPC has no code for it. */
export function withoutGas(account: Address, call: Call, error: unknown): ChainError {
  if (!/insufficient funds/i.test(reasonOf(error))) return failed(call, error)
  const text = `${call.what} can't be paid for: account ${checksumAddress(account)} needs the \
chain's coin for gas; send it some`
  return new ChainError('insufficient-funds', text, { cause: error })
}

function failed(call: Call, error: unknown): ChainError {
  if (!(error instanceof ChainError) || error.code !== 'rpc-error') {
    return error instanceof ChainError
      ? error
      : new ChainError('transaction-failed', `${call.what}: ${reasonOf(error)}`, { cause: error })
  }
  const reason = revertReason((error.cause as { data?: unknown } | undefined)?.data)
  const text = `${call.what} can't be sent (${reason ?? error.message})`
  return new ChainError('transaction-failed', text, { cause: error })
}

/** One eth_call, its ABI-coded answer as 0x-hex. `block` is a quantity or a tag. */
export async function readContract(
  rpc: RpcRequest,
  to: Address,
  data: string,
  block: number | 'latest' = 'latest',
): Promise<string> {
  const tag = block === 'latest' ? block : quantity(block)
  return String(await rpc.request('eth_call', [{ to, data }, tag]))
}

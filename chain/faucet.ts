// The embedded chain's faucet: mints test tokens and gives gas. Exists for the embedded chain only,
// since only its token has a minter we are. Limits per address and day are the HTTP server's.

import type { Address } from '../ethereum/address.ts'
import { tokenInterface } from './bindings.ts'
import type { EmbeddedChain } from './embedded.ts'
import { ChainError } from './error.ts'
import { bigintOf } from './jsonrpc.ts'
import { openRpc } from './rpc.ts'
import { openSender } from './transactions.ts'

/** Gives test tokens and gas. */
export interface Faucet {
  /**
   * Mints `amount` base units; resolves when block and gas are durable. Throws ChainError:
   * account-refused (the zero address, a contract of ours); chain-unreachable, snapshot-failed,
   * transaction-timeout or stopped where the chain can't now; transaction-failed, rpc-error.
   */
  fund(account: Address, amount: bigint): Promise<{ transactionHash: string; blockNumber: number }>
  close(): void
}

/** Gas for some 10,000 deposits at the embedded chain's 1-2 gwei; given when below half of it. */
const GAS_WEI = 10n ** 18n
const NOBODY = `0x${'0'.repeat(40)}`
/**
 * A block is durable some 20 ms after it was mined; past this the disk is full or the child is
 * gone.
 */
const DURABLE_TIMEOUT_MS = 10_000

/** The faucet of `chain`, paying from the operator's account (the token's minter). */
export function openFaucet(o: {
  readonly chain: EmbeddedChain
  readonly token: Address
  readonly contract: Address
  readonly operatorKey: Uint8Array
}): Faucet {
  const rpc = openRpc(o.chain.url)
  const { chainId } = o.chain
  const refused: ReadonlySet<string> = new Set([NOBODY, o.token, o.contract])
  const sender = openSender({ rpc, chainId, privateKey: o.operatorKey, receiptTimeoutMs: 10_000 })
  return {
    async fund(account, amount) {
      if (refused.has(account)) {
        const text = `the faucet gives nothing to ${account}: nobody could ever spend it`
        throw new ChainError('account-refused', text)
      }
      const wei = bigintOf(await rpc.request('eth_getBalance', [account, 'latest']))
      if (wei < GAS_WEI / 2n) await o.chain.setBalance(account, GAS_WEI)
      const data = tokenInterface.encodeFunctionData('mint', [account, amount])
      const receipt = await sender.send({ to: o.token, data, what: 'mint' })
      await untilDurable(o.chain, receipt.blockNumber)
      const { transactionHash, blockNumber } = receipt
      // A restart may have lost the block, and another of the same number become durable.
      if ((await rpc.request('eth_getTransactionReceipt', [transactionHash])) === null) {
        const text = 'the embedded chain was restarted and lost the block; try again'
        throw new ChainError('snapshot-failed', text)
      }
      return { transactionHash, blockNumber }
    },
    close: () => rpc.close(),
  }
}

/** Resolves when a durable snapshot contains `block`; throws 'snapshot-failed' after 10 s. */
export async function untilDurable(chain: EmbeddedChain, block: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const check = (durable: number): void => {
    if (durable >= block) resolve()
  }
  const timer = setTimeout(() => {
    reject(
      new ChainError('snapshot-failed', `block ${block} of the embedded chain is not saved yet`),
    )
  }, DURABLE_TIMEOUT_MS)
  const unsubscribe = chain.onDurable(check)
  check(chain.durableBlock())
  await promise.finally(() => {
    clearTimeout(timer)
    unsubscribe()
  })
}

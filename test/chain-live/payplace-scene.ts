// A market that is ready to earn: merchants registered, consumers with deposits, and the short
// words that tests of its properties speak. Called by properties.test.ts.

import type { Test } from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { blsPublicKey, provePossession } from '../../chain/bls.ts'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import { type Leaf, leavesOf } from '../../chain/payplace/leaf.ts'
import type { Source } from '../../chain/payplace/proposal.ts'
import type { BlockTiming } from '../../chain/payplace/timing.ts'
import type { Address } from '../../ethereum/address.ts'
import { hex, type Market, openMarket, type Party } from './payplace-market.ts'

export const TIMING = { beta: 1_000, gamma: 300, delta: 50, challenge: 2_000, eta: 2 }
/** The first second of a period's open window, and one of its commitment window. */
export const OPEN = TIMING.gamma + TIMING.delta + 1
export const COMMIT = 5

export interface Channel {
  readonly deposit: bigint
  readonly reserved: bigint
  readonly highestVoucher: bigint
  readonly withdrawn: bigint
}

export interface Scene {
  readonly market: Market
  /** Ids 2, 3 …; id 1 is the operator. */
  readonly merchants: readonly Party[]
  readonly consumers: readonly Party[]
  merchant(id: number): Party
  consumer(index: number): Party
  balance(account: Address): Promise<bigint>
  channel(consumer: Party, operatorId?: number): Promise<Channel>
  /** The one leaf of a merchant in the last block. */
  leaf(id: number): Leaf
  /** What the merchant was paid by withdrawing her leaf. */
  withdraw(id: number, vouchers: readonly Source[], leaf?: Leaf): Promise<bigint>
  owes(consumer: number, amount: bigint): { consumer: Address; amount: bigint }
}

/** Opens it; merchants join in period 0. Stopped when the test ends. */
export async function openScene(
  t: Pick<Test, 'teardown'>,
  o: {
    readonly merchants: number
    readonly consumers: number
    readonly deposit?: bigint
    readonly timing?: Omit<BlockTiming, 'g0'>
  },
): Promise<Scene> {
  const { timing = TIMING, deposit = 100n } = o
  const market = await openMarket(timing)
  t.teardown(() => market.stop())
  const parties = (name: string, count: number): Promise<Party[]> =>
    Promise.all(Array.from({ length: count }, (_, i) => market.party(`${name} ${i}`)))
  const merchants = await parties('merchant', o.merchants)
  const consumers = await parties('consumer', o.consumers)
  if (deposit > 0n) for (const consumer of consumers) await market.deposit(consumer, deposit)
  await market.at(0, timing.gamma + timing.delta + 1)
  for (const merchant of merchants) await market.register(merchant)
  return sceneOf(market, merchants, consumers)
}

function sceneOf(market: Market, merchants: readonly Party[], consumers: readonly Party[]): Scene {
  const at = (list: readonly Party[], index: number): Party => {
    const party = list[index]
    if (party === undefined) throw new RangeError(`there is no party ${index}`)
    return party
  }
  const merchant = (id: number): Party => (id === 1 ? market.operator : at(merchants, id - 2))
  const consumer = (index: number): Party => at(consumers, index)
  const balance = async (account: Address): Promise<bigint> =>
    BigInt(await market.ledger.token.getFunction('balanceOf')(account))
  const leaf = (id: number): Leaf => {
    const [first] = leavesOf({ id, entries: market.block?.entriesOf(id) ?? NO_ENTRIES })
    if (first === undefined) throw new Error('no leaf')
    return first
  }
  return {
    ...{ market, merchants, consumers, merchant, consumer, balance, leaf },
    async channel({ account }, operatorId = 1) {
      const data = datanetInterface.encodeFunctionData('channel', [operatorId, account])
      const to = market.contract
      const answer = String(await market.rpc.request('eth_call', [{ to, data }, 'latest']))
      const [found] = datanetInterface.decodeFunctionResult('channel', answer)
      const [deposit, reserved, highestVoucher, withdrawn] = found
      return { deposit, reserved, highestVoucher, withdrawn }
    },
    async withdraw(id, vouchers, which = leaf(id)) {
      const { account } = merchant(id)
      const before = await balance(account)
      await market.withdraw(merchant(id), which, vouchers)
      return (await balance(account)) - before
    },
    owes: (index, amount) => ({ consumer: consumer(index).account, amount }),
  }
}

/** Operator 2 with the same clock. */
export async function openSecondOperator(market: Market): Promise<Party> {
  const party = await market.party('operator 2')
  const { contract, chainId, timing } = market
  const claim = { account: party.account, contract, chainId, operatorId: 2 }
  const { g0, beta, gamma, delta, challenge, eta } = timing
  const info = [party.account, `0x${'cd'.repeat(32)}`, 'http://second.example']
  const key = hex(blsPublicKey(party.secret))
  const proof = hex(provePossession(party.secret, claim))
  const clock = [g0, beta, gamma, delta, challenge, eta]
  await market.send(party, 'registerOperator', info, clock, key, proof)
  return party
}

/** Gas of a transaction, whole and without what its data costs by the byte. */
export async function gasOf(
  market: Market,
  hash: string,
): Promise<{ readonly whole: bigint; readonly execution: bigint }> {
  const [receipt, transaction] = (await Promise.all([
    market.rpc.request('eth_getTransactionReceipt', [hash]),
    market.rpc.request('eth_getTransactionByHash', [hash]),
  ])) as [{ gasUsed: string }, { input: string }]
  const bytes = Buffer.from(transaction.input.slice(2), 'hex')
  // EIP-2028: 4 for a zero byte, 16 for another; hashes and signatures have zeros by chance.
  const data = bytes.reduce((sum, byte) => sum + (byte === 0 ? 4 : 16), 0)
  const whole = BigInt(receipt.gasUsed)
  return { whole, execution: whole - BigInt(data) }
}

// The state of the market that gas is measured in, and its repeated steps: a block in a period of
// its own, vouchers, leaves with their proofs. Called by gas-scenario.ts.

import type { TypedDataField } from 'ethers'
import {
  type Block,
  type Leaf,
  type Market,
  makeBlock,
  notarization,
  type Party,
  TIMING,
} from './gas-market.ts'
import type { PartRow } from './gas-parts.ts'
import type { GasRow } from './gas-report.ts'

export const TOKENS = 10n ** 18n
export const OPERATOR = 1
export const OPEN = TIMING.gamma + TIMING.delta + 1
/** The largest leaf. */
export const LARGE = 400
/** Consumers beside those, for a leaf of fresh vouchers. */
export const OTHERS = 40

const VOUCHER: TypedDataField[] = [
  { name: 'consumer', type: 'address' },
  { name: 'operator', type: 'uint32' },
  { name: 'amount', type: 'uint96' },
]

export interface Scene {
  readonly market: Market
  readonly operator: Party
  readonly merchants: Map<number, Party>
  readonly absent: Set<number>
  readonly consumers: readonly Party[]
  readonly others: readonly Party[]
  readonly parts: PartRow[]
  row(what: string, gas: number, more?: Omit<GasRow, 'what' | 'gas'>): void
  k: number
  period: number
  block: Block | undefined
}

export async function openScene(market: Market, rows: GasRow[]): Promise<Scene> {
  const operator = await market.party(1)
  const parties = await Promise.all(
    Array.from({ length: LARGE + OTHERS }, (_, i) => market.party(100 + i)),
  )
  const [consumers, others] = [parties.slice(0, LARGE), parties.slice(LARGE)]
  return {
    ...{ others, parts: [] },
    market,
    operator,
    merchants: new Map([[1, operator]]),
    absent: new Set(),
    consumers,
    row: (what, gas, more = {}) => rows.push({ what, gas, ...more }),
    k: 0,
    period: 0,
    block: undefined,
  }
}

export function send(scene: Scene, from: Party, name: string, ...args: unknown[]): Promise<number> {
  return scene.market.send(from, scene.market.ledger.datanet, name, ...args)
}

export function partyAt(scene: Scene, index: number): Party {
  const party = scene.consumers[index]
  if (party === undefined) throw new RangeError(`no consumer ${index}`)
  return party
}

export function merchantAt(scene: Scene, id: number): Party {
  const party = scene.merchants.get(id)
  if (party === undefined) throw new RangeError(`no merchant ${id}`)
  return party
}

export function domainOf(market: Market) {
  const { chainId, contract } = market.ledger
  return { name: 'PayPlace', version: '1', chainId, verifyingContract: contract }
}

/** What everybody is owed from now on: `amounts` by merchant, the same of so many consumers. */
export function owe(scene: Scene, amounts: ReadonlyMap<number, readonly [bigint, number]>): Block {
  return makeBlock(
    OPERATOR,
    new Map(
      [...scene.merchants.keys()].map((id) => {
        const [amount, many] = amounts.get(id) ?? [0n, 0]
        const some = scene.consumers.slice(0, many)
        return [id, some.map(({ address }) => ({ consumer: address, amount }))]
      }),
    ),
  )
}

/** The next block, in a period of its own; `gone` and `back` are what changes. */
export async function notarize(
  scene: Scene,
  block: Block,
  change: { gone?: readonly number[]; back?: readonly number[] } = {},
): Promise<number> {
  scene.period += 1
  scene.market.at(scene.period, 10)
  const { gone = [], back = [] } = change
  for (const id of gone) scene.absent.add(id)
  for (const id of back) scene.absent.delete(id)
  const named = (ids: readonly number[]) => new Map(ids.map((id) => [id, merchantAt(scene, id)]))
  const signers = [...scene.merchants].filter(([id]) => !scene.absent.has(id))
  const args = notarization({
    market: scene.market,
    operator: OPERATOR,
    k: scene.k + 1,
    previous: scene.block,
    block,
    signers: signers.map(([, party]) => party),
    newlyMissing: named(gone),
    returning: named(back),
  })
  const gas = await send(scene, scene.operator, 'notarize', ...args)
  scene.k += 1
  scene.block = block
  scene.market.at(scene.period, OPEN)
  return gas
}

export async function voucherOf(scene: Scene, consumer: Party, amount: bigint) {
  const value = { consumer: consumer.address, operator: OPERATOR, amount }
  const domain = domainOf(scene.market)
  const signature = await consumer.wallet.signTypedData(domain, { Voucher: VOUCHER }, value)
  const s = BigInt(`0x${signature.slice(66, 130)}`)
  const odd = signature.endsWith('1c') ? 1n : 0n
  const vs = `0x${(s | (odd << 255n)).toString(16).padStart(64, '0')}`
  return { consumer: consumer.address, amount, r: signature.slice(0, 66), vs }
}

export function vouchers(scene: Scene, many: number, amount: bigint) {
  return Promise.all(scene.consumers.slice(0, many).map((it) => voucherOf(scene, it, amount)))
}

export function leafAndProof(scene: Scene, id: number): [Leaf, string[]] {
  if (scene.block === undefined) throw new Error('no block yet')
  return [scene.block.leaf(id), scene.block.proof(id)]
}

export function withdraw(scene: Scene, id: number, fresh: unknown[]): Promise<number> {
  const merchant = merchantAt(scene, id)
  return send(scene, merchant, 'withdraw', ...leafAndProof(scene, id), fresh, merchant.address)
}

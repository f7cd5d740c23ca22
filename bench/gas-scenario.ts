// The life of a market with everything that costs gas in it, one function after the other. Owns
// the order of things and what each row is called. Called by gas.ts.

import { type Contract, keccak256, type TypedDataField } from 'ethers'
import { measureActivities } from './gas-activities.ts'
import {
  type Block,
  keyAndProof,
  keyOf,
  type Leaf,
  type Market,
  makeBlock,
  notarization,
  openMarket,
  type Party,
  TIMING,
} from './gas-market.ts'
import type { GasRow } from './gas-report.ts'

const TOKENS = 10n ** 18n
const OPERATOR = 1
/** Merchants 2 to 9; merchant 1 is the operator. */
const LAST_MERCHANT = 9
/** The largest leaf. */
const LARGE = 400
const OPEN = TIMING.gamma + TIMING.delta + 1
const EIP_7825 = 16_777_216

const APPROVAL: TypedDataField[] = [
  { name: 'operator', type: 'uint32' },
  { name: 'account', type: 'address' },
  { name: 'pkHash', type: 'bytes32' },
  { name: 'validUntil', type: 'uint64' },
]
const VOUCHER: TypedDataField[] = [
  { name: 'consumer', type: 'address' },
  { name: 'operator', type: 'uint32' },
  { name: 'amount', type: 'uint96' },
]
const SHIFT_REQUEST: TypedDataField[] = [
  { name: 'consumer', type: 'address' },
  { name: 'from', type: 'uint32' },
  { name: 'to', type: 'uint32' },
  { name: 'amount', type: 'uint96' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint64' },
]

interface Scene {
  readonly market: Market
  readonly operator: Party
  readonly merchants: Map<number, Party>
  readonly absent: Set<number>
  readonly consumers: readonly Party[]
  row(what: string, gas: number, more?: Omit<GasRow, 'what' | 'gas'>): void
  k: number
  period: number
  block: Block | undefined
}

/** Runs everything once and returns the table. */
export async function measureGas(): Promise<GasRow[]> {
  const rows: GasRow[] = []
  const market = await openMarket()
  try {
    const scene = await openScene(market, rows)
    await registering(scene)
    await depositing(scene)
    await withdrawing(scene)
    await missing(scene)
    await leaving(scene)
    await shifting(scene)
    const consumer = partyAt(scene, 5)
    await measureActivities(market, scene.operator, consumer, scene.row)
    return rows
  } finally {
    await market.stop()
  }
}

async function openScene(market: Market, rows: GasRow[]): Promise<Scene> {
  const operator = await market.party(1)
  const consumers = await Promise.all(
    Array.from({ length: LARGE }, (_, i) => market.party(100 + i)),
  )
  return {
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

function send(scene: Scene, from: Party, name: string, ...args: unknown[]): Promise<number> {
  return scene.market.send(from, scene.market.ledger.datanet, name, ...args)
}

function partyAt(scene: Scene, index: number): Party {
  const party = scene.consumers[index]
  if (party === undefined) throw new RangeError(`no consumer ${index}`)
  return party
}

function merchantAt(scene: Scene, id: number): Party {
  const party = scene.merchants.get(id)
  if (party === undefined) throw new RangeError(`no merchant ${id}`)
  return party
}

function domainOf(market: Market) {
  const { chainId, contract } = market.ledger
  return { name: 'PayPlace', version: '1', chainId, verifyingContract: contract }
}

async function registering(scene: Scene): Promise<void> {
  const { market, operator, row } = scene
  const timing = { g0: market.g0, ...TIMING }
  const info = {
    payout: operator.address,
    serverSpkiHash: `0x${'5a'.repeat(32)}`,
    metadataURI: 'https://operator.example/',
  }
  for (const [index, order] of ['first', 'next'].entries()) {
    const { key, proof } = keyAndProof(market, operator, index + 1)
    row(
      `\`registerOperator\`, ${order}`,
      await send(scene, operator, 'registerOperator', info, timing, key, proof),
    )
  }
  market.at(0, OPEN)
  for (let id = 2; id <= LAST_MERCHANT; id++) {
    const merchant = await market.party(id)
    const gas = await register(scene, merchant)
    scene.merchants.set(id, merchant)
    if (id === 2) row('`register`, first merchant', gas, { target: 400_000 })
    if (id === 3) row('`register`, next merchant', gas, { target: 320_000 })
  }
}

async function register(scene: Scene, merchant: Party): Promise<number> {
  const { market, operator } = scene
  const { key, proof } = keyAndProof(market, merchant, OPERATOR)
  const validUntil = market.g0 + TIMING.beta - TIMING.delta
  const value = {
    operator: OPERATOR,
    account: merchant.address,
    pkHash: keccak256(key),
    validUntil,
  }
  const types = { MerchantApproval: APPROVAL }
  const signature = await operator.wallet.signTypedData(domainOf(market), types, value)
  return send(scene, merchant, 'register', OPERATOR, key, proof, validUntil, signature)
}

async function depositing(scene: Scene): Promise<void> {
  const { market, operator, row } = scene
  const { token, contract } = market.ledger
  const deployer = token.runner
  for (const party of [operator, ...scene.consumers.slice(0, 6)]) {
    await (token.connect(deployer) as Contract)
      .getFunction('mint')
      .send(party.address, 10_000n * TOKENS)
    await market.send(party, token, 'approve', contract, 2n ** 256n - 1n)
  }
  const first = partyAt(scene, 0)
  const parts = [{ operator: OPERATOR, amount: TOKENS }]
  row('`deposit`, first of a consumer', await send(scene, first, 'deposit', parts))
  row('`deposit`, next', await send(scene, first, 'deposit', parts))
  for (const consumer of scene.consumers) {
    await send(scene, operator, 'depositFor', consumer.address, parts)
  }
}

/** What everybody is owed from now on: `amounts` by merchant, the same of so many consumers. */
function owe(scene: Scene, amounts: ReadonlyMap<number, readonly [bigint, number]>): Block {
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
async function notarize(
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

async function voucherOf(scene: Scene, consumer: Party, amount: bigint) {
  const value = { consumer: consumer.address, operator: OPERATOR, amount }
  const domain = domainOf(scene.market)
  const signature = await consumer.wallet.signTypedData(domain, { Voucher: VOUCHER }, value)
  const s = BigInt(`0x${signature.slice(66, 130)}`)
  const odd = signature.endsWith('1c') ? 1n : 0n
  const vs = `0x${(s | (odd << 255n)).toString(16).padStart(64, '0')}`
  return { consumer: consumer.address, amount, r: signature.slice(0, 66), vs }
}

function vouchers(scene: Scene, many: number, amount: bigint) {
  return Promise.all(scene.consumers.slice(0, many).map((it) => voucherOf(scene, it, amount)))
}

function leafAndProof(scene: Scene, id: number): [Leaf, string[]] {
  if (scene.block === undefined) throw new Error('no block yet')
  return [scene.block.leaf(id), scene.block.proof(id)]
}

function withdraw(scene: Scene, id: number, fresh: unknown[]): Promise<number> {
  const merchant = merchantAt(scene, id)
  return send(scene, merchant, 'withdraw', ...leafAndProof(scene, id), fresh, merchant.address)
}

async function withdrawing(scene: Scene): Promise<void> {
  const { row } = scene
  const ten = (amount: bigint): Map<number, readonly [bigint, number]> =>
    new Map([2, 3, 4, 5, 6, 7, 8, 9].map((id) => [id, [amount, 10]]))
  const first = await notarize(scene, owe(scene, ten(100n)))
  row('`notarize`, first block, everybody signs', first, { thesis: 143_000 })
  const target = { target: 230_000, thesis: 143_000 }
  row('`notarize`, everybody signs', await notarize(scene, owe(scene, ten(1_000n))), target)
  row(
    '`withdraw`, 10 consumers, 10 fresh vouchers',
    await withdraw(scene, 2, await vouchers(scene, 10, 10_000_000n)),
  )
  const known = { target: 160_000 }
  row('`withdraw`, 10 consumers, vouchers known', await withdraw(scene, 3, []), known)
  await notarize(scene, owe(scene, ten(2_000n)))
  row('`withdraw`, the same merchant again', await withdraw(scene, 3, []), known)
}

async function missing(scene: Scene): Promise<void> {
  const { row, operator } = scene
  const ten = new Map([4, 5, 6, 7, 8, 9].map((id) => [id, [2_000n, 10] as const]))
  const due = (): Block => owe(scene, ten)
  const lock = (id: number, fresh: unknown[] = []): Promise<number> =>
    send(scene, operator, 'lock', ...leafAndProof(scene, id), fresh)
  row('`lock`, 10 consumers, vouchers known', await lock(4))
  row('`notarize`, 1 newly missing', await notarize(scene, due(), { gone: [4] }), {
    thesis: 143_000 + 45_000,
  })
  const same = { target: 230_000, thesis: 143_000 }
  row('`notarize`, the same missing again', await notarize(scene, due()), same)
  row('`notarize`, 1 returning', await notarize(scene, due(), { back: [4] }))
  row('`unlock`, 10 consumers', await send(scene, operator, 'unlock', due().leaf(4)))
  for (const id of [4, 5, 6, 7, 8]) await lock(id)
  row('`notarize`, 5 newly missing', await notarize(scene, due(), { gone: [4, 5, 6, 7, 8] }))
  row('`withdraw`, a lock of 10 consumers', await withdraw(scene, 4, []))
  const largest = owe(scene, new Map([[9, [10_000n, LARGE] as const]]))
  await notarize(scene, largest)
  row(
    `\`lock\`, ${LARGE} consumers, ${LARGE} fresh vouchers (the most there can be)`,
    await lock(9, await vouchers(scene, LARGE, 20_000_000n)),
    { target: EIP_7825 },
  )
}

async function leaving(scene: Scene): Promise<void> {
  const { row, operator, market } = scene
  const { datanet } = market.ledger
  const empty = owe(scene, new Map([[5, [2_000n, 10] as const]]))
  row('`withdraw`, the same, from its lock', await withdraw(scene, 9, []), { target: EIP_7825 })
  await notarize(scene, empty)
  const lockedLeaf = scene.block?.leaf(5)
  const put = merchantAt(scene, 5)
  row(
    '`forceExit`, 10 consumers',
    await send(scene, operator, 'forceExit', lockedLeaf, put.address),
  )
  row('`claim`', await send(scene, put, 'claim', put.address))
  const leaver = merchantAt(scene, 2)
  row('`exit`', await send(scene, leaver, 'exit', OPERATOR, 2, keyOf(leaver)))
  scene.merchants.delete(2)
  scene.merchants.delete(5)
  scene.absent.delete(5)
  await notarize(scene, owe(scene, new Map([[3, [20_000n, 10] as const]])))
  const both = merchantAt(scene, 3)
  const calls = [
    datanet.interface.encodeFunctionData('withdraw', [...leafAndProof(scene, 3), [], both.address]),
    datanet.interface.encodeFunctionData('exit', [OPERATOR, 3, keyOf(both)]),
  ]
  row(
    '`multicall`: `withdraw` of 10 consumers and `exit`',
    await send(scene, both, 'multicall', calls),
  )
  scene.merchants.delete(3)
}

async function shifting(scene: Scene): Promise<void> {
  const { row, market, operator } = scene
  const to = 2
  const [one, two, three] = [partyAt(scene, 1), partyAt(scene, 2), partyAt(scene, 3)]
  row('`requestShift`', await send(scene, one, 'requestShift', OPERATOR, to, TOKENS / 2n))
  const deadline = market.now() + 1_000
  const request = {
    ...{ consumer: two.address, from: OPERATOR, to, amount: TOKENS / 2n },
    ...{ nonce: 0, deadline },
  }
  const types = { ShiftRequest: SHIFT_REQUEST }
  const signature = await two.wallet.signTypedData(domainOf(market), types, request)
  row('`requestShiftBySig`', await send(scene, operator, 'requestShiftBySig', request, signature))
  await send(scene, three, 'requestShift', OPERATOR, to, TOKENS / 2n)
  row('`cancelShift`', await send(scene, three, 'cancelShift', OPERATOR))
  const spent = await voucherOf(scene, two, (TOKENS * 3n) / 4n)
  row(
    '`challengeShift`, fresh voucher',
    await send(scene, operator, 'challengeShift', OPERATOR, spent),
  )
  await notarize(scene, owe(scene, new Map()))
  scene.period += 2
  market.at(scene.period, OPEN)
  row('`finalizeShift`', await send(scene, operator, 'finalizeShift', OPERATOR, one.address))
}

// The life of a market with everything that costs gas in it, one function after the other. Owns
// the order of things and what each row is called. Called by gas.ts.

import { keccak256, type TypedDataField } from 'ethers'
import { type Address, parseAddress } from '../ethereum/address.ts'
import { measureAccounts } from './gas-accounts.ts'
import { measureActivities } from './gas-activities.ts'
import {
  type Block,
  keyAndProof,
  keyOf,
  makeBlock,
  openMarket,
  type Party,
  TIMING,
} from './gas-market.ts'
import { keyParts, type PartRow, possessionPart, stepPart, verificationParts } from './gas-parts.ts'
import type { GasRow } from './gas-report.ts'
import {
  domainOf,
  LARGE,
  leafAndProof,
  merchantAt,
  notarize,
  OPEN,
  OPERATOR,
  OTHERS,
  openScene,
  owe,
  partyAt,
  type Scene,
  send,
  TOKENS,
  voucherOf,
  vouchers,
  withdraw,
} from './gas-scene.ts'

/** Merchants 2 to 10; merchant 1 is the operator. */
const LAST_MERCHANT = 10
/** Leaves of a large block. */
const MANY_LEAVES = 1_024
const EIP_7825 = 16_777_216

const APPROVAL: TypedDataField[] = [
  { name: 'operator', type: 'uint32' },
  { name: 'account', type: 'address' },
  { name: 'pkHash', type: 'bytes32' },
  { name: 'validUntil', type: 'uint64' },
]
const SHIFT_REQUEST: TypedDataField[] = [
  { name: 'consumer', type: 'address' },
  { name: 'from', type: 'uint32' },
  { name: 'to', type: 'uint32' },
  { name: 'amount', type: 'uint96' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint64' },
]

/** Every transaction, and steps inside of them. */
export interface Measured {
  readonly rows: readonly GasRow[]
  readonly parts: readonly PartRow[]
}

/** Runs everything once; the same numbers each time. */
export async function measureGas(): Promise<Measured> {
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
    const two = [partyAt(scene, 4), partyAt(scene, 2)] as const
    await measureAccounts(market, scene.operator, two, scene.row)
    return { rows, parts: scene.parts }
  } finally {
    await market.stop()
  }
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
    if (id === 2) scene.parts.push(possessionPart(await market.calls()))
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

function parsed(text: string): Address {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`${text} is no address`)
  return address
}

async function depositing(scene: Scene): Promise<void> {
  const { market, operator, row } = scene
  const { token, contract } = market.ledger
  const minter = { ...operator, address: parsed(await token.getFunction('minter')()) }
  for (const party of [operator, ...scene.consumers.slice(0, 6)]) {
    await market.send(minter, token, 'mint', party.address, 10_000n * TOKENS)
    await market.send(party, token, 'approve', contract, 2n ** 256n - 1n)
  }
  const first = partyAt(scene, 0)
  const parts = [{ operator: OPERATOR, amount: TOKENS }]
  row('`deposit`, first of a consumer', await send(scene, first, 'deposit', parts))
  row('`deposit`, next', await send(scene, first, 'deposit', parts))
  for (const consumer of [...scene.consumers, ...scene.others]) {
    await send(scene, operator, 'depositFor', consumer.address, parts)
  }
}

async function withdrawing(scene: Scene): Promise<void> {
  const { row } = scene
  const ten = (amount: bigint): Map<number, readonly [bigint, number]> =>
    new Map([2, 3, 4, 5, 6, 7, 8, 9, 10].map((id) => [id, [amount, 10]]))
  const first = await notarize(scene, owe(scene, ten(100n)))
  row('`notarize`, first block, everybody signs', first, { thesis: 143_000 })
  const target = { target: 230_000, thesis: 143_000 }
  row('`notarize`, everybody signs', await notarize(scene, owe(scene, ten(1_000n))), target)
  scene.parts.push(...verificationParts(await scene.market.calls()))
  const fresh = await withdraw(scene, 2, await vouchers(scene, 10, 10_000_000n))
  row('`withdraw`, 10 consumers, 10 fresh vouchers', fresh)
  const known = { target: 160_000 }
  const seen = await withdraw(scene, 3, [])
  row('`withdraw`, 10 consumers, vouchers known', seen, known)
  const news = { few: seen, many: fresh, more: 10 }
  scene.parts.push(stepPart('each first voucher and withdrawal of a consumer', news))
  await notarize(scene, owe(scene, ten(2_000n)))
  const few = await withdraw(scene, 3, [])
  row('`withdraw`, the same merchant again', few, known)
  await notarize(scene, manyLeaves(scene))
  const many = await withdraw(scene, 3, [])
  row('`withdraw`, the same in a block of 1,024 merchants', many, known)
  // From 4 to 10 levels; the thesis has the hash alone.
  const levels = { few, many, more: 6, thesis: 42 }
  scene.parts.push(stepPart('each level of a Merkle proof, with its data', levels))
}

/** As many leaves; the contract asks for no more than the proof of one. */
function manyLeaves(scene: Scene): Block {
  const some = scene.consumers.slice(0, 10)
  const entries = some.map(({ address }) => ({ consumer: address, amount: 2_500n }))
  const ids = Array.from({ length: MANY_LEAVES }, (_, i) => i + 1)
  return makeBlock(OPERATOR, new Map(ids.map((id) => [id, id > 1 && id < 11 ? entries : []])))
}

async function missing(scene: Scene): Promise<void> {
  const { row, operator } = scene
  const ten = new Map([4, 5, 6, 7, 8, 9, 10].map((id) => [id, [3_000n, 10] as const]))
  const due = (): Block => owe(scene, ten)
  const lock = (id: number, fresh: unknown[] = []): Promise<number> =>
    send(scene, operator, 'lock', ...leafAndProof(scene, id), fresh)
  const locked = scene.block?.leaf(4)
  row('`lock`, 10 consumers, vouchers known', await lock(4))
  const one = await notarize(scene, due(), { gone: [4] })
  row('`notarize`, 1 newly missing', one, { thesis: 143_000 + 45_000 })
  const callsOfOne = await scene.market.calls()
  const same = { target: 230_000, thesis: 143_000 }
  row('`notarize`, the same missing again', await notarize(scene, due()), same)
  row('`notarize`, 1 returning', await notarize(scene, due(), { back: [4] }))
  row('`unlock`, 10 consumers', await send(scene, operator, 'unlock', locked))
  const gone = [4, 5, 6, 7, 8, 10]
  for (const id of gone) await lock(id)
  const six = await notarize(scene, due(), { gone })
  row('`notarize`, 6 newly missing', six, { thesis: 143_000 + 6 * 45_000 })
  const each = { few: one, many: six, more: 5, thesis: 45_000 }
  scene.parts.push(
    stepPart('each further newly missing merchant', each),
    ...keyParts(callsOfOne, await scene.market.calls(), gone.length),
  )
  row('`withdraw`, a lock of 10 consumers', await withdraw(scene, 4, []))
  await lockFresh(scene)
  const largest = owe(scene, new Map([[9, [10_000n, LARGE] as const]]))
  const before = scene.block?.leaf(9)
  await notarize(scene, largest)
  await send(scene, operator, 'unlock', before)
  row(
    `\`lock\`, ${LARGE} consumers, ${LARGE} fresh vouchers (the most there can be)`,
    await lock(9, await vouchers(scene, LARGE, 20_000_000n)),
    { target: EIP_7825 },
  )
}

/** A leaf of consumers whom the contract has not seen pay. */
async function lockFresh(scene: Scene): Promise<void> {
  const { others, row, operator } = scene
  const entries = others.map(({ address }) => ({ consumer: address, amount: 10_000n }))
  const ids = [...scene.merchants.keys()]
  const block = makeBlock(OPERATOR, new Map(ids.map((id) => [id, id === 9 ? entries : []])))
  await notarize(scene, block)
  const fresh = await Promise.all(others.map((it) => voucherOf(scene, it, 20_000n)))
  const gas = await send(scene, operator, 'lock', ...leafAndProof(scene, 9), fresh)
  row('`lock`, 40 consumers, 40 fresh vouchers', gas)
  scene.parts.push(stepPart('each consumer of such a lock', { few: 0, many: gas, more: OTHERS }))
}

async function leaving(scene: Scene): Promise<void> {
  const { row, operator, market } = scene
  const { datanet } = market.ledger
  const empty = owe(scene, new Map([[5, [3_000n, 10] as const]]))
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

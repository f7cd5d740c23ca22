// The model and the contract side by side: each action is done to both, and what they think of it
// and what they hold afterwards has to be the same. Owns the translation: names to accounts, the
// model's periods to seconds, formal sums of keys to BLS. Called by payplace-differential.test.ts.

import { bls12_381 } from '@noble/curves/bls12-381.js'
import { datanetInterface, revertReason } from '../../chain/bindings.ts'
import { blsPublicKey, nobleBls, provePossession } from '../../chain/bls.ts'
import { blockDigest } from '../../chain/payplace/block.ts'
import { type Entry as ChainEntry, packEntries } from '../../chain/payplace/entries.ts'
import { type BlockIndex, indexBlock } from '../../chain/payplace/known.ts'
import type { Leaf } from '../../chain/payplace/leaf.ts'
import { proofOf } from '../../chain/payplace/tree.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantApprovalDigest } from '../../ethereum/merchant-messages.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { uintWord } from '../../ethereum/typed-data.ts'
import {
  type Block,
  type Contract,
  claim,
  createContract,
  deposit,
  type Entry,
  ETA,
  exit,
  forceExit,
  lock,
  messageOf,
  notarize,
  type OldRules,
  register,
  secretKey,
  unlock,
  type Vouchers,
  withdraw,
} from '../sim/payplace-model.ts'
import { cancelShift, challengeShift, finalizeShift, requestShift } from '../sim/payplace-shifts.ts'
import { differences } from './payplace-compare.ts'
import {
  contractLeaf,
  contractVoucher,
  hex,
  type Market,
  OPERATOR,
  openMarket,
  type Party,
} from './payplace-market.ts'
import { openSecondOperator } from './payplace-scene.ts'

/**
 * The model's challenge takes two periods: whatever is asked for in a commitment (from second 250)
 * or an open window (from 361) is ripe in the open window two periods later and in none before; and
 * who was challenged may ask again in the commitment two periods later. That takes 50 s a phase.
 */
const TIMING = { beta: 1_000, gamma: 300, delta: 50, challenge: 1_700, eta: ETA }
const SECOND = { commit: 250, open: 361 }
export const OTHER = 2
export const CONSUMERS = ['x', 'y', 'z']
export const ORDER = bls12_381.fields.Fr.ORDER

export interface Notarizing {
  readonly block: Block
  readonly newlyMissing: readonly number[]
  readonly returning: readonly number[]
  /** Accounts whose merchants sign. */
  readonly signers: readonly string[]
}

/** What both said of an action. */
export interface Said {
  readonly action: string
  readonly model: boolean
  /** The contract's error where it refused. */
  readonly chain: true | string
}

export interface Twin {
  readonly model: Contract
  readonly said: readonly Said[]
  enter(period: number, phase: 'commit' | 'open'): Promise<void>
  deposit(consumer: string, amount: number): Promise<void>
  register(account: string, approvedFor?: number): Promise<void>
  exit(id: number): Promise<void>
  lock(id: number, entries: readonly Entry[], vouchers: Vouchers): Promise<void>
  unlock(id: number): Promise<void>
  notarize(given: Notarizing): Promise<void>
  withdraw(id: number, entries: readonly Entry[], vouchers: Vouchers): Promise<void>
  forceExit(id: number, entries: readonly Entry[]): Promise<void>
  claim(account: string): Promise<void>
  requestShift(consumer: string, amount: number): Promise<void>
  challengeShift(consumer: string, amount: number): Promise<void>
  finalizeShift(consumer: string): Promise<void>
  cancelShift(consumer: string): Promise<void>
  /** What is not the same in both; empty where nothing is. */
  differences(): Promise<string[]>
  stop(): Promise<void>
}

/** Both of them and what only one can say. */
export interface World {
  readonly market: Market
  readonly model: Contract
  readonly parties: Map<string, Party>
  readonly said: Said[]
  /** By consumer: what went to operator 2, and bonds that the contract holds. */
  readonly moved: Map<string, number>
  readonly bonds: Set<string>
  index: BlockIndex | undefined
  /** Unix seconds at which the phase was entered. */
  entered: number
}

export async function openTwin(old: OldRules): Promise<Twin> {
  const market = await openMarket(TIMING)
  const model = createContract(old)
  const world: World = {
    ...{ market, model, parties: new Map(), said: [], moved: new Map(), bonds: new Set() },
    ...{ index: undefined, entered: 0 },
  }
  world.parties.set('op', market.operator)
  const { contract, ledger, rpc } = market
  await rpc.request('anvil_autoImpersonateAccount', [true])
  await openSecondOperator(market)
  for (const name of CONSUMERS) {
    const consumer = await partyOf(world, name)
    await (await ledger.token.getFunction('mint')(consumer.account, 10n ** 30n)).wait()
    const approval = ledger.token.interface.encodeFunctionData('approve', [contract, 2n ** 255n])
    await consumer.sender.send({ to: market.token, data: approval, what: 'approve' })
  }
  // The operator is merchant 1 from its registration on.
  const proof = { secrets: ['op'], account: 'op' }
  register(model, {
    ...{ account: 'op', key: secretKey('op'), proof, approval: { nonce: 'op', period: 0 } },
  })
  return twinOf(world)
}

async function partyOf({ parties, market }: World, name: string): Promise<Party> {
  const known = parties.get(name) ?? (await market.party(`twin ${name}`))
  parties.set(name, known)
  return known
}

const accountOfMerchant = ({ model }: World, id: number): string =>
  model.merchants.get(id)?.account ?? 'op'

function packed(world: World, entries: readonly Entry[]): Buffer {
  return packEntries(
    entries.map(([name, amount]): ChainEntry => {
      const party = world.parties.get(name)
      if (party === undefined) throw new Error(`${name} has no account`)
      return { consumer: party.account, amount: BigInt(amount) }
    }),
  )
}

export const leafFor = (world: World, id: number, entries: readonly Entry[]): Leaf => {
  return { id, shard: 0, shardCount: 1, entries: packed(world, entries) }
}

function proofFor({ index }: World, id: number): string[] {
  const place = index?.places.get(id)
  return index === undefined || place === undefined ? [] : proofOf(index.tree, place.first).map(hex)
}

function signedVouchers(world: World, vouchers: Vouchers): unknown[] {
  return [...vouchers].map(([name, amount]) => {
    const consumer = world.parties.get(name)
    if (consumer === undefined) throw new Error(`${name} has no account`)
    return contractVoucher(world.market.voucher(consumer, BigInt(amount)))
  })
}

interface Receipt {
  readonly status: string
  readonly blockNumber: string
}

/** The block is made at once, but a moment after the answer. */
async function receiptOf(market: Market, hash: unknown): Promise<Receipt> {
  for (;;) {
    const receipt = await market.rpc.request('eth_getTransactionReceipt', [hash])
    if (receipt !== null) return receipt as Receipt
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Mined at once, whatever comes of it: true, or why the contract refused. */
async function send(
  { market }: World,
  from: Party,
  name: string,
  args: readonly unknown[],
): Promise<true | string> {
  const data = datanetInterface.encodeFunctionData(name, args)
  const call = { from: from.account, to: market.contract, data, gas: '0x7a1200' }
  const hash = await market.rpc.request('eth_sendTransaction', [call])
  const receipt = await receiptOf(market, hash)
  if (receipt.status === '0x1') return true
  const asked = market.rpc.request('eth_call', [call, receipt.blockNumber])
  return asked.then(
    () => 'refused',
    (error) => revertReason(error?.cause?.data) ?? 'refused',
  )
}

function twinOf(world: World): Twin {
  const { market, model, said } = world
  const both = async (
    action: string,
    accepted: boolean,
    from: string | Party,
    args: readonly unknown[],
    name = action,
  ): Promise<boolean> => {
    const party = typeof from === 'string' ? await partyOf(world, from) : from
    const chain = await send(world, party, name, args)
    said.push({ action, model: accepted, chain })
    return accepted
  }
  const { operator } = market
  const leafArgs = (id: number, entries: readonly Entry[]): unknown[] =>
    contractLeaf(leafFor(world, id, entries))
  return {
    ...{ model, said },
    async enter(period, phase) {
      model.period = period
      model.phase = phase
      world.entered = market.timing.g0 + period * TIMING.beta + SECOND[phase]
      await market.at(period, SECOND[phase])
      await market.rpc.request('evm_mine', [])
    },
    async deposit(consumer, amount) {
      const accepted = deposit(model, consumer, amount)
      await both('deposit', accepted, consumer, [[[OPERATOR, amount]]])
    },
    register: (account, approvedFor) => registerBoth(world, both, account, approvedFor),
    async exit(id) {
      const name = accountOfMerchant(world, id)
      const key = blsPublicKey((await partyOf(world, name)).secret)
      await both('exit', exit(model, id), name, [OPERATOR, id, hex(key)])
    },
    async lock(id, entries, vouchers) {
      const proof = proofFor(world, id)
      const args = [leafArgs(id, entries), proof, signedVouchers(world, vouchers)]
      await both('lock', lock(model, id, entries, vouchers), operator, args)
    },
    async unlock(id) {
      const entries = model.merchants.get(id)?.lock?.entries ?? []
      await both('unlock', unlock(model, id), operator, [leafArgs(id, entries)])
    },
    notarize: (given) => notarizeBoth(world, both, given),
    async withdraw(id, entries, vouchers) {
      const party = await partyOf(world, accountOfMerchant(world, id))
      const seen = signedVouchers(world, vouchers)
      const args = [leafArgs(id, entries), proofFor(world, id), seen, party.account]
      const paid = withdraw(model, id, entries, vouchers)
      await both('withdraw', paid !== undefined, party, args)
    },
    async forceExit(id, entries) {
      const { account } = await partyOf(world, accountOfMerchant(world, id))
      const args = [leafArgs(id, entries), account]
      await both('forceExit', forceExit(model, id, entries), operator, args)
    },
    async claim(account) {
      const party = await partyOf(world, account)
      await both('claim', claim(model, account) !== undefined, party, [party.account])
    },
    ...shiftsOf(world, both),
    differences: () => differences(world),
    stop: () => market.stop(),
  }
}

type Both = (
  action: string,
  accepted: boolean,
  from: string | Party,
  args: readonly unknown[],
  name?: string,
) => Promise<boolean>

function shiftsOf(
  world: World,
  both: Both,
): Pick<Twin, 'requestShift' | 'challengeShift' | 'finalizeShift' | 'cancelShift'> {
  const { model, moved, bonds, market } = world
  const accountOf = async (name: string): Promise<string> => (await partyOf(world, name)).account
  return {
    async requestShift(consumer, amount) {
      const accepted = requestShift(model, consumer, amount)
      if (accepted) bonds.add(consumer)
      await both('requestShift', accepted, consumer, [OPERATOR, OTHER, amount])
    },
    async challengeShift(consumer, amount) {
      const [voucher] = signedVouchers(world, new Map([[consumer, amount]]))
      const accepted = challengeShift(model, consumer, amount)
      if (accepted) bonds.delete(consumer)
      await both('challengeShift', accepted, market.operator, [OPERATOR, voucher])
    },
    async finalizeShift(consumer) {
      const amount = finalizeShift(model, consumer)
      if (amount !== undefined) {
        bonds.delete(consumer)
        moved.set(consumer, (moved.get(consumer) ?? 0) + amount)
      }
      const args = [OPERATOR, await accountOf(consumer)]
      await both('finalizeShift', amount !== undefined, market.operator, args)
    },
    async cancelShift(consumer) {
      bonds.delete(consumer)
      await both('cancelShift', cancelShift(model, consumer), consumer, [OPERATOR])
    },
  }
}

async function registerBoth(
  world: World,
  both: Both,
  account: string,
  approvedFor = world.model.period,
): Promise<void> {
  const { market, model } = world
  const { contract, chainId, domain, operator, timing } = market
  const party = await partyOf(world, account)
  const key = blsPublicKey(party.secret)
  const claimed = { account: party.account, contract, chainId, operatorId: OPERATOR }
  const proof = provePossession(party.secret, claimed)
  const validUntil = timing.g0 + (approvedFor + 1) * TIMING.beta - TIMING.delta
  const approval = {
    operator: OPERATOR,
    account: party.account,
    pkHash: keccak256(key),
    validUntil,
  }
  const signature = signDigest(merchantApprovalDigest(domain, approval), operator.key)
  const id = register(model, {
    ...{ account, key: secretKey(account), proof: { secrets: [account], account } },
    approval: { nonce: `${account} ${approvedFor} ${model.merchants.size}`, period: approvedFor },
  })
  const args = [OPERATOR, hex(key), hex(proof), validUntil, hex(signature)]
  await both('register', id !== undefined, party, args)
}

async function notarizeBoth(world: World, both: Both, given: Notarizing): Promise<void> {
  const { market, model } = world
  const { block, newlyMissing, returning, signers } = given
  const list = block.leaves.map(({ id, entries }) => ({ id, entries: packed(world, entries) }))
  const index = indexBlock(OPERATOR, list, 1)
  const root = index.root.toString('hex')
  const prevRoot = world.index?.root ?? Buffer.alloc(32)
  const tau = world.entered
  const header = {
    ...{
      operator: OPERATOR,
      k: model.k + 1,
      period: model.period,
      prevRoot,
      root: index.root,
      tau,
    },
  }
  const secrets = await Promise.all(
    signers.map(async (name) => (await partyOf(world, name)).secret),
  )
  const sum = secrets.reduce((all, secret) => all + BigInt(hex(secret)), 0n) % ORDER
  // The sum of signatures is the signature of the sum of keys.
  const point = nobleBls.signature(nobleBls.sign(blockDigest(market.domain, header), uintWord(sum)))
  if (point === undefined) throw new Error('no signature')
  const named = await Promise.all(
    [...newlyMissing, ...returning].map((id) => partyOf(world, accountOfMerchant(world, id))),
  )
  const keys = hex(Buffer.concat(named.map(({ secret }) => blsPublicKey(secret))))
  const place = { root, prevRoot: prevRoot.toString('hex') }
  const signatures = new Map([[messageOf(model, place), new Set(signers)]])
  const accepted = notarize(model, { block, newlyMissing, returning, signatures, ...place })
  const proof = hex(nobleBls.signatureCoding(point))
  const args = [OPERATOR, hex(index.root), tau, newlyMissing, returning, keys, proof]
  await both('notarize', accepted, market.operator, args)
  if (accepted) world.index = index
}

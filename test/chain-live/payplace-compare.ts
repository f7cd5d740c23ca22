// What the model and the contract hold, number by number. Asks the contract, changes nothing.
// Called by payplace-twin.ts.

import { datanetInterface } from '../../chain/bindings.ts'
import { blsPublicKey } from '../../chain/bls.ts'
import { leafHash } from '../../chain/payplace/leaf.ts'
import { uintWord } from '../../ethereum/typed-data.ts'
import { channelOf } from '../sim/payplace-model.ts'
import { SHIFT_BOND } from './ledger.ts'
import { hex, OPERATOR } from './payplace-market.ts'
import { CONSUMERS, leafFor, ORDER, OTHER, type World } from './payplace-twin.ts'

/** Public keys of sums of secrets: some 10 ms each. */
const KEYS = new Map<bigint, Buffer>()
const NO_HASH = `0x${'00'.repeat(32)}`

/** Lines that say what differs, with the model's value first. */
export async function differences(world: World): Promise<string[]> {
  const lists = await Promise.all([
    ...CONSUMERS.map((name) => ofConsumer(world, name)),
    ...[...world.model.merchants.keys()].map((id) => ofMerchant(world, id)),
    ofOperator(world),
    ofTokens(world),
  ])
  return lists.flat()
}

type Pair = readonly [what: string, model: unknown, chain: unknown]

const differing = (pairs: readonly Pair[]): string[] =>
  pairs
    .filter(([, model, chain]) => String(model) !== String(chain))
    .map(([what, model, chain]) => `${what}: ${model}, ${chain}`)

/** A function's first result; a struct as the list of its fields, in the order of Types.sol. */
async function ask({ market }: World, name: string, ...args: unknown[]): Promise<unknown[]> {
  const data = datanetInterface.encodeFunctionData(name, args)
  const call = { to: market.contract, data }
  const answer = String(await market.rpc.request('eth_call', [call, 'latest']))
  const [first] = datanetInterface.decodeFunctionResult(name, answer)
  return typeof first === 'object' ? [...first] : [first]
}

async function ofConsumer(world: World, name: string): Promise<string[]> {
  const { model, parties, moved } = world
  const { account } = parties.get(name) ?? { account: '' }
  const [channel, other, shift] = await Promise.all([
    ask(world, 'channel', OPERATOR, account),
    ask(world, 'channel', OTHER, account),
    ask(world, 'shift', OPERATOR, account),
  ])
  const { D, R, mu, w } = channelOf(model, name)
  const pending = model.shifts.get(name)
  const [, amount, requestedAt, period] = shift
  const shown = requestedAt === 0n ? 'none' : [amount, period]
  return differing([
    [`D, R, mu, w of ${name}`, [D, R, mu, w], channel],
    [
      `shift of ${name}`,
      pending === undefined ? 'none' : [pending.amount, pending.requestedIn],
      shown,
    ],
    [`${name} with operator 2`, moved.get(name) ?? 0, other[0]],
  ])
}

async function ofMerchant(world: World, id: number): Promise<string[]> {
  const { model, parties } = world
  const merchant = model.merchants.get(id)
  if (merchant === undefined) return []
  const account = parties.get(merchant.account)?.account
  const [onChain, lockHash, credit] = await Promise.all([
    ask(world, 'merchant', OPERATOR, id),
    ask(world, 'lockOf', OPERATOR, id, 0),
    ask(world, 'creditOf', account),
  ])
  const [joinedAt, exitedAt, missingSince, shardsAt, , settled, locked] = onChain
  const { lock } = merchant
  const isNow = shardsAt === BigInt(model.k + 1)
  const settledNow = lock?.at === model.k || merchant.withdrawnAt === model.k
  const hash =
    lock === undefined ? NO_HASH : hex(leafHash(OPERATOR, leafFor(world, id, lock.entries)))
  return differing([
    [`${id} joined`, merchant.joinedAt + 1, joinedAt],
    [`${id} has left`, merchant.status === 'exited', exitedAt !== 0n],
    [`${id} is missing`, merchant.missing ? merchant.missingSince + 1 : 0, missingSince],
    [`${id} is locked`, lock === undefined ? 0 : 1, locked],
    [`${id} is settled`, settledNow ? 1 : 0, isNow ? settled : 0],
    [`lock of ${id}`, hash, lockHash[0]],
    [`credit of ${merchant.account}`, model.credit.get(merchant.account) ?? 0, credit[0]],
  ])
}

async function ofOperator(world: World): Promise<string[]> {
  const { model, index } = world
  const fields = await ask(world, 'operator', OPERATOR)
  const [, , merchantCount, , k, lastPeriod, , , , , root, apkA] = fields
  // A key is a sum of secrets in the model; all of them stand in it once.
  const secrets = [...model.apkA].map(([name, times]) => {
    const secret = BigInt(hex(world.parties.get(name)?.secret ?? Buffer.alloc(32)))
    return secret * BigInt(times)
  })
  const sum = secrets.reduce((all, secret) => all + secret, 0n) % ORDER
  const known = KEYS.get(sum) ?? blsPublicKey(uintWord(sum))
  KEYS.set(sum, known)
  // EIP-2537 has each coordinate in 64 bytes, the contract in the 48 that count.
  const packedKey = Buffer.concat([known.subarray(16, 64), known.subarray(80)])
  const words = [0, 32, 64].map((at) => hex(packedKey.subarray(at, at + 32)))
  return differing([
    ['merchants', model.merchants.size, merchantCount],
    ['k', model.k, k],
    ['last period', Math.max(0, model.lastPeriod), lastPeriod],
    ['root', index === undefined ? NO_HASH : hex(index.root), root],
    ['apkA', words, apkA],
  ])
}

/** I1: everything that came in and did not go out, with bonds. */
async function ofTokens({ model, market, moved, bonds }: World): Promise<string[]> {
  const balance = await market.ledger.token.getFunction('balanceOf')(market.contract)
  const shifted = [...moved.values()].reduce((sum, amount) => sum + amount, 0)
  const held = BigInt(model.received - model.paid + shifted) + BigInt(bonds.size) * SHIFT_BOND
  return differing([['tokens', held, balance]])
}

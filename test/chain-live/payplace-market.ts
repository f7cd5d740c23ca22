// A market on a throw-away chain for tests of readers and merchants: one operator with merchants
// and consumers, blocks built and notarized by the project's own code. Time is the chain's: `at`
// moves it, or it runs with the wall clock. Everything it starts it also stops.

import { createHash } from 'node:crypto'
import { datanetInterface } from '../../chain/bindings.ts'
import {
  blsPublicKey,
  deriveMerchantBlsKey,
  deriveOperatorBlsKey,
  nobleBls,
  provePossession,
} from '../../chain/bls.ts'
import type { Rpc } from '../../chain/jsonrpc.ts'
import { type BlockHeader, blockDigest, NO_ROOT } from '../../chain/payplace/block.ts'
import { type Entry, packEntries, WORD } from '../../chain/payplace/entries.ts'
import { type BlockIndex, indexBlock, type KnownBlock } from '../../chain/payplace/known.ts'
import { type Leaf, leavesOf } from '../../chain/payplace/leaf.ts'
import type { Source } from '../../chain/payplace/proposal.ts'
import { type BlockTiming, periodAt } from '../../chain/payplace/timing.ts'
import { proofOf } from '../../chain/payplace/tree.ts'
import { openRpc } from '../../chain/rpc.ts'
import { openSender, type Receipt, type Sender } from '../../chain/transactions.ts'
import type { Address } from '../../ethereum/address.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantApprovalDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { type Domain, payPlaceDomain, voucherDigest } from '../../ethereum/typed-data.ts'
import { type Ledger, openLedger, SHIFT_BOND } from './ledger.ts'

export const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`
export const OPERATOR = 1
/** Enough for every function of the contract in these tests. */
const GAS = 8_000_000n
const TOKENS = 10n ** 18n

/** An account with gas. */
export interface Party {
  readonly key: Buffer
  readonly account: Address
  readonly sender: Sender
  /** For the operator and merchants. */
  readonly secret: Buffer
}

/** A block with everything to withdraw from it. */
export interface MarketBlock extends KnownBlock {
  readonly header: BlockHeader
}

export interface Market {
  readonly ledger: Ledger
  readonly url: string
  readonly rpc: Rpc
  readonly contract: Address
  readonly token: Address
  readonly chainId: bigint
  readonly domain: Domain
  readonly operator: Party
  readonly timing: BlockTiming
  /** The block notarized last. */
  readonly block: MarketBlock | undefined
  party(name: string): Promise<Party>
  /** The next transaction is so many seconds after the start of this period. */
  at(period: number, phase: number): Promise<void>
  send(from: Party, name: string, ...args: unknown[]): Promise<Receipt>
  /** Mints and deposits. */
  deposit(consumer: Party, amount: bigint): Promise<void>
  /** Registers with the operator's approval; the new id. */
  register(merchant: Party): Promise<number>
  voucher(consumer: Party, amount: bigint): Source
  requestShift(consumer: Party, to: number, amount: bigint): Promise<void>
  /** Block k + 1 with these entries by merchant id, signed by these. */
  notarize(o: Notarization): Promise<MarketBlock>
  lock(id: number, vouchers: readonly Source[]): Promise<void>
  withdraw(merchant: Party, leaf: Leaf, vouchers: readonly Source[]): Promise<void>
  stop(): Promise<void>
}

export interface Notarization {
  readonly owed: ReadonlyMap<number, readonly Entry[]>
  readonly signers: readonly Party[]
  readonly newlyMissing?: ReadonlyMap<number, Party>
  readonly returning?: ReadonlyMap<number, Party>
}

/** A voucher as the contract takes it: r, and s with the parity in its top bit. */
export function contractVoucher({ consumer, amount, signature }: Source): unknown[] {
  const vs = Buffer.from(signature.subarray(32, 64))
  if (signature[64] === 28) vs.writeUInt8(vs.readUInt8(0) | 0x80, 0)
  return [consumer, amount, hex(signature.subarray(0, 32)), hex(vs)]
}

export function contractLeaf({ id, shard, shardCount, entries }: Leaf): unknown[] {
  const words = Array.from({ length: entries.length / WORD }, (_, i) =>
    hex(entries.subarray(i * WORD, (i + 1) * WORD)),
  )
  return [OPERATOR, id, shard, shardCount, words]
}

function urlOf(ledger: Ledger): string {
  return ledger.provider._getConnection().url
}

/** A chain with the contract and operator 1; `timing` without g0, which is the chain's time now. */
export async function openMarket(
  timing: Omit<BlockTiming, 'g0'>,
  serverSpkiSha256 = 'ab'.repeat(32),
): Promise<Market> {
  const ledger = await openLedger()
  const { contract, chainId } = ledger
  const rpc = openRpc(urlOf(ledger))
  const domain = payPlaceDomain(chainId, contract)
  const token = (await ledger.token.getAddress()).toLowerCase() as Address
  const party = async (name: string): Promise<Party> => {
    const key = createHash('sha256').update(`market ${name}`).digest()
    const account = accountOf(key)
    await ledger.provider.send('anvil_setBalance', [
      account,
      hex(Buffer.from('3635c9adc5dea00000', 'hex')),
    ])
    const source = { accountKey: key, chainId, contract }
    const secret =
      name === 'operator'
        ? deriveOperatorBlsKey(source)
        : deriveMerchantBlsKey({ ...source, operator: OPERATOR })
    return { key, account, secret, sender: openSender({ rpc, chainId, privateKey: key }) }
  }
  const send = (from: Party, name: string, ...args: unknown[]): Promise<Receipt> =>
    from.sender.send({
      to: contract,
      data: datanetInterface.encodeFunctionData(name, args),
      what: name,
      gas: GAS,
    })
  const operator = await party('operator')
  const head = await ledger.provider.getBlock('latest')
  const g0 = head?.timestamp ?? 0
  const full: BlockTiming = { g0, ...timing }
  await registerOperator(operator, serverSpkiSha256, { ledger, send, timing: full })
  return marketOf({ ledger, rpc, domain, token, party, send, operator, timing: full })
}

async function registerOperator(
  operator: Party,
  serverSpkiSha256: string,
  o: Pick<Market, 'ledger' | 'send' | 'timing'>,
): Promise<void> {
  const { contract, chainId } = o.ledger
  const { g0, beta, gamma, delta, challenge, eta } = o.timing
  const claim = { account: operator.account, contract, chainId, operatorId: OPERATOR }
  const info = [operator.account, `0x${serverSpkiSha256}`, 'http://operator.example']
  const key = blsPublicKey(operator.secret)
  const proof = provePossession(operator.secret, claim)
  const numbers = [g0, beta, gamma, delta, challenge, eta]
  await o.send(operator, 'registerOperator', info, numbers, hex(key), hex(proof))
}

type Base = Pick<
  Market,
  'ledger' | 'rpc' | 'domain' | 'token' | 'party' | 'send' | 'operator' | 'timing'
>

function marketOf(base: Base): Market {
  const { ledger, rpc, domain, send, operator, timing } = base
  const { contract, chainId, provider } = ledger
  let block: MarketBlock | undefined
  const voucher = (consumer: Party, amount: bigint): Source => {
    const value = { consumer: consumer.account, operator: OPERATOR, amount }
    return { ...value, signature: signDigest(voucherDigest(domain, value), consumer.key) }
  }
  const approve = async (account: Address, spender: Address, amount: bigint, from: Party) => {
    await (await ledger.token.getFunction('mint')(account, amount)).wait()
    const data = ledger.token.interface.encodeFunctionData('approve', [spender, amount])
    await from.sender.send({ to: base.token, data, what: 'approve' })
  }
  return {
    ...base,
    url: urlOf(ledger),
    ...{ contract, chainId },
    get block() {
      return block
    },
    async at(period, phase) {
      const time = timing.g0 + period * timing.beta + phase
      await provider.send('evm_setNextBlockTimestamp', [time])
    },
    async deposit(consumer, amount) {
      await approve(consumer.account, contract, amount, consumer)
      await send(consumer, 'deposit', [[OPERATOR, amount]])
    },
    async register(merchant) {
      const key = blsPublicKey(merchant.secret)
      const claim = { account: merchant.account, contract, chainId, operatorId: OPERATOR }
      const proof = provePossession(merchant.secret, claim)
      const pending = await rpc.request('eth_call', [{ data: '0x425f5260205ff3' }, 'pending'])
      const now = Number(pending)
      const { g0, beta, delta } = timing
      const validUntil = g0 + (periodAt(timing, now) + 1) * beta - delta
      const pkHash = keccak256(key)
      const approval = { operator: OPERATOR, account: merchant.account, pkHash, validUntil }
      const signature = signDigest(merchantApprovalDigest(domain, approval), operator.key)
      await send(merchant, 'register', OPERATOR, hex(key), hex(proof), validUntil, hex(signature))
      return Number(await ledger.datanet.getFunction('merchantIdOf')(OPERATOR, merchant.account))
    },
    voucher,
    async requestShift(consumer, to, amount) {
      await approve(consumer.account, contract, SHIFT_BOND + TOKENS, consumer)
      await send(consumer, 'requestShift', OPERATOR, to, amount)
    },
    async notarize(o) {
      block = await notarize(base, block, o)
      return block
    },
    async lock(id, vouchers) {
      if (block === undefined) throw new Error('no block')
      for (const leaf of leavesOf({ id, entries: block.entriesOf(id) ?? Buffer.alloc(0) })) {
        const proof = proofFor(block, leaf)
        const seen = vouchers.map(contractVoucher)
        await send(operator, 'lock', contractLeaf(leaf), proof, seen)
      }
    },
    async withdraw(merchant, leaf, vouchers) {
      const proof = block === undefined ? [] : proofFor(block, leaf)
      const seen = vouchers.map(contractVoucher)
      await send(merchant, 'withdraw', contractLeaf(leaf), proof, seen, merchant.account)
    },
    async stop() {
      rpc.close()
      await ledger.stop()
    },
  }
}

function proofFor(block: BlockIndex, { id, shard }: Leaf): string[] {
  const place = block.places.get(id)
  return place === undefined ? [] : proofOf(block.tree, place.first + shard).map(hex)
}

async function notarize(
  { ledger, rpc, domain, send, operator, timing }: Base,
  previous: MarketBlock | undefined,
  o: Notarization,
): Promise<MarketBlock> {
  const list = [...o.owed]
    .map(([id, entries]) => ({ id, entries: packEntries(entries) }))
    .sort((a, b) => a.id - b.id)
  const index = indexBlock(OPERATOR, list, 1)
  const entries = new Map(list.map((merchant) => [merchant.id, merchant.entries]))
  // The time of the block that the transaction will be in.
  const tau = Number(await rpc.request('eth_call', [{ data: '0x425f5260205ff3' }, 'pending']))
  const record = await ledger.datanet.getFunction('operator')(OPERATOR)
  const header: BlockHeader = {
    ...{ operator: OPERATOR, k: Number(record.k) + 1, period: periodAt(timing, tau), tau },
    ...{ prevRoot: previous?.root ?? NO_ROOT, root: index.root },
  }
  const digest = blockDigest(domain, header)
  const signatures = o.signers.map(({ secret }) => {
    const signature = nobleBls.signature(nobleBls.sign(digest, secret))
    if (signature === undefined) throw new Error('no signature')
    return signature
  })
  const signature = nobleBls.signatureCoding(nobleBls.sumSignatures(signatures))
  const missing = o.newlyMissing ?? new Map<number, Party>()
  const back = o.returning ?? new Map<number, Party>()
  const keys = [...missing.values(), ...back.values()].map(({ secret }) => blsPublicKey(secret))
  const named = [[...missing.keys()], [...back.keys()], hex(Buffer.concat(keys))]
  await send(operator, 'notarize', OPERATOR, hex(index.root), tau, ...named, hex(signature))
  return { ...index, header, entriesOf: (id) => entries.get(id) }
}

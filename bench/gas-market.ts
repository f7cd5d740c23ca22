// A market on a throw-away chain for the gas table: operators, merchants and consumers with keys
// made of small numbers, blocks built and signed by the project's own code, and one function that
// sends a transaction at a chosen second and says what it used. Called by gas.ts.

import { bls12_381 } from '@noble/curves/bls12-381.js'
import { type Contract, Wallet } from 'ethers'
import { blsPublicKey, provePossession } from '../chain/bls.ts'
import { blockDigest, NO_ROOT } from '../chain/payplace/block.ts'
import { NO_ENTRIES, packEntries } from '../chain/payplace/entries.ts'
import { leafHash } from '../chain/payplace/leaf.ts'
import { proofOf, rootOf, treeOf } from '../chain/payplace/tree.ts'
import { type Address, parseAddress } from '../ethereum/address.ts'
import { type Domain, payPlaceDomain, uintWord } from '../ethereum/typed-data.ts'
import { type Ledger, openLedger, reasonOf } from '../test/chain-live/ledger.ts'

const { G2, longSignatures } = bls12_381
const ORDER = bls12_381.fields.Fr.ORDER
const SIGNATURE_TAG = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'
/** EIP-7825: no transaction may use more. */
const GAS_LIMIT = '0x1000000'
/** Seconds; eta is small so that a merchant can be put out soon. */
export const TIMING = { beta: 1_000, gamma: 300, delta: 50, challenge: 2_000, eta: 1 }

/** An account of a merchant, an operator or a consumer. */
export interface Party {
  readonly wallet: Wallet
  readonly address: Address
  /** BLS secret, 32 bytes; consumers don't use theirs. */
  readonly secret: Buffer
}

/** One merchant's content of a block as the contract takes it. */
export interface Leaf {
  readonly operator: number
  readonly merchant: number
  readonly shard: number
  readonly shardCount: number
  readonly entries: readonly string[]
}

/** A notarized block: its leaves by merchant, and the proof of each. */
export interface Block {
  readonly root: Buffer
  leaf(merchant: number): Leaf
  proof(merchant: number): string[]
}

/** A call that a transaction made, at whatever depth. */
export interface InnerCall {
  readonly to: string
  /** With its own calls, without what it costs to call it. */
  readonly gas: number
  /** The first four bytes of its data, 0x-hex. */
  readonly selector: string
}

/** A running chain with the contract and one second at which the next transaction happens. */
export interface Market {
  readonly ledger: Ledger
  readonly g0: number
  readonly domain: Domain
  party(number: number): Promise<Party>
  /** The next transaction is in this period, so many seconds after its start. */
  at(period: number, phase: number): void
  now(): number
  /** Gas of a whole transaction; throws where it is refused. */
  send(from: Party, to: Contract, name: string, ...args: unknown[]): Promise<number>
  /** The calls inside the transaction that was sent last, precompiles among them. */
  calls(): Promise<InnerCall[]>
  stop(): Promise<void>
}

export const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

/** Far enough ahead for years: the time stands in signed messages, whose zero bytes are cheaper. */
const G0 = 2_000_000_000

export async function openMarket(): Promise<Market> {
  const ledger = await openLedger()
  const { provider } = ledger
  await provider.send('evm_setNextBlockTimestamp', [G0])
  await provider.send('evm_mine', [])
  await provider.send('anvil_autoImpersonateAccount', [true])
  let time = G0 + 1
  let last = ''
  const parties = new Map<number, Promise<Party>>()
  return {
    ledger,
    g0: G0,
    domain: payPlaceDomain(ledger.chainId, ledger.contract),
    party(number) {
      const made = parties.get(number) ?? makeParty(ledger, number)
      parties.set(number, made)
      return made
    },
    at(period, phase) {
      time = Math.max(time, G0 + period * TIMING.beta + phase)
    },
    now: () => time,
    async send(from, to, name, ...args) {
      await provider.send('evm_setNextBlockTimestamp', [time])
      time += 1
      const data = to.interface.encodeFunctionData(name, args)
      const call = { from: from.address, to: await to.getAddress(), data, gas: GAS_LIMIT }
      last = await provider.send('eth_sendTransaction', [call])
      const receipt = await receiptOf(ledger, last)
      if (receipt.status === '0x1') return Number(receipt.gasUsed)
      const why = await provider.send('eth_call', [call, receipt.blockNumber]).catch(reasonOf)
      throw new Error(`${name} was refused: ${why}`)
    },
    async calls() {
      const options = { tracer: 'callTracer' }
      return flat(await provider.send('debug_traceTransaction', [last, options]))
    },
    stop: () => ledger.stop(),
  }
}

interface Receipt {
  readonly status: string
  readonly gasUsed: string
  readonly blockNumber: string
}

/** The block is made at once, but a moment after the answer. */
async function receiptOf({ provider }: Ledger, hash: string): Promise<Receipt> {
  for (;;) {
    const receipt = await provider.send('eth_getTransactionReceipt', [hash])
    if (receipt !== null) return receipt
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

interface Traced {
  readonly to: string
  readonly gasUsed: string
  readonly input: string
  readonly calls?: readonly Traced[]
}

function flat({ calls = [] }: Traced): InnerCall[] {
  return calls.flatMap((call) => [
    { to: call.to, gas: Number(call.gasUsed), selector: call.input.slice(0, 10) },
    ...flat(call),
  ])
}

async function makeParty(ledger: Ledger, number: number): Promise<Party> {
  const wallet = new Wallet(hex(uintWord(1_000 + number)), ledger.provider)
  await ledger.provider.send('anvil_setBalance', [wallet.address, '0x3635c9adc5dea00000'])
  const address = parseAddress(wallet.address)
  if (address === undefined) throw new Error(`${wallet.address} is no address`)
  return { wallet, address, secret: uintWord(7_000 + number) }
}

/** What `register` and `registerOperator` need of a party's BLS key. */
export function keyAndProof(
  market: Market,
  party: Party,
  operatorId: number,
): { key: string; proof: string } {
  const { chainId, contract } = market.ledger
  const claim = { account: party.address, contract, chainId, operatorId }
  return { key: keyOf(party), proof: hex(provePossession(party.secret, claim)) }
}

export function keyOf(party: Party): string {
  return hex(blsPublicKey(party.secret))
}

/** The block that owes each merchant (by id) its entries: consumers with cumulative amounts. */
export function makeBlock(
  operator: number,
  owed: ReadonlyMap<number, readonly { consumer: Address; amount: bigint }[]>,
): Block {
  const ids = [...owed.keys()]
  const packed = new Map(
    [...owed].map(([id, list]) => {
      const sorted = [...list].sort((a, b) => (a.consumer < b.consumer ? -1 : 1))
      return [id, list.length === 0 ? NO_ENTRIES : packEntries(sorted)]
    }),
  )
  const entriesOf = (id: number): Buffer => packed.get(id) ?? NO_ENTRIES
  const tree = treeOf(
    Buffer.concat(
      ids.map((id) => leafHash(operator, { id, shard: 0, shardCount: 1, entries: entriesOf(id) })),
    ),
  )
  return {
    root: rootOf(tree),
    leaf(merchant) {
      const entries = entriesOf(merchant)
      const words = Array.from({ length: entries.length / 32 }, (_, i) =>
        hex(entries.subarray(i * 32, (i + 1) * 32)),
      )
      return { operator, merchant, shard: 0, shardCount: 1, entries: words }
    },
    proof: (merchant) => proofOf(tree, ids.indexOf(merchant)).map(hex),
  }
}

/** Arguments of `notarize`, signed by all signers together. */
export function notarization(o: {
  readonly market: Market
  readonly operator: number
  readonly k: number
  readonly previous: Block | undefined
  readonly block: Block
  readonly signers: readonly Party[]
  readonly newlyMissing?: ReadonlyMap<number, Party>
  readonly returning?: ReadonlyMap<number, Party>
}): unknown[] {
  const tau = o.market.now()
  const period = Math.floor((tau - o.market.g0) / TIMING.beta)
  const prevRoot = o.previous?.root ?? NO_ROOT
  const { operator, k } = o
  const header = { operator, k, period, prevRoot, root: o.block.root, tau }
  const digest = blockDigest(o.market.domain, header)
  // The sum of signatures is the signature of the sum of keys.
  const sum = o.signers.reduce((total, { secret }) => total + BigInt(hex(secret)), 0n) % ORDER
  const point = longSignatures.sign(longSignatures.hash(digest, SIGNATURE_TAG), uintWord(sum))
  const missing = o.newlyMissing ?? new Map<number, Party>()
  const back = o.returning ?? new Map<number, Party>()
  const keys = [...missing.values(), ...back.values()].map((party) => blsPublicKey(party.secret))
  return [
    operator,
    hex(o.block.root),
    tau,
    [...missing.keys()],
    [...back.keys()],
    hex(Buffer.concat(keys)),
    hex(encodeG2(point)),
  ]
}

function encodeG2(point: InstanceType<typeof G2.Point>): Buffer {
  const { x, y } = point.toAffine()
  const words = [x.c0, x.c1, y.c0, y.c1].map((value) => value.toString(16).padStart(128, '0'))
  return Buffer.from(words.join(''), 'hex')
}

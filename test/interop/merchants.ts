// A merchant for tests of the operator: its keys, its registration, the eight checks before it
// signs, and its withdrawals, as the merchant's program does them, without a store: what it must
// remember is in memory. It can be told to be away, or to answer with something else.

import { datanetInterface } from '../../chain/bindings.ts'
import { blsPublicKey, deriveMerchantBlsKey, nobleBls, provePossession } from '../../chain/bls.ts'
import { checkProposal, type SignableBlock } from '../../chain/payplace/check.ts'
import { decodeProposal, encodeAnswer, readerOf } from '../../chain/payplace/codec.ts'
import { eachEntry, NO_ENTRIES, subtractEntries, WORD } from '../../chain/payplace/entries.ts'
import { type BlockIndex, indexBlock, type KnownBlock } from '../../chain/payplace/known.ts'
import { leavesOf, type MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockAnswer, BlockProposal, Source } from '../../chain/payplace/proposal.ts'
import { type Phase, phaseAt } from '../../chain/payplace/timing.ts'
import { hex, voucherArgument } from '../../chain/payplace-calls.ts'
import { createPayplaceView, type PayplaceView, readBlock } from '../../chain/payplace-view.ts'
import { openSender, type RpcRequest } from '../../chain/transactions.ts'
import type { Address } from '../../ethereum/address.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantAnswerDigest, merchantQueryDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { type Domain, payPlaceDomain } from '../../ethereum/typed-data.ts'

/** Where all merchants of a test look: one reader of the chain for all of them. */
export interface MerchantPlace {
  readonly url: () => string
  readonly rpc: () => RpcRequest
  readonly chainId: bigint
  readonly contract: Address
  readonly operator: number
  readonly deployBlock: number
}

export interface MerchantDouble {
  readonly account: Address
  readonly id: () => number
  /** With the operator's approval, in the open window. */
  register(): Promise<void>
  /** Takes the id that the chain has for its account now. */
  recall(): Promise<void>
  /** Asks, checks, signs; what came of it: 'signed', 'nothing', or why it did not sign. */
  poll(): Promise<string>
  /** Answers what is offered with another digest's signature; whether something was. */
  answerWrongly(): Promise<boolean>
  /** What the last block it signed owes it. */
  readonly owed: () => bigint
  readonly signedPeriods: readonly number[]
  /** Everything of its last leaf, in the open window; the sum it was paid. */
  withdraw(): Promise<bigint>
  post(path: string, body: object | Buffer): Promise<{ status: number; body: Buffer }>
  query(): { id: number; time: number; signature: string }
}

const seconds = (): number => Math.floor(Date.now() / 1_000)
const GAS = 3_000_000n

/** A view that several doubles share, read every 600 ms: /v1/chain takes 20 calls a second. */
export function sharedView(place: MerchantPlace): () => Promise<PayplaceView> {
  let rpc: RpcRequest | undefined
  let view: PayplaceView | undefined
  let reading: Promise<unknown> | undefined
  return async () => {
    if (view === undefined || rpc !== place.rpc()) {
      rpc = place.rpc()
      const { contract, operator: operatorId, deployBlock: fromBlock } = place
      view = createPayplaceView({ rpc, contract, operatorId, fromBlock })
    }
    const following = view
    const forget = () => {
      reading = undefined
    }
    reading ??= following.sync().then(
      () => void setTimeout(forget, 600),
      (error: unknown) => {
        forget()
        throw error
      },
    )
    await reading
    return following
  }
}

interface Memory {
  id: number
  signedPeriod: number
  own: Buffer
  proofs: readonly (readonly Buffer[])[]
  sources: readonly Source[]
  block: (KnownBlock & { readonly k: number }) | undefined
  /** Proposed and not known to be notarized. */
  pending: { block: KnownBlock & { readonly k: number }; signed: SignableBlock } | undefined
}

export function merchantDouble(
  accountKey: Buffer,
  place: MerchantPlace,
  view: () => Promise<PayplaceView>,
): MerchantDouble {
  const account = accountOf(accountKey)
  const { chainId, contract, operator } = place
  const domain: Domain = payPlaceDomain(chainId, contract)
  const secret = deriveMerchantBlsKey({ accountKey, chainId, contract, operator })
  const blsKey = blsPublicKey(secret)
  const signedPeriods: number[] = []
  const memory: Memory = {
    ...{ id: 0, signedPeriod: -1, own: NO_ENTRIES, proofs: [], sources: [] },
    ...{ block: undefined, pending: undefined },
  }
  const query = (id = memory.id) => {
    const time = seconds()
    const digest = merchantQueryDigest(domain, { operator, merchant: id, time })
    return { id, time, signature: hex(signDigest(digest, accountKey)) }
  }
  const post = async (path: string, body: object | Buffer) => {
    const isBytes = Buffer.isBuffer(body)
    const type = isBytes ? 'application/octet-stream' : 'application/json'
    const answer = await fetch(`${place.url()}/v1/merchant/${path}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: isBytes ? new Uint8Array(body) : JSON.stringify(body),
    })
    return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) }
  }
  const postAnswer = (answer: BlockAnswer) => {
    const own = signDigest(merchantAnswerDigest(domain, answer), accountKey)
    return post('answer', Buffer.concat([encodeAnswer(answer), own]))
  }
  const send = async (name: string, args: unknown[]) => {
    const data = datanetInterface.encodeFunctionData(name, args)
    const sender = openSender({ rpc: place.rpc(), chainId, privateKey: accountKey })
    return sender.send({ to: contract, data, what: name, gas: GAS })
  }

  /** What was signed became the chain's last block, or did not. */
  function settle(k: number, root: Buffer): void {
    const { pending } = memory
    if (pending?.block.k !== k || !pending.block.root.equals(root)) return
    memory.block = pending.block
    memory.own = pending.signed.own.entries
    memory.proofs = pending.signed.own.proofs
    memory.sources = pending.signed.own.sources
    memory.pending = undefined
  }

  const recall = async () => {
    const following = await view()
    await following.sync()
    memory.id = following.at()?.merchantOf(account)?.id ?? 0
  }

  async function registerNow(): Promise<void> {
    const { time, signature } = query(0)
    const pkHash = hex(keccak256(blsKey))
    const asked = await post('approval', {
      ...{ account: checksumAddress(account), pkHash, time, signature },
    })
    if (asked.status !== 200) throw new Error(`approval: ${asked.status} ${asked.body}`)
    const approval = JSON.parse(String(asked.body))
    await waitForPhase(await view(), 'open', Math.floor)
    const proof = provePossession(secret, { account, contract, chainId, operatorId: operator })
    const args = [operator, hex(blsKey), hex(proof), approval.validUntil, approval.signature]
    await send('register', args)
    await recall()
  }

  return {
    account,
    id: () => memory.id,
    signedPeriods,
    owed: () => [...eachEntry(memory.own)].reduce((sum, { amount }) => sum + amount, 0n),
    post,
    query,
    async register() {
      // An open window may end between the look at it and the block.
      const isLate = (error: unknown): boolean => `${error}`.includes('Datanet_NotOpen')
      for (let tries = 1; ; tries++) {
        try {
          return await registerNow()
        } catch (error) {
          if (tries === 3 || !isLate(error)) throw error
        }
      }
    },
    recall,
    async poll() {
      const following = await view()
      const now = following.at()
      if (now !== undefined) settle(now.block().k, now.block().root)
      const have = memory.block === undefined ? {} : { have: memory.block.k }
      const offered = await post('proposal', { ...query(), ...have })
      if (offered.status === 204) return 'nothing'
      if (offered.status !== 200) return `${offered.status} ${offered.body}`
      const proposal = decodeProposal(readerOf(offered.body))
      if (typeof proposal === 'string') return proposal
      const checked = await check(following, proposal)
      if (typeof checked === 'string') return checked
      const { header } = proposal
      memory.signedPeriod = header.period
      memory.pending = checked
      const answer = {
        ...{ operator, k: header.k, period: header.period, root: header.root, id: memory.id },
        signature: nobleBls.sign(checked.signed.digest, secret),
      }
      const taken = await postAnswer(answer)
      if (taken.status !== 202) return `${taken.status} ${taken.body}`
      if (!signedPeriods.includes(header.period)) signedPeriods.push(header.period)
      return 'signed'
    },
    async answerWrongly() {
      const offered = await post('proposal', query())
      if (offered.status !== 200) return false
      const proposal = decodeProposal(readerOf(offered.body))
      if (typeof proposal === 'string') throw new Error(proposal)
      const { k, period, root } = proposal.header
      const signature = nobleBls.sign(Buffer.alloc(32, 1), secret)
      const answer = { operator, k, period, root, id: memory.id, signature }
      return (await postAnswer(answer)).status === 202
    },
    async withdraw() {
      const following = await view()
      await waitForPhase(following, 'open', Math.floor)
      await following.sync()
      const facts = following.at()
      const record = facts?.merchant(memory.id)
      if (facts === undefined || record === undefined) throw new Error('no facts')
      settle(facts.block().k, facts.block().root)
      const lock = record.locks[0]
      const leaf = lock?.leaf ?? leavesOf({ id: memory.id, entries: memory.own })[0]
      if (leaf === undefined) throw new Error('no leaf')
      const words = Array.from({ length: leaf.entries.length / WORD }, (_, i) =>
        hex(leaf.entries.subarray(i * WORD, (i + 1) * WORD)),
      )
      const { shard, shardCount } = leaf
      const argument = { operator, merchant: memory.id, shard, shardCount, entries: words }
      const proof = lock === undefined ? (memory.proofs[0] ?? []).map(hex) : []
      const vouchers = lock === undefined ? memory.sources.map(voucherArgument) : []
      await send('withdraw', [argument, proof, vouchers, checksumAddress(account)])
      memory.own = subtractEntries(memory.own, leaf.entries)
      return [...eachEntry(leaf.entries)].reduce((sum, { amount }) => sum + amount, 0n)
    },
  }

  async function check(following: PayplaceView, proposal: BlockProposal) {
    if ((following.at()?.number ?? -1) < proposal.snapshot.number) await following.sync()
    const facts = following.at(proposal.snapshot.number)
    const timing = facts?.operator()?.timing
    const block = await readBlock(place.rpc(), proposal.snapshot.number)
    if (facts === undefined || timing === undefined || block === undefined) return 'no snapshot'
    const kept = new Map<number, Buffer>()
    const now = seconds()
    const result = checkProposal(
      {
        ...{ domain, operator, id: memory.id, timing, now, headTime: now, marginS: 0 },
        snapshot: {
          ...{ number: block.number, time: block.time },
          hash: Buffer.from(block.hash.slice(2), 'hex'),
        },
        ...{ k: facts.block().k, root: facts.block().root, merchants: facts.merchants() },
        channel: (consumer) => facts.channel(consumer),
        previous: memory.block?.k === facts.block().k ? memory.block : await fetched(facts.block()),
        ...{ signedPeriod: answered(proposal), ownEntries: floorOfOwn(facts) },
        ...{ isVerified: () => false, income: undefined, requireIncome: false, seed: 7 },
      },
      proposal,
      ({ id, entries }: MerchantEntries) => kept.set(id, Buffer.from(entries)),
    )
    if ('refused' in result) return `refused: ${result.refused} ${result.merchant ?? ''}`
    const before = memory.block
    const entriesOf = (id: number): Buffer | undefined =>
      result.index.places.has(id) ? (kept.get(id) ?? before?.entriesOf(id)) : undefined
    const known: BlockIndex = result.index
    return { block: { ...known, k: proposal.header.k, entriesOf }, signed: result }
  }

  /** The very block it has signed may be signed again: it is the same signature. */
  function answered({ header }: BlockProposal): number {
    const same = memory.pending?.block.root.equals(header.root) === true
    return same && memory.signedPeriod === header.period ? header.period - 1 : memory.signedPeriod
  }

  function floorOfOwn(facts: ReturnType<PayplaceView['at']>): Buffer {
    const record = facts?.merchant(memory.id)
    if (record?.missingSince !== undefined) return NO_ENTRIES
    return subtractEntries(memory.own, record?.withdrawn ?? NO_ENTRIES)
  }

  async function fetched({ k }: { readonly k: number }): Promise<KnownBlock | undefined> {
    if (k === 0) return undefined
    const answer = await post('block', { ...query(), k })
    if (answer.status !== 200) return undefined
    const past = decodeProposal(readerOf(answer.body))
    if (typeof past === 'string') return undefined
    const all = new Map([...past.merchants].map(({ id, entries }) => [id, entries]))
    const merchants = [...all].map(([id, entries]) => ({ id, entries }))
    const index = indexBlock(operator, merchants, 7)
    memory.block = { ...index, k, entriesOf: (id) => all.get(id) }
    return memory.block
  }
}

/** Waits until the operator's clock is in a phase. */
export async function waitForPhase(
  view: PayplaceView,
  phase: Phase,
  round: (seconds: number) => number,
): Promise<void> {
  const timing = view.at()?.operator()?.timing
  if (timing === undefined) throw new Error('the operator is not known')
  while (phaseAt(timing, round(Date.now() / 1_000)) !== phase) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

// The view of the contract that operator and merchants share, held against the contract itself
// after every step of a market's life on a real chain; its past, its store, and a chain that
// forgets.

import t, { type Test } from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { packEntries } from '../../chain/payplace/entries.ts'
import { leafHash, leavesOf } from '../../chain/payplace/leaf.ts'
import type { PayplaceFacts, ViewStore } from '../../chain/payplace-facts.ts'
import { createPayplaceView, type PayplaceView } from '../../chain/payplace-view.ts'
import { readContract } from '../../chain/transactions.ts'
import { type Market, OPERATOR, openMarket, type Party } from './payplace-market.ts'

const TIMING = { beta: 1_000, gamma: 300, delta: 50, challenge: 2_000, eta: 2 }
const OPEN = TIMING.gamma + TIMING.delta + 1

const market = await openMarket(TIMING)
t.teardown(() => market.stop())

/** A store in memory. */
function memoryStore(): ViewStore & { readonly entries: Map<string, Uint8Array> } {
  const entries = new Map<string, Uint8Array>()
  return {
    entries,
    load: () => entries,
    write(list, anew) {
      if (anew) entries.clear()
      for (const [name, value] of list) {
        if (value === undefined) entries.delete(name)
        else entries.set(name, value)
      }
    },
  }
}

const viewOf = (store?: ViewStore): PayplaceView =>
  createPayplaceView({
    ...{ rpc: market.rpc, contract: market.contract, operatorId: OPERATOR, fromBlock: 0 },
    ...(store === undefined ? {} : { store }),
  })

/** A struct's fields by name; ethers' own way breaks on a Result that holds a Result. */
function named(name: string, struct: Iterable<unknown>): Record<string, unknown> {
  const [output] = datanetInterface.getFunction(name)?.outputs ?? []
  const values = [...struct]
  return Object.fromEntries(
    (output?.components ?? []).map((component, i) => [component.name, values[i]]),
  )
}

async function ask(name: string, ...args: unknown[]): Promise<Record<string, unknown>> {
  const data = datanetInterface.encodeFunctionData(name, args)
  const answer = await readContract(market.rpc, market.contract, data)
  const [first] = datanetInterface.decodeFunctionResult(name, answer)
  return typeof first === 'object' ? named(name, first) : { value: first }
}

/** Everything the view says of these merchants and consumers against what the contract says. */
async function compare(
  t: Test,
  facts: PayplaceFacts | undefined,
  ids: readonly number[],
  consumers: readonly Party[],
  what: string,
): Promise<void> {
  if (facts === undefined) throw new Error('no facts')
  const operator = await ask('operator', OPERATOR)
  const { k, root, lastPeriod } = facts.block()
  const block = [BigInt(k), `0x${root.toString('hex')}`, BigInt(lastPeriod)]
  t.same(block, [operator['k'], operator['root'], operator['lastPeriod']], `${what}: block`)
  for (const id of ids) {
    const onChain = await ask('merchant', OPERATOR, id)
    const record = facts.merchant(id)
    const bits = (shards: readonly number[]) => shards.reduce((sum, shard) => sum | (1 << shard), 0)
    const settled = record?.settled.k === k ? bits(record.settled.shards) : 0
    const seen = {
      hasLeft: record?.status === 'exited',
      joinedAt: BigInt(record?.joinedAt ?? -1),
      missing: record?.missingSince === undefined ? 0n : BigInt(record.missingSince + 1),
      settled: BigInt(settled),
      locked: BigInt(bits(record?.locks.map(({ leaf }) => leaf.shard) ?? [])),
    }
    const { exitedAt, joinedAt, missingSince, shardsAt } = onChain
    const isNow = shardsAt === BigInt(k + 1)
    t.same(
      seen,
      {
        ...{ hasLeft: exitedAt !== 0n, joinedAt, missing: missingSince },
        ...{ settled: isNow ? onChain['settled'] : 0n, locked: onChain['locked'] },
      },
      `${what}: merchant ${id}`,
    )
    for (const { leaf, lockHash } of record?.locks ?? []) {
      const held = await ask('lockOf', OPERATOR, id, leaf.shard)
      t.equal(`0x${lockHash.toString('hex')}`, held['value'], `${what}: lock of ${id}`)
      t.ok(leafHash(OPERATOR, leaf).equals(lockHash), `${what}: content of the lock of ${id}`)
    }
  }
  for (const { account } of consumers) {
    const { shift, pendingShift, ...channel } = facts.channel(account)
    t.same(channel, await ask('channel', OPERATOR, account), `${what}: channel`)
    const onChain = await ask('shift', OPERATOR, account)
    t.equal(pendingShift, onChain['requestedAt'] === 0n ? 0n : onChain['amount'], `${what}: shift`)
    if (shift !== undefined) t.equal(BigInt(shift.period), onChain['period'], `${what}: period`)
  }
}

const names = ['lobby', 'cafe', 'roof']
const [lobby, cafe, roof] = (await Promise.all(names.map((name) => market.party(name)))) as [
  Party,
  Party,
  Party,
]
const consumers = (await Promise.all(['ann', 'bob', 'eve'].map((name) => market.party(name)))) as [
  Party,
  Party,
  Party,
]
const [ann, bob, eve] = consumers
const { operator } = market
const owes = (party: Party, amount: bigint) => ({ consumer: party.account, amount })

/** The steps of the market, each leaving something new to read. */
const steps: readonly [what: string, step: (market: Market) => Promise<unknown>][] = [
  [
    'deposits',
    async () => {
      for (const consumer of consumers) await market.deposit(consumer, 1_000n)
    },
  ],
  [
    'registrations',
    async () => {
      await market.at(1, OPEN)
      await market.register(lobby)
      await market.register(cafe)
    },
  ],
  [
    'block 1',
    async () => {
      await market.at(2, 5)
      const owed = new Map([
        [1, [owes(ann, 1n)]],
        [2, [owes(ann, 50n), owes(bob, 10n)]],
        [3, [owes(bob, 20n)]],
      ])
      await market.notarize({ owed, signers: [operator, lobby, cafe] })
    },
  ],
  [
    'a third merchant',
    async () => {
      await market.at(2, OPEN)
      await market.register(roof)
    },
  ],
  [
    'a withdrawal with a fresh voucher',
    async () => {
      const entries = market.block?.entriesOf(2) ?? Buffer.alloc(0)
      const [leaf] = leavesOf({ id: 2, entries })
      if (leaf === undefined) throw new Error('no leaf')
      await market.withdraw(lobby, leaf, [market.voucher(ann, 60n), market.voucher(bob, 40n)])
    },
  ],
  [
    'a lock',
    async () => {
      await market.at(3, 5)
      await market.lock(3, [])
    },
  ],
  [
    'block 2 without merchants 3 and 4',
    async () => {
      const owed = new Map([
        [1, [owes(ann, 2n)]],
        [2, [owes(eve, 7n)]],
        [3, [owes(bob, 20n)]],
        [4, []],
      ])
      const newlyMissing = new Map([
        [3, cafe],
        [4, roof],
      ])
      await market.notarize({ owed, signers: [operator, lobby], newlyMissing })
    },
  ],
  ['a shift asked for', () => market.requestShift(eve, OPERATOR + 1, 900n)],
  [
    'a challenge',
    async () => {
      const seen = market.voucher(eve, 300n)
      const { contractVoucher } = await import('./payplace-market.ts')
      await market.send(operator, 'challengeShift', OPERATOR, contractVoucher(seen))
    },
  ],
  [
    'the return of merchant 3, and an unlock',
    async () => {
      await market.at(4, 5)
      const owed = new Map([
        [1, [owes(ann, 2n)]],
        [2, [owes(eve, 9n)]],
        [3, [owes(bob, 25n)]],
        [4, []],
      ])
      const returning = new Map([[3, cafe]])
      await market.notarize({ owed, signers: [operator, lobby, cafe], returning })
      const { contractLeaf } = await import('./payplace-market.ts')
      const [leaf] = leavesOf({ id: 3, entries: packEntries([owes(bob, 20n)]) })
      if (leaf === undefined) throw new Error('no leaf')
      await market.send(operator, 'unlock', contractLeaf(leaf))
    },
  ],
  [
    'a withdrawal that is cut short',
    async () => {
      await market.at(4, OPEN)
      const [leaf] = leavesOf({ id: 2, entries: market.block?.entriesOf(2) ?? Buffer.alloc(0) })
      if (leaf === undefined) throw new Error('no leaf')
      await market.withdraw(lobby, leaf, [])
    },
  ],
]

t.test('the view says what the contract says, after every step and afterwards', async (t) => {
  // A second operator, so that events of others are there to be left out.
  const { blsPublicKey, provePossession } = await import('../../chain/bls.ts')
  const other = await market.party('other')
  const claim = { account: other.account, contract: market.contract, chainId: market.chainId }
  const proof = provePossession(other.secret, { ...claim, operatorId: 2 })
  const { g0, beta, gamma, delta, challenge, eta } = market.timing
  const info = [other.account, `0x${'cd'.repeat(32)}`, 'http://other.example']
  const key = blsPublicKey(other.secret)
  const timing = [g0, beta, gamma, delta, challenge, eta]
  await market.send(other, 'registerOperator', info, timing, key, proof)

  const store = memoryStore()
  const view = viewOf(store)
  const past: { number: number; text: string }[] = []
  const textOf = (facts: PayplaceFacts | undefined): string =>
    JSON.stringify(
      [
        facts?.operator(),
        facts?.block(),
        facts?.merchants(),
        facts?.shifts(),
        consumers.map(({ account }) => facts?.channel(account)),
      ],
      (_, value) => (typeof value === 'bigint' ? `${value}` : value),
    )
  for (const [what, step] of steps) {
    await step(market)
    const { head, events, reread } = await view.sync()
    t.ok(events.length > 0 && !reread, `${what}: something happened`)
    const facts = view.at()
    t.equal(facts?.number, head.number)
    const ids = [1, 2, 3, 4].filter((id) => facts?.merchant(id) !== undefined)
    await compare(t, facts, ids, consumers, what)
    past.push({ number: head.number, text: textOf(facts) })
  }
  t.equal((await view.sync()).events.length, 0, 'nothing new, nothing told')
  t.same(view.at()?.operator()?.timing, market.timing)
  t.equal(view.at()?.merchantOf(cafe.account)?.id, 3)
  for (const { number, text } of past) t.equal(textOf(view.at(number)), text, `as of ${number}`)
  const facts = view.at()
  const whole = packEntries([owes(eve, 9n)])
  t.ok(facts?.merchant(2)?.withdrawn.equals(whole), 'D29: a capped payment counts whole')

  const again = viewOf(store)
  t.equal(textOf(again.at()), past.at(-1)?.text, 'from its store alone')
  for (const { number, text } of past) {
    t.equal(textOf(again.at(number)), text, `as of ${number}, from its store`)
  }
  t.same((await again.sync()).events, [], 'and reads nothing twice')
})

t.test(
  'blocks that the chain forgets are taken back; a chain that is another is read anew',
  async (t) => {
    const { provider } = market.ledger
    const store = memoryStore()
    const view = viewOf(store)
    await view.sync()
    const before = view.at()?.channel(ann.account).deposit
    const snapshot = await provider.send('evm_snapshot', [])
    await market.deposit(ann, 5n)
    await view.sync()
    t.equal(view.at()?.channel(ann.account).deposit, (before ?? 0n) + 5n)
    await provider.send('evm_revert', [snapshot])
    await market.deposit(bob, 3n)
    const synced = await view.sync()
    t.notOk(synced.reread, 'only the difference')
    await compare(t, view.at(), [1, 2, 3, 4], consumers, 'after the reorg')
    const restarted = viewOf(store)
    await restarted.sync()
    await compare(t, restarted.at(), [1, 2, 3, 4], consumers, 'stored after the reorg')

    const nowhere = { number: 3, hash: '0x00' }
    const tail = { position: nowhere, base: nowhere, steps: [] }
    store.entries.set('tail', (await import('node:v8')).serialize(tail))
    const lost = viewOf(store)
    t.ok((await lost.sync()).reread)
    await compare(t, lost.at(), [1, 2, 3, 4], consumers, 'read anew')
  },
)

t.test(
  'a reading that fails loses nothing; a node that limits answers is asked for less',
  async (t) => {
    const store = memoryStore()
    let failing = 3
    let asked = 0
    const rpc = {
      async request(method: string, params: readonly unknown[]) {
        const [filter] = params as [{ fromBlock: string; toBlock: string }]
        if (method === 'eth_getLogs') {
          const { ChainError } = await import('../../chain/error.ts')
          asked += 1
          if (Number(filter.toBlock) - Number(filter.fromBlock) > 4) {
            throw new ChainError('rpc-error', 'query returned more than 4 results')
          }
          if (asked > 12 && failing-- > 0) throw new ChainError('chain-unreachable', 'gone')
        }
        return market.rpc.request(method, params)
      },
    }
    const source = { rpc, contract: market.contract, operatorId: OPERATOR, fromBlock: 0, store }
    const view = createPayplaceView(source)
    const whole = viewOf()
    await whole.sync()
    for (let i = 0; i < 3; i++) await t.rejects(view.sync(), { code: 'chain-unreachable' })
    await view.sync()
    await compare(t, view.at(), [1, 2, 3, 4], consumers, 'after failures')
    const restarted = viewOf(store)
    await restarted.sync()
    await compare(t, restarted.at(), [1, 2, 3, 4], consumers, 'as stored')
  },
)

t.test('with a full disk the chain is read on, and stored when there is room', async (t) => {
  const store = memoryStore()
  let writes = 0
  const view = viewOf({
    load: store.load,
    write(entries, anew) {
      writes += 1
      if (writes <= 2) throw new Error('database or disk is full')
      store.write(entries, anew)
    },
  })
  const first = await view.sync()
  t.ok(first.events.length > 0)
  await compare(t, view.at(), [1, 2, 3, 4], consumers, 'not stored')
  t.match(await view.sync(), { events: [], reread: false }, 'nothing is told twice')
  t.equal(store.entries.size, 0)
  await view.sync()
  const restarted = viewOf(store)
  t.match(await restarted.sync(), { events: [], reread: false })
  await compare(t, restarted.at(), [1, 2, 3, 4], consumers, 'stored with the third reading')
})

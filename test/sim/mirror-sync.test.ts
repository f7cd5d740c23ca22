// Catching up with a chain in memory: cases one by one, then seeded random reorgs and failures
// against a naive recomputation from the chain as it is.

import t from 'tap'
import {
  type Change,
  createMirrorState,
  entriesOf,
  type MirrorState,
  STEPS_MAX,
} from '../../chain/mirror-state.ts'
import { type SyncOutcome, type SyncSource, syncMirror } from '../../chain/mirror-sync.ts'
import {
  account,
  CONTRACT,
  createFakeChain,
  deposited,
  type FakeChain,
  type FakeLog,
  mulberry,
  refusal,
} from '../chain/fakechain.ts'

const alice = account(1)
const bob = account(2)

interface Run {
  readonly state: MirrorState
  /** Every entry as the changes told it: what a store would hold. */
  readonly told: Map<string, Change>
  readonly rounds: Change[][]
  sync(rollBack?: boolean): Promise<SyncOutcome>
}

function follow(chain: FakeChain, options: Partial<SyncSource> = {}): Run {
  const state = createMirrorState()
  const told = new Map<string, Change>()
  const rounds: Change[][] = []
  const source: SyncSource = {
    rpc: chain.rpc,
    contract: CONTRACT,
    deployBlock: 0,
    confirmations: 1,
    visibleBlock: () => Number.POSITIVE_INFINITY,
    onChanges: (changes) => {
      rounds.push([...changes])
      for (const change of changes) told.set(nameOf(change), change)
    },
    onHead: () => undefined,
    ...options,
  }
  return { state, told, rounds, sync: (rollBack = false) => syncMirror(state, source, rollBack) }
}

function nameOf(change: Change): string {
  const { value: _, ...name } = change
  return JSON.stringify(name)
}

const depositOf = (run: Run, of: typeof alice): bigint | undefined =>
  run.state.channels.get(of)?.get(1)?.deposit

t.test('idle: one question, nothing changes', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain)
  await run.sync()
  chain.asked.clear()
  t.equal(await run.sync(), 'at-head')
  t.strictSame([...chain.asked], [['eth_getBlockByNumber', 1]])
})

t.test('a deposit on both branches is never seen to vanish', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain)
  chain.mine([deposited(1, alice, 5n), deposited(1, bob, 1n)])
  await run.sync()
  const rounds = run.rounds.length
  chain.drop(1)
  for (let i = 0; i < 40; i++) chain.mine()
  chain.mine([deposited(1, alice, 5n)])
  t.equal(await run.sync(), 'at-head')
  t.equal(run.rounds.length, rounds + 1, 'back and forward are one change')
  t.equal(depositOf(run, alice), 5n)
  t.equal(depositOf(run, bob), undefined)
})

t.test('a lower head', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain)
  for (let i = 1n; i <= 5n; i++) chain.mine([deposited(1, alice, i)])
  await run.sync()
  chain.drop(2)
  t.equal(await run.sync(), 'behind', 'a node that lags changes nothing')
  t.equal(depositOf(run, alice), 5n)
  t.equal(await run.sync(true), 'at-head', 'a rollback does')
  t.equal(depositOf(run, alice), 3n)
  chain.drop(2)
  chain.mine([deposited(1, bob, 8n)])
  t.equal(await run.sync(), 'at-head', 'a lower head of another branch is a reorg at once')
  t.strictSame([depositOf(run, alice), depositOf(run, bob)], [1n, 8n])
})

t.test('a node that starts anew is not believed, whatever time passes', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain, { deployBlock: 300 })
  for (let i = 0; i < 400; i++) chain.mine()
  chain.mine([deposited(1, alice, 5n)])
  await run.sync()
  chain.drop(390)
  t.equal(await run.sync(), 'behind')
  t.equal(await run.sync(true), 'behind')
  t.equal(depositOf(run, alice), 5n)
})

t.test('none of our blocks left: lost', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain, { deployBlock: 1 })
  for (let i = 1; i <= STEPS_MAX + 50; i++) {
    chain.mine()
    await run.sync()
  }
  t.equal(run.state.steps.length, STEPS_MAX, 'the undo log is bounded')
  chain.drop(STEPS_MAX + 10)
  for (let i = 1; i <= STEPS_MAX + 50; i++) chain.mine()
  t.equal(await run.sync(), 'lost')
})

t.test('from the start: ranges of at most 2,000 blocks, then one by one', async (t) => {
  const chain = createFakeChain()
  for (let i = 1; i <= 4_500; i++)
    chain.mine(i % 1_000 === 0 ? [deposited(1, alice, BigInt(i))] : [])
  const run = follow(chain, { deployBlock: 10 })
  const ranges: number[] = []
  chain.before = ({ method, params }) => {
    const { fromBlock, toBlock } = params[0] as Record<string, string>
    if (method === 'eth_getLogs' && fromBlock) ranges.push(Number(toBlock) - Number(fromBlock) + 1)
  }
  t.equal(await run.sync(), 'at-head')
  t.equal(depositOf(run, alice), 4_000n)
  t.strictSame(ranges, [2_000, 2_000, 427])
  t.equal(run.state.steps.length, 3 + 64)
})

t.test('the block before a range must still be there when the range was read', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain)
  for (let i = 1; i <= 9; i++) chain.mine()
  chain.mine([deposited(1, alice, 5n)])
  await run.sync()
  for (let i = 11; i <= 300; i++) chain.mine()
  const end = `0x${(300 - 64).toString(16)}`
  chain.before = ({ params }) => {
    if (params[0] !== end) return
    chain.before = () => undefined
    chain.drop(chain.blocks.length - 9)
    for (let i = 9; i <= 300; i++) chain.mine()
  }
  t.equal(await run.sync(), 'at-head')
  t.equal(depositOf(run, alice), undefined)
})

t.test('confirmations: n shows a block when n - 1 are on top of it', async (t) => {
  for (const confirmations of [1, 2, 5]) {
    const chain = createFakeChain()
    const run = follow(chain, { confirmations })
    chain.mine([deposited(1, alice, 5n)])
    for (let onTop = 0; onTop < 5; onTop++) {
      await run.sync()
      t.equal(depositOf(run, alice), onTop >= confirmations - 1 ? 5n : undefined)
      chain.mine()
    }
  }
})

t.test('a node that refuses large ranges gets smaller ones', async (t) => {
  const chain = createFakeChain()
  for (let i = 1; i <= 1_000; i++) chain.mine([deposited(1, alice, BigInt(i))])
  chain.before = ({ method, params }) => {
    const { fromBlock, toBlock } = params[0] as Record<string, string>
    const blocks = Number(toBlock) - Number(fromBlock) + 1
    if (method === 'eth_getLogs' && blocks > 100) throw refusal()
  }
  const run = follow(chain)
  t.equal(await run.sync(), 'at-head')
  t.equal(depositOf(run, alice), 1_000n)
})

t.test('a chain that never holds still is given up for this time', async (t) => {
  const chain = createFakeChain()
  const run = follow(chain)
  for (let i = 0; i < 5; i++) chain.mine()
  await run.sync()
  chain.mine()
  chain.before = ({ params }) => {
    if (params[0] === 'latest') return
    const above = chain.blocks.length - 3
    chain.drop(above)
    for (let i = 0; i <= above; i++) chain.mine()
  }
  await t.rejects(run.sync(), { code: 'node-behind' })
})

t.test('random reorgs, failures and rewrites under way', async (t) => {
  for (let seed = 1; seed <= 12; seed++) t.equal(await simulate(seed), '', `seed ${seed}`)
})

/** One random history; '' when the mirror always ended where the naive recomputation does. */
async function simulate(seed: number): Promise<string> {
  const random = mulberry(seed)
  const below = (limit: number): number => Math.floor(random() * limit)
  const chain = createFakeChain()
  const confirmations = 1 + below(3)
  let run = follow(chain, { confirmations })
  const mine = (): void => {
    const count = below(10) === 0 ? below(150) : below(4)
    for (let i = 0; i < count; i++) chain.mine(randomLogs(below))
  }
  const rewrite = (): void => {
    chain.drop(below(8) === 0 ? below(120) : below(6))
    mine()
  }
  for (let turn = 0; turn < 30; turn++) {
    if (below(3) === 0) rewrite()
    else mine()
    chain.before = () => {
      if (below(40) === 0) throw refusal()
      if (below(15) === 0) rewrite()
    }
    await run.sync(below(2) === 0).catch(() => undefined)
    chain.before = () => undefined
    const outcome = await run.sync(true)
    if (outcome === 'lost') {
      run = follow(chain, { confirmations })
      await run.sync()
    } else if (outcome === 'behind') {
      continue
    }
    // A chain that got shorter leaves the mirror above the confirmed block, as far as it is
    // canonical.
    const to = Math.max(chain.blocks.length - confirmations, run.state.head?.number ?? -1)
    const wanted = naive(chain, to)
    const found = JSON.stringify([...entriesOf(run.state)].map(plain).sort())
    if (found !== wanted) return `turn ${turn}: ${found} instead of ${wanted}`
    const told = [...run.told.values()].filter((change) => change.value !== undefined)
    if (JSON.stringify(told.map(plain).sort()) !== wanted) return `turn ${turn}: told otherwise`
  }
  return ''
}

function randomLogs(below: (limit: number) => number): FakeLog[] {
  return Array.from({ length: below(3) }, () => {
    const [operatorId, of, amount] = [1 + below(2), account(1 + below(4)), BigInt(1 + below(99))]
    const spki = `0x${`${1 + below(3)}`.repeat(64)}`
    switch (below(9)) {
      case 0:
        return { name: 'DeviceKeySet', args: [of, spki, below(2) === 0] }
      case 1:
        return { name: 'VoucherSeen', args: [operatorId, of, amount] }
      case 2:
        return { name: 'ChannelUpdated', args: [operatorId, of, amount, 1n, 2n, 3n] }
      case 3:
        return {
          name: 'OperatorRegistered',
          args: [operatorId, of, of, spki, `http://${amount}`, [0, 0, 0, 0, 0, 0]],
        }
      case 4:
        return { name: 'ShiftRequested', args: [operatorId, 3, of, amount, 50n, 2n, 1n] }
      case 5:
        return { name: 'ShiftChallenged', args: [operatorId, of, account(9), amount / 4n] }
      case 6:
        return below(2) === 0
          ? { name: 'ShiftFinalized', args: [operatorId, 3, of, amount] }
          : { name: 'ShiftCancelled', args: [operatorId, of] }
      default:
        return deposited(operatorId, of, amount)
    }
  })
}

/** All entries after the blocks up to `to`, from nothing, written as directly as possible. */
function naive(chain: FakeChain, to: number): string {
  const entries: Record<string, unknown> = {}
  for (const { name, args } of chain.blocks.slice(0, to + 1).flatMap((block) => block.logs)) {
    if (name === 'DeviceKeySet') {
      entries[`device ${args[0]} ${String(args[1]).slice(2)}`] = args[2] ? 'enabled' : 'disabled'
    } else if (name === 'OperatorRegistered') {
      entries[`operator ${args[0]}`] = `${args[1]} ${String(args[3]).slice(2)} ${args[4]}`
    } else {
      // These two name the operator to which it goes before the account.
      const goes = name === 'ShiftRequested' || name === 'ShiftFinalized'
      const key = `channel ${args[0]} ${args[goes ? 2 : 1]}`
      const known = (entries[key] as bigint[]) ?? [0n, 0n, 0n, 0n, 0n]
      const [deposit, reserved, highest, withdrawn, pending] = known
      const amounts = [deposit, reserved, highest, withdrawn]
      if (name === 'Deposited') entries[key] = [args[3], reserved, highest, withdrawn, pending]
      if (name === 'VoucherSeen') entries[key] = [deposit, reserved, args[2], withdrawn, pending]
      if (name === 'ChannelUpdated') entries[key] = [...args.slice(2), pending]
      if (name === 'ShiftRequested' || name === 'ShiftChallenged') {
        entries[key] = [...amounts, args[3]]
      }
      if (name === 'ShiftFinalized' || name === 'ShiftCancelled') entries[key] = [...amounts, 0n]
    }
  }
  return JSON.stringify(
    Object.entries(entries)
      .map(([key, value]) => `${key}: ${value}`)
      .sort(),
  )
}

function plain(change: Change): string {
  if (change.kind === 'device-key') {
    return `device ${change.account} ${change.spkiSha256}: ${change.value}`
  }
  if (change.kind === 'operator') {
    const { account: of, serverSpkiSha256, metadataUri } = change.value ?? {}
    return `operator ${change.operatorId}: ${of} ${serverSpkiSha256} ${metadataUri}`
  }
  const { deposit, reserved, highestVoucher, withdrawn, pendingShift } = change.value ?? {}
  const amounts = [deposit, reserved, highestVoucher, withdrawn, pendingShift]
  return `channel ${change.operatorId} ${change.account}: ${amounts}`
}

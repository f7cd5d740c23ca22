// Published activities on a real chain by the calls programs make: attestors named, k of n,
// evidence refused, what the events add up to.

import { Wallet } from 'ethers'
import t from 'tap'
import {
  attestorEvidence,
  digestOf,
  findActivityContracts,
  isAttestor,
  publishActivity,
  readActivityPosition,
  readThreshold,
  setAttestors,
} from '../../chain/activity-calls.ts'
import {
  addActivity,
  NO_ACTIVITY,
  type PublishedActivity,
  readActivities,
} from '../../chain/activity-events.ts'
import { ensureAttestor } from '../../chain/attestor.ts'
import { blsPublicKey, deriveOperatorBlsKey, provePossession } from '../../chain/bls.ts'
import { numberOf } from '../../chain/jsonrpc.ts'
import { openRpc } from '../../chain/rpc.ts'
import type { Activity } from '../../ethereum/activity.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { openLedger } from './ledger.ts'

const ledger = await openLedger()
t.teardown(() => ledger.stop())
const { chainId, contract, provider } = ledger
const rpc = openRpc(provider._getConnection().url)
t.teardown(() => rpc.close())
const [operator, consumer, first, second] = [
  await ledger.account(2),
  await ledger.account(3),
  await ledger.account(4),
  await ledger.account(5),
]
const contracts = await findActivityContracts(rpc, contract)

const as = (wallet: Wallet, name: string, ...args: unknown[]) =>
  outcomeOf(ledger.datanet.connect(wallet), name, args)

async function register(who: typeof operator, operatorId: number): Promise<void> {
  const blsKey = deriveOperatorBlsKey({ accountKey: who.key, chainId, contract })
  const claim = { account: who.address, contract, chainId, operatorId }
  const info = {
    ...{ payout: who.address, serverSpkiHash: `0x${'5a'.repeat(32)}`, metadataURI: '' },
  }
  const timing = { g0: 0, beta: 60, gamma: 15, delta: 3, challenge: 130, eta: 30 }
  const proof = provePossession(blsKey, claim)
  await as(who.wallet, 'registerOperator', info, timing, blsPublicKey(blsKey), proof)
}

t.before(async () => {
  await register(operator, 1)
  const minter = new Wallet(`0x${'01'.repeat(32)}`, provider)
  await outcomeOf(ledger.token.connect(minter), 'mint', [consumer.address, 1_000n])
  await outcomeOf(ledger.token.connect(consumer.wallet), 'approve', [contract, 1_000n])
  await as(consumer.wallet, 'deposit', [{ operator: 1, amount: 1_000n }])
})

async function outcomeOf(of: object, name: string, args: readonly unknown[]): Promise<void> {
  type Sends = { send(...args: readonly unknown[]): Promise<{ wait(): Promise<unknown> }> }
  const called = (of as { getFunction(name: string): Sends }).getFunction(name)
  await (await called.send(...args)).wait()
}

const head = async (): Promise<number> => numberOf(await rpc.request('eth_blockNumber', []))

async function publish(change: Partial<Activity>, signers: readonly { key: Buffer }[]) {
  const { nonce, end } = await readActivityPosition(rpc, contracts, consumer.address)
  const block = await provider.getBlock('latest')
  const activity: Activity = {
    ...{ consumer: consumer.address, operator: 1, start: end, end: block?.timestamp ?? 0 },
    ...{ bytesUp: 10n, bytesDown: 20n, sessions: 2, paid: 300n, verifier: 1, nonce },
    evidenceHash: Buffer.alloc(32, 7),
    ...change,
  }
  const digest = digestOf(chainId, contracts.activities, activity)
  const signature = signDigest(digest, consumer.key)
  const evidence = attestorEvidence(
    digest,
    signers.map(({ key }) => signDigest(digest, key)),
  )
  const sender = { rpc, chainId, privateKey: consumer.key }
  return publishActivity(sender, contracts, activity, signature, evidence)
}

t.test('k of n attestors of the operator; anybody else is refused', async (t) => {
  t.equal(await readThreshold(rpc, contracts, 1), 0)
  await t.rejects(publish({}, [first]), { message: /EvidenceRefused/ }, 'none are named')
  const sender = { rpc, chainId, privateKey: operator.key }
  await setAttestors(sender, contracts, 1, [second.address, first.address], 2)
  t.equal(await readThreshold(rpc, contracts, 1), 2)
  t.ok(await isAttestor(rpc, contracts, 1, first.address))
  t.notOk(await isAttestor(rpc, contracts, 1, operator.address))
  await t.rejects(publish({}, [first]), { message: /EvidenceRefused/ }, 'one of two')
  await t.rejects(publish({}, [first, operator]), { message: /EvidenceRefused/ }, 'a stranger')
  await t.rejects(publish({}, [first, first]), { message: /EvidenceRefused/ }, 'one twice')
  await t.rejects(publish({ paid: 1_001n }, [first, second]), { message: /ActivityPaid/ })
  await t.rejects(publish({ verifier: 3 }, [first, second]), { message: /VerifierUnknown/ })
  await t.resolves(publish({}, [second, first]), 'in any order')
})

t.test('I18: position and events follow; the sum of events is what was published', async (t) => {
  const before = await readActivityPosition(rpc, contracts, consumer.address)
  t.equal(before.nonce, 1n)
  await t.rejects(publish({ start: before.end - 1 }, [first, second]), { message: /ActivityTime/ })
  await t.rejects(publish({ nonce: 0n }, [first, second]), { message: /InvalidAccountNonce|Time/ })
  await rpc.request('evm_increaseTime', [5])
  await rpc.request('evm_mine', [])
  await publish({ sessions: 3, paid: 1n }, [first, second])
  const found: PublishedActivity[] = []
  const range = { activities: contracts.activities, from: 0, to: await head(), stepsMax: 9 }
  const each = (one: PublishedActivity): void => void found.push(one)
  t.equal(await readActivities(rpc, { ...range, filter: {} }, each), range.to)
  t.match(found.reduce(addActivity, NO_ACTIVITY), {
    ...{ summaries: 2, sessions: 5n, bytesUp: 20n, bytesDown: 40n, paid: 301n },
  })
  t.equal(found[0]?.evidenceHash, '07'.repeat(32))
  t.ok((found[1]?.start ?? 0) >= (found[0]?.end ?? 1), 'no overlap')
  const none: PublishedActivity[] = []
  const add = (one: PublishedActivity): void => void none.push(one)
  await readActivities(rpc, { ...range, filter: { operator: 2 } }, add)
  await readActivities(rpc, { ...range, filter: { consumer: operator.address } }, add)
  t.same(none, [])
})

t.test(
  'a server names its account where there is nobody, and leaves others as they are',
  async (t) => {
    const place = { kind: 'external', url: provider._getConnection().url } as const
    const entry = { place, activity: contracts, operatorKey: operator.key, operatorId: 1 }
    const sender = { rpc, chainId, privateKey: operator.key }
    for (const others of [[first.address, second.address], [first.address]]) {
      await setAttestors(sender, contracts, 1, others, others.length)
      t.equal(await ensureAttestor(entry), 'other')
      t.equal(await readThreshold(rpc, contracts, 1), others.length)
      for (const one of others) t.ok(await isAttestor(rpc, contracts, 1, one))
      t.notOk(await isAttestor(rpc, contracts, 1, operator.address))
    }
    await register(second, 2)
    const another = { ...entry, operatorKey: second.key, operatorId: 2 }
    t.equal(await ensureAttestor(another), 'set')
    t.equal(await readThreshold(rpc, contracts, 2), 1)
    t.ok(await isAttestor(rpc, contracts, 2, second.address))
    t.equal(await ensureAttestor(another), 'there', 'after a restart')
    await setAttestors(sender, contracts, 1, [operator.address, first.address], 2)
    t.equal(await ensureAttestor(entry), 'there')
    t.equal(await readThreshold(rpc, contracts, 1), 2, 'as the operator has set it')
  },
)

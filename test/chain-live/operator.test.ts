// The operator's entry, the faucet and a device's calls against the deployed contract.

import t from 'tap'
import { addressOf } from '../../chain/bindings.ts'
import {
  deposit,
  isServerKey,
  readChannel,
  readDeviceKey,
  readOperator,
  setDeviceKey,
  tokenBalance,
} from '../../chain/calls.ts'
import { openFaucet } from '../../chain/faucet.ts'
import { type EnsuredOperator, ensureOperator } from '../../chain/operator.ts'
import { type ProxyAnswer, planProxy } from '../../chain/proxy.ts'
import {
  OPERATOR_KEY,
  openMarket,
  SPKI,
  startChain,
  temporaryDirectory,
  testKey,
} from './fixture.ts'

const alice = testKey(0xa1)
const directory = temporaryDirectory(t)
const chain = await startChain(t, directory)
const market = await openMarket(t, chain, directory)
const { access, operatorId, contracts } = market

t.test(
  'ensureOperator: registers once, updates what changed, knows an announced key',
  async (t) => {
    const ensure = (
      operatorKey: Buffer,
      metadataUri: string,
      serverSpkiSha256: string,
    ): Promise<EnsuredOperator> =>
      ensureOperator({
        place: { kind: 'embedded', chain },
        contract: contracts.contract,
        operatorKey,
        metadataUri,
        serverSpkiSha256,
      })
    const next = 'cd'.repeat(32)
    const steps: [string, string, string][] = [
      ['http://operator.example', SPKI, 'nothing'],
      ['http://b.example', SPKI, 'updated'],
      ['http://b.example', next, 'updated'],
      ['http://b.example', next, 'nothing'],
      ['http://b.example', SPKI, 'updated'],
      ['http://b.example', SPKI, 'nothing'],
    ]
    for (const [uri, spki, done] of steps) {
      t.strictSame(await ensure(OPERATOR_KEY, uri, spki), { operatorId, done }, `${uri} ${done}`)
    }
    const second = testKey(0x52)
    await chain.setBalance(second.account, 10n ** 18n)
    t.strictSame(await ensure(second.key, '', SPKI), { operatorId: 2, done: 'registered' })
    t.match(await readOperator(access, 2), { account: second.account, active: true })
    t.equal(await isServerKey(access, 2, SPKI), true)
    t.equal(await isServerKey(access, 2, next), false)
    await t.rejects(readOperator(access, 3), { code: 'rpc-error' })
    await t.rejects(ensure(testKey(0x53).key, '', SPKI), { message: /insufficient|gas/i }, 'no gas')
  },
)

t.test('faucet: tokens and gas, ten at once', async (t) => {
  const bob = testKey(0xb0).account
  await Promise.all(Array.from({ length: 10 }, () => market.faucet.fund(bob, 3n)))
  t.equal(await tokenBalance(access, bob), 30n)
})

t.test('faucet: nothing to an account that nobody can spend from', async (t) => {
  const nobody = addressOf(`0x${'0'.repeat(40)}`)
  for (const account of [nobody, contracts.contract, contracts.token]) {
    await t.rejects(market.faucet.fund(account, 1n), { code: 'account-refused' }, account)
    t.equal(await tokenBalance(access, account), 0n)
  }
})

t.test('faucet: a chain that does not answer has its code', async (t) => {
  const away = { ...chain, url: 'http://127.0.0.1:1' }
  const faucet = openFaucet({ ...contracts, chain: away, operatorKey: OPERATOR_KEY })
  await t.rejects(faucet.fund(alice.account, 1n), { code: 'chain-unreachable' })
})

t.test('deposits split between operators, and never without the tokens', async (t) => {
  await market.faucet.fund(alice.account, 10n)
  const signer = { privateKey: alice.key }
  const parts = [
    { operatorId: 2, amount: 4n },
    { operatorId, amount: 5n },
  ]
  await deposit(access, signer, parts, Date.now() / 1_000)
  t.equal((await readChannel(access, operatorId, alice.account)).deposit, 5n)
  t.equal((await readChannel(access, 2, alice.account)).deposit, 4n)
  const more = deposit(access, signer, [{ operatorId, amount: 2n }], Date.now() / 1_000)
  await t.rejects(more, { code: 'insufficient-funds' })
  const unknown = deposit(access, signer, [{ operatorId: 9, amount: 1n }], Date.now() / 1_000)
  await t.rejects(unknown, { code: 'transaction-failed', message: /Datanet_OperatorUnknown\(9\)/ })
})

t.test('product §7: a disabled device key is final', async (t) => {
  const signer = { privateKey: alice.key }
  t.equal(await readDeviceKey(access, alice.account, SPKI), 'unset')
  await setDeviceKey(access, signer, SPKI, true)
  t.equal(await readDeviceKey(access, alice.account, SPKI), 'enabled')
  await setDeviceKey(access, signer, SPKI, false)
  t.equal(await readDeviceKey(access, alice.account, SPKI), 'disabled')
  const revive = setDeviceKey(access, signer, SPKI, true)
  await t.rejects(revive, { code: 'transaction-failed', message: /Datanet_DeviceKeyDisabled/ })
})

t.test(
  'product §11: a device deposits through the proxy alone, also after a restart',
  async (t) => {
    async function request(method: string, params: readonly unknown[]): Promise<unknown> {
      const policy = {
        chainId: 31_337n,
        contracts,
        durableBlock: chain.durableBlock(),
        nearlyFull: chain.nearlyFull(),
      }
      const plan = planProxy({ jsonrpc: '2.0', id: 1, method, params }, policy)
      const answers: ProxyAnswer[] = []
      for (const call of plan.forward) {
        const { before } = call
        const first = before && (await access.rpc.request(before.method, before.params))
        t.equal(before?.refusal(first), undefined, method)
        answers.push({ result: await access.rpc.request(call.method, call.params) })
      }
      const reply = plan.complete(answers) as { result?: unknown; error?: unknown }
      t.equal(reply.error, undefined, method)
      return reply.result
    }
    const pid = chain.pid()
    process.kill(pid, 'SIGKILL')
    while (chain.pid() === pid) await new Promise((resolve) => setTimeout(resolve, 20))
    const carol = testKey(0xc0)
    await market.faucet.fund(carol.account, 8n)
    const through = { ...access, rpc: { request } }
    await deposit(
      through,
      { privateKey: carol.key },
      [{ operatorId, amount: 8n }],
      Date.now() / 1_000,
    )
    t.equal((await readChannel(through, operatorId, carol.account)).deposit, 8n)
  },
)

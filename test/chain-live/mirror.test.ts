// The mirror against a running chain: what it sees and how soon, over restarts, outages and reorgs.

import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Anvil, freePort, startAnvil } from '../../chain/anvil.ts'
import { setDeviceKey } from '../../chain/calls.ts'
import { untilDurable } from '../../chain/faucet.ts'
import { type Mirror, type MirrorOptions, startMirror } from '../../chain/mirror.ts'
import { openMirrorStore } from '../../chain/mirror-store.ts'
import { ensureOperator } from '../../chain/operator.ts'
import { openRpc } from '../../chain/rpc.ts'
import type { Address } from '../../ethereum/address.ts'
import {
  collectLog,
  type Market,
  OPERATOR_KEY,
  openMarket,
  SPKI,
  startChain,
  temporaryDirectory,
  testKey,
  until,
} from './fixture.ts'

const alice = testKey(0xa1)
const bob = testKey(0xb0)

/** A mirror of the market over a websocket, all options open to change. */
async function mirrorOf(
  t: Test,
  market: Market,
  directory: string,
  options: Partial<MirrorOptions> = {},
): Promise<Mirror> {
  const store = openMirrorStore(join(directory, 'datanet.sqlite'))
  const { chainId, contract, deployBlock } = market.contracts
  const mirror = await startMirror({
    url: market.chain.url.replace('http:', 'ws:'),
    chainId,
    contract,
    deployBlock,
    confirmations: 1,
    store,
    now: () => performance.now(),
    log: () => undefined,
    ...options,
  })
  t.teardown(async () => {
    await mirror.stop()
    store.close()
  })
  return mirror
}

async function openAll(t: Test): Promise<{ market: Market; directory: string }> {
  const directory = temporaryDirectory(t)
  const chain = await startChain(t, join(directory, 'chain'))
  return { market: await openMarket(t, chain, join(directory, 'chain')), directory }
}

t.test('events: deposits within 1 s, operators, device keys', async (t) => {
  const { market, directory } = await openAll(t)
  const { chain, operatorId } = market
  const mirror = await mirrorOf(t, market, directory, {
    url: chain.url,
    visibleBlock: chain.durableBlock,
    onVisible: chain.onDurable,
  })
  const heard: Address[][] = []
  mirror.onChange((accounts) => heard.push([...accounts]))
  t.equal(mirror.channel(operatorId, alice.account), undefined)
  t.equal(mirror.operator(operatorId)?.serverSpkiSha256, SPKI)
  t.equal(mirror.operator(operatorId)?.metadataUri, 'http://operator.example')

  await market.deposit(alice.key, 5n)
  const ms = await until(() => mirror.channel(operatorId, alice.account)?.deposit === 5n, 2_000)
  t.ok(ms < 1_000, `seen after ${ms.toFixed(0)} ms`)
  t.strictSame(heard, [[alice.account]])
  t.strictSame(mirror.operatorsWithDeposit(alice.account), [operatorId])
  t.strictSame(mirror.operatorsWithDeposit(bob.account), [])

  t.equal(mirror.deviceKey(alice.account, SPKI), 'unset')
  await setDeviceKey(market.access, { privateKey: alice.key }, SPKI, false)
  await until(() => mirror.deviceKey(alice.account, SPKI) === 'disabled', 5_000)

  await ensureOperator({
    place: { kind: 'embedded', chain },
    contract: market.contracts.contract,
    operatorKey: OPERATOR_KEY,
    metadataUri: 'http://elsewhere.example',
    serverSpkiSha256: 'cd'.repeat(32),
  })
  await until(() => mirror.operator(operatorId)?.metadataUri === 'http://elsewhere.example', 5_000)
  t.equal(mirror.operator(operatorId)?.nextServerSpkiSha256, 'cd'.repeat(32))
})

t.test('product §12: nothing above the visible block is seen', async (t) => {
  const { market, directory } = await openAll(t)
  let visible = market.chain.durableBlock()
  const mirror = await mirrorOf(t, market, directory, { visibleBlock: () => visible })
  await untilDurable(market.chain, await market.deposit(alice.key, 5n))
  t.equal(await mirror.refresh(5_000), true)
  t.equal(mirror.channel(market.operatorId, alice.account), undefined)
  visible = market.chain.durableBlock()
  t.equal(await mirror.refresh(5_000), true)
  t.equal(mirror.channel(market.operatorId, alice.account)?.deposit, 5n)
})

t.test('confirmations: 2 shows a deposit one block later', async (t) => {
  const { market, directory } = await openAll(t)
  const mirror = await mirrorOf(t, market, directory, { confirmations: 2 })
  await market.deposit(alice.key, 5n)
  await mirror.refresh(5_000)
  t.equal(mirror.channel(market.operatorId, alice.account), undefined)
  await openRpcOnce(market.chain.url, 'evm_mine')
  await until(() => mirror.channel(market.operatorId, alice.account)?.deposit === 5n, 5_000)
})

t.test('a restart resumes from the store', async (t) => {
  const { market, directory } = await openAll(t)
  const first = await mirrorOf(t, market, directory)
  await market.deposit(alice.key, 5n)
  await until(() => first.channel(market.operatorId, alice.account)?.deposit === 5n, 5_000)
  await first.stop()

  await market.deposit(bob.key, 7n)
  const asked = await countLogRequests(t, market.chain.url)
  const second = await mirrorOf(t, market, directory, { url: asked.url })
  t.equal(second.channel(market.operatorId, alice.account)?.deposit, 5n)
  t.equal(second.channel(market.operatorId, bob.account)?.deposit, 7n)
  t.equal(second.operator(market.operatorId)?.serverSpkiSha256, SPKI)
  t.same(asked.blocks(), 2, 'only the two blocks since were read')
})

t.test('reorg: a deposit that is gone shrinks the channel and names the account', async (t) => {
  const { market, directory } = await openAll(t)
  const mirror = await mirrorOf(t, market, directory)
  const seen = (): bigint | undefined => mirror.channel(market.operatorId, alice.account)?.deposit
  await market.deposit(alice.key, 5n)
  await market.faucet.fund(alice.account, 3n)
  await until(() => seen() === 5n, 5_000)
  const heard: Address[] = []
  mirror.onChange((accounts) => heard.push(...accounts))
  await openRpcOnce(market.chain.url, 'anvil_reorg', [2, []])
  await until(() => seen() === undefined, 5_000)
  t.strictSame(heard, [alice.account])
  t.ok(mirror.connected())
})

t.test('rollback: a head that stays lower than ours takes blocks back after 3 s', async (t) => {
  const { market, directory } = await openAll(t)
  const mirror = await mirrorOf(t, market, directory)
  const seen = (): bigint | undefined => mirror.channel(market.operatorId, alice.account)?.deposit
  await market.deposit(alice.key, 5n)
  await until(() => seen() === 5n, 5_000)
  const snapshot = await openRpcOnce(market.chain.url, 'evm_snapshot')
  await market.deposit(alice.key, 2n)
  await until(() => seen() === 7n, 5_000)
  await openRpcOnce(market.chain.url, 'evm_revert', [snapshot])
  t.equal(await mirror.refresh(5_000), false, 'at first it looks like a node that lags')
  t.equal(seen(), 7n)
  t.notOk(mirror.connected())
  const ms = await until(() => seen() === 5n, 10_000)
  t.ok(ms > 1_500, `after ${ms.toFixed(0)} ms`)
  await until(() => mirror.connected(), 5_000)
})

t.test(
  'product §8: an outage is noticed, known accounts stay, recovery is by itself',
  async (t) => {
    const directory = temporaryDirectory(t)
    const chainDirectory = join(directory, 'chain')
    const chain = await startChain(t, chainDirectory)
    const market = await openMarket(t, chain, chainDirectory)
    await market.deposit(alice.key, 5n)
    const port = await freePort()
    const stateFile = join(directory, 'copy.json')
    await copyState(chain.url, stateFile)
    const again = (): Promise<Anvil> => startAnvil({ port, directory, loadState: stateFile })
    let node = await again()
    t.teardown(() => node.kill())
    const { lines, log } = collectLog()
    const mirror = await mirrorOf(t, market, directory, { url: `ws://127.0.0.1:${port}`, log })
    t.ok(mirror.connected())
    await node.kill()
    await until(() => !mirror.connected(), 5_000)
    const heardAtMs = mirror.heardAtMs()
    t.equal(await mirror.refresh(500), false)
    t.equal(mirror.heardAtMs(), heardAtMs, 'a failed attempt is no news')
    t.equal(mirror.channel(market.operatorId, alice.account)?.deposit, 5n)
    node = await again()
    await until(() => mirror.connected(), 15_000)
    t.ok(mirror.heardAtMs() > heardAtMs)
    t.strictSame(
      lines.map(([event]) => event),
      ['chain-lost', 'chain-recovered'],
    )
  },
)

t.test('another chain behind the same url: its entries replace ours', async (t) => {
  const { market, directory } = await openAll(t)
  const port = await freePort()
  const stateFile = join(directory, 'copy.json')
  await market.deposit(alice.key, 5n)
  await copyState(market.chain.url, stateFile)
  let node = await startAnvil({ port, directory, loadState: stateFile })
  t.teardown(() => node.kill())
  const mirror = await mirrorOf(t, market, directory, { url: `ws://127.0.0.1:${port}` })
  t.equal(mirror.channel(market.operatorId, alice.account)?.deposit, 5n)
  await node.kill()
  node = await startAnvil({ port, directory })
  await openRpcOnce(`http://127.0.0.1:${port}`, 'anvil_mine', ['0x14'])
  await until(() => mirror.connected(), 15_000)
  t.equal(mirror.channel(market.operatorId, alice.account), undefined)
})

t.test('start-up failures are coded and say what to do', async (t) => {
  const { market, directory } = await openAll(t)
  const dead = `ws://127.0.0.1:${await freePort()}`
  const attempts: [string, Partial<MirrorOptions>][] = [
    ['chain-unreachable', { url: dead }],
    ['chain-unreachable', { url: dead.replace('ws', 'http') }],
    ['wrong-chain-id', { chainId: 1n }],
    ['node-behind', { deployBlock: 1_000_000 }],
  ]
  for (const [code, options] of attempts) {
    await t.rejects(
      mirrorOf(t, market, directory, options),
      { code },
      `${code} ${options.url ?? ''}`,
    )
  }
})

t.test('300 blocks at the start and 60 at once are all read', async (t) => {
  const { market, directory } = await openAll(t)
  await market.deposit(alice.key, 5n)
  await openRpcOnce(market.chain.url, 'anvil_mine', ['0x12c'])
  await market.deposit(bob.key, 7n)
  const mirror = await mirrorOf(t, market, directory)
  t.equal(mirror.channel(market.operatorId, alice.account)?.deposit, 5n)
  t.equal(mirror.channel(market.operatorId, bob.account)?.deposit, 7n)
  await openRpcOnce(market.chain.url, 'anvil_mine', ['0x3c'])
  await market.deposit(bob.key, 1n)
  await until(() => mirror.channel(market.operatorId, bob.account)?.deposit === 8n, 5_000)
})

async function openRpcOnce(
  url: string,
  method: string,
  params: readonly unknown[] = [],
): Promise<unknown> {
  const rpc = openRpc(url)
  try {
    return await rpc.request(method, params)
  } finally {
    rpc.close()
  }
}

async function copyState(url: string, file: string): Promise<void> {
  const { gunzipSync } = await import('node:zlib')
  const { writeFileSync } = await import('node:fs')
  const dump = String(await openRpcOnce(url, 'anvil_dumpState'))
  writeFileSync(file, gunzipSync(Buffer.from(dump.slice(2), 'hex')))
}

/** An HTTP proxy that counts for how many blocks logs were asked. */
async function countLogRequests(t: Test, url: string): Promise<{ url: string; blocks(): number }> {
  const { createServer } = await import('node:http')
  let blocks = 0
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const calls = [JSON.parse(body.toString('utf8'))].flat()
    blocks += calls.filter((call) => call.method === 'eth_getLogs').length
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(url, { method: 'POST', headers, body })
    response.end(await answer.text())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return { url: `http://127.0.0.1:${port}`, blocks: () => blocks }
}

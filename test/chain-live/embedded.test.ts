// The embedded chain as a process: durable over kill -9, damage, full disks; supervised, and alone
// in its directory.

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Wallet } from 'ethers'
import t from 'tap'
import { readChannel } from '../../chain/calls.ts'
import { ensureContracts } from '../../chain/deploy.ts'
import { startEmbeddedChain } from '../../chain/embedded.ts'
import { untilDurable } from '../../chain/faucet.ts'
import { numberOf, type Rpc } from '../../chain/jsonrpc.ts'
import { openRpc } from '../../chain/rpc.ts'
import { parseAddress } from '../../ethereum/address.ts'
import {
  collectLog,
  isRunning,
  OPERATOR_KEY,
  openMarket,
  startChain,
  temporaryDirectory,
  testKey,
  until,
} from './fixture.ts'

const alice = testKey(0xa1)
const generationsIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => /^state\.\d+\.json\.gz$/.test(name))
    .sort((a, b) => Number(a.split('.')[1]) - Number(b.split('.')[1]))

/** A plain transfer mined; the number of its block. */
async function mineTransfer(rpc: Rpc, key: Buffer): Promise<number> {
  const wallet = new Wallet(`0x${key.toString('hex')}`)
  const nonce = numberOf(await rpc.request('eth_getTransactionCount', [wallet.address, 'pending']))
  const fees = { maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 0n, gasLimit: 21_000 }
  const raw = await wallet.signTransaction({ chainId: 31337, to: wallet.address, nonce, ...fees })
  const hash = await rpc.request('eth_sendRawTransaction', [raw])
  let receipt: { blockNumber?: string } | null = null
  await until(async () => {
    receipt = (await rpc.request('eth_getTransactionReceipt', [hash])) as typeof receipt
    return receipt !== null
  }, 10_000)
  return numberOf((receipt as { blockNumber?: string } | null)?.blockNumber)
}

t.test('kill -9 of the server: the child goes, and what was durable comes back', async (t) => {
  const directory = temporaryDirectory(t)
  const parent = fileURLToPath(new URL('./parent.ts', import.meta.url))
  const child = spawn(process.execPath, [parent, directory], { stdio: ['pipe', 'ignore', 'pipe'] })
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]()
  const next = async (): Promise<Record<string, unknown>> =>
    JSON.parse((await lines.next()).value ?? '')
  const { pid, contract } = await next()
  t.ok(await isRunning(Number(pid)), 'anvil runs')
  for (let i = 0; i < 3; i++) child.stdin.write('\n')
  await next()
  await next()
  const { block } = await next()
  child.kill('SIGKILL')
  await until(async () => !(await isRunning(Number(pid))), 10_000)

  const chain = await startChain(t, directory)
  t.ok(chain.durableBlock() >= Number(block), `block ${block} of ${chain.durableBlock()} is there`)
  const market = await openMarket(t, chain, directory)
  t.equal(market.contracts.contract, contract, 'the same contract')
  t.equal(market.contracts.replaced, undefined)
  t.equal((await readChannel(market.access, 1, alice.account)).deposit, 15n)
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  const filter = { address: contract, fromBlock: '0x0', toBlock: 'latest' }
  const logs = (await rpc.request('eth_getLogs', [filter])) as { transactionHash: string }[]
  t.equal(logs.length, 5, 'operator, merchant and three deposits')
  for (const { transactionHash } of logs) {
    t.ok(await rpc.request('eth_getTransactionReceipt', [transactionHash]), 'its receipt')
  }
  t.equal(await rpc.request('eth_getTransactionCount', [alice.account, 'latest']), '0x3')
  await market.deposit(alice.key, 5n)
  t.equal((await readChannel(market.access, 1, alice.account)).deposit, 20n)
})

t.test(
  'two generations are kept; a damaged newest one costs one block and one log line',
  async (t) => {
    const directory = temporaryDirectory(t)
    const first = await startChain(t, directory)
    const rpc = openRpc(first.url)
    await first.setBalance(alice.account, 10n ** 18n)
    for (let i = 1; i <= 3; i++) await untilDurable(first, await mineTransfer(rpc, alice.key))
    await first.stop()
    rpc.close()
    t.equal(await first.exited, 'stopped')
    const [older = '', newest = ''] = generationsIn(directory)
    t.equal(generationsIn(directory).length, 2)
    const size = readFileSync(join(directory, newest)).length
    truncateSync(join(directory, newest), size - 20)

    const { lines, log } = collectLog()
    const second = await startChain(t, directory, log)
    t.equal(second.durableBlock(), 2)
    t.strictSame(
      lines.map(([event]) => event),
      ['chain-snapshot-damaged'],
    )
    t.match(lines[0]?.[1], newest)
    await second.setBalance(alice.account, 10n ** 18n)
    const aside = newest.replace('state', 'damaged')
    t.ok(readdirSync(directory).includes(aside), 'set aside for whoever wants to look')
    t.equal(generationsIn(directory)[0], older, 'the one that was read is still kept')
    await second.stop()

    for (const name of generationsIn(directory)) writeFileSync(join(directory, name), 'no gzip')
    const start = startEmbeddedChain({ directory, log, now: () => performance.now() })
    await t.rejects(start, { code: 'snapshot-unreadable' }, 'never an empty chain in their place')
    const again = startEmbeddedChain({ directory, log, now: () => performance.now() })
    await t.rejects(again, { code: 'snapshot-unreadable' }, 'at the next start neither')
  },
)

t.test('a stop keeps the block that was mined last', async (t) => {
  const directory = temporaryDirectory(t)
  const first = await startChain(t, directory)
  const rpc = openRpc(first.url)
  await first.setBalance(alice.account, 10n ** 18n)
  const block = await mineTransfer(rpc, alice.key)
  await first.stop()
  rpc.close()
  const second = await startChain(t, directory)
  t.equal(second.durableBlock(), block)
})

t.test('blocks that come fast share snapshots, and all become durable', async (t) => {
  const directory = temporaryDirectory(t)
  const chain = await startChain(t, directory)
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  const heard: number[] = []
  chain.onDurable((block) => heard.push(block))
  for (let i = 0; i < 100; i++) await rpc.request('evm_mine', [])
  await until(() => chain.durableBlock() === 100, 10_000)
  t.ok(heard.length < 100, `${heard.length} snapshots`)
  t.strictSame(
    heard,
    [...heard].sort((a, b) => a - b),
  )
})

t.test('anvil killed: restarted on the same port with every durable block', async (t) => {
  const { lines, log } = collectLog()
  const chain = await startChain(t, temporaryDirectory(t), log)
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  await chain.setBalance(alice.account, 10n ** 18n)
  await untilDurable(chain, await mineTransfer(rpc, alice.key))
  const pid = chain.pid()
  process.kill(pid, 'SIGKILL')
  await until(() => chain.pid() !== pid, 10_000)
  t.equal(numberOf(await rpc.request('eth_blockNumber', [])), 1)
  const block = await mineTransfer(rpc, alice.key)
  await untilDurable(chain, block)
  t.equal(block, 2)
  t.strictSame(
    lines.map(([event]) => event),
    ['chain-restarting'],
  )
})

t.test('a full disk: nothing new is durable, one line says so, and it recovers', async (t) => {
  const { lines, log } = collectLog()
  let full = false
  const openFile = async (path: string): ReturnType<typeof open> => {
    const handle = await open(path, 'w', 0o600)
    if (full) {
      handle.write = () =>
        Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
    }
    return handle
  }
  const directory = temporaryDirectory(t)
  const now = (): number => performance.now()
  const chain = await startEmbeddedChain({ directory, log, now, openFile })
  t.teardown(() => chain.stop())
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  full = true
  for (let i = 0; i < 3; i++) await rpc.request('evm_mine', [])
  await until(() => lines.length > 0, 10_000)
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.equal(chain.durableBlock(), 0)
  t.equal(lines.length, 1)
  t.match(lines[0]?.[1], /no space left on device.*free space/)
  full = false
  await until(() => chain.durableBlock() === 3, 10_000)
  await until(() => lines.length === 2, 10_000)
  t.equal(lines[1]?.[0], 'chain-snapshot-recovered')
})

t.test('a second server on the directory is refused', async (t) => {
  const directory = temporaryDirectory(t)
  const first = await startChain(t, directory)
  await t.rejects(startChain(t, directory), { code: 'chain-directory-in-use', message: /--data/ })
  await first.stop()
  await startChain(t, directory)
})

t.test('web pages and large transactions: no CORS, EIP-7825', async (t) => {
  const chain = await startChain(t)
  const headers = { origin: 'http://evil.example', 'access-control-request-method': 'POST' }
  const preflight = await fetch(chain.url, { method: 'OPTIONS', headers })
  t.notOk(preflight.headers.has('access-control-allow-origin'))
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  await chain.setBalance(alice.account, 10n ** 20n)
  const wallet = new Wallet(`0x${alice.key.toString('hex')}`)
  const fees = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 0n, gasLimit: 20_000_000 }
  const raw = await wallet.signTransaction({
    chainId: 31337,
    to: wallet.address,
    nonce: 0,
    ...fees,
  })
  await t.rejects(rpc.request('eth_sendRawTransaction', [raw]), { code: 'rpc-error' })
})

t.test(
  'contracts: kept over restarts, deployed anew when they changed, checked when external',
  async (t) => {
    const directory = temporaryDirectory(t)
    const chain = await startChain(t, directory)
    const place = { kind: 'embedded', chain } as const
    const first = await ensureContracts({ place, operatorKey: OPERATOR_KEY, directory })
    t.strictSame(await ensureContracts({ place, operatorKey: OPERATOR_KEY, directory }), first)
    t.equal(first.tokenSymbol, 'DNT')
    t.equal(first.tokenDecimals, 18)

    const record = join(directory, 'deployment.json')
    const recorded = JSON.parse(readFileSync(record, 'utf8'))
    writeFileSync(record, JSON.stringify({ ...recorded, contractHash: 'of older code' }))
    const second = await ensureContracts({ place, operatorKey: OPERATOR_KEY, directory })
    t.equal(second.replaced, first.contract)
    t.not(second.contract, first.contract)
    t.equal(second.token, first.token, 'balances of the token stay')

    const other = join(temporaryDirectory(t), 'not', 'there yet')
    const url = chain.url.replace('http:', 'ws:')
    const external = (contract: string): Promise<unknown> => {
      const address = contract === 'auto' ? contract : (parseAddress(contract) ?? 'auto')
      const elsewhere = { kind: 'external', url, contract: address } as const
      return ensureContracts({ place: elsewhere, operatorKey: OPERATOR_KEY, directory: other })
    }
    t.match(await external(second.contract), {
      contract: second.contract,
      deployBlock: second.deployBlock,
    })
    await t.rejects(external('auto'), { code: 'contract-not-set', message: /chain\.contract/ })
    await t.rejects(external(`0x${'0'.repeat(39)}1`), { code: 'contract-missing' })
    await t.rejects(external(second.token), { code: 'contract-mismatch' })
  },
)

t.test('deployment.json: missing where others have deposits, damaged, or too early', async (t) => {
  const directory = temporaryDirectory(t)
  const chain = await startChain(t, directory)
  const place = { kind: 'embedded', chain } as const
  const ensure = () => ensureContracts({ place, operatorKey: OPERATOR_KEY, directory })
  const first = await ensure()
  const record = join(directory, 'deployment.json')
  const good = readFileSync(record, 'utf8')
  const wrong = [
    '',
    'garbage',
    'null',
    '{}',
    '{"contract":{"toString":1}}',
    good.replace(first.token, '0x1'),
  ]
  for (const text of wrong) {
    writeFileSync(record, text)
    const said = { code: 'deployment-unreadable', message: /deployment\.json.*put the right file/ }
    await t.rejects(ensure(), said, JSON.stringify(text.slice(0, 40)))
  }
  unlinkSync(record)
  mkdirSync(record)
  await t.rejects(ensure(), { code: 'deployment-unreadable', message: /EISDIR/ })
  rmdirSync(record)
  const second = await ensure()
  t.not(second.contract, first.contract, 'a start that was interrupted before it was recorded')

  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  await chain.setBalance(alice.account, 10n ** 18n)
  await untilDurable(chain, await mineTransfer(rpc, alice.key))
  unlinkSync(record)
  const said = { code: 'deployment-unreadable', message: /has 5 blocks.*put that file back/ }
  await t.rejects(ensure(), said, 'another account has used this chain')
  writeFileSync(record, good)
  t.equal((await ensure()).contract, first.contract)
})

t.test('a state above half of what can be saved: strangers are to be refused', async (t) => {
  const { lines, log } = collectLog()
  const directory = temporaryDirectory(t)
  const now = (): number => performance.now()
  const chain = await startEmbeddedChain({ directory, log, now, dumpBytesMax: 10_000 })
  t.teardown(() => chain.stop())
  const rpc = openRpc(chain.url)
  t.teardown(() => rpc.close())
  t.equal(chain.nearlyFull(), false)
  for (let i = 0; i < 500 && !chain.nearlyFull(); i++) {
    const code = `0x${randomBytes(500).toString('hex')}`
    await rpc.request('anvil_setCode', [`0x${randomBytes(20).toString('hex')}`, code])
    await chain.saved()
  }
  t.equal(chain.nearlyFull(), true)
  t.strictSame(
    lines.map(([event]) => event),
    ['chain-nearly-full'],
  )
})

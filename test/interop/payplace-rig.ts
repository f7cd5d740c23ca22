// Two operators on one chain, each a real server: A brings the embedded chain, B is told its node.
// Owners of access points, whose merchant programs are processes, and devices with escrow at one of
// the two; and the books that a test keeps by itself: who was promised what. Asserts nothing.
// Called by payplace.test.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { datanetInterface, tokenInterface } from '../../chain/bindings.ts'
import type { ContractAccess } from '../../chain/calls.ts'
import { openRpc } from '../../chain/rpc.ts'
import { openSender, readContract } from '../../chain/transactions.ts'
import { sealAccount } from '../../device/keystore.ts'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { merchantQueryDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import { admin, type Device, deviceOf, faucet, type Status, TIMING, TOKEN } from './notary-rig.ts'
import { addressOf } from './payers.ts'
import {
  datanet,
  type RunningServer,
  run,
  runDatanet,
  SECRET,
  startServer,
  testConfig,
  waitFor,
} from './server.ts'

/** What the wallets of the test are locked with: runDatanet's password. */
const PASSWORD = 'correct horse battery staple'
/** Of a keystore's scrypt; the usual cost is a second for each start of a program. */
const WALLET_COST = 1_024
export const DEPOSIT = 40n * TOKEN
/** At once one token more than what is owed may be credited: far above what a test pays. */
const TARIFF = 'per_minute: "1", per_megabyte: "0", interval: 60s, interval_megabytes: 10'

/** The owner of the access points `shop<n>`, which ask from 127.0.0.<10 + n>. */
export interface Owner {
  readonly shop: number
  readonly key: Buffer
  readonly account: Address
}

export interface Operator {
  readonly name: string
  readonly operatorId: number
  readonly account: Address
  readonly commissionPpm: bigint
  readonly server: RunningServer
  /** GET /v1/notary. */
  status(): Promise<Status & { readonly own: string }>
  /** Only these owners' access points from now on: the configuration, and a reload. */
  serve(owners: readonly Owner[]): Promise<void>
}

export interface PayingDevice extends Device {
  readonly account: Address
  readonly operator: Operator
}

/** What the test expects, base units: of one operator, by whom it owes. */
export type Books = ReadonlyMap<Operator, Map<Address, bigint>>

const commission = { A: '10', B: '2.5' } as const

function configOf(name: 'A' | 'B', chain: string, owners: readonly Owner[]): string {
  const clients = owners.map(
    ({ shop, account }) =>
      `  - { name: shop${shop}, ipaddr: 127.0.0.${shop + 10}/32, secret: ${SECRET}, merchant: "${checksumAddress(account)}" }`,
  )
  const { beta, gamma, delta, challenge } = TIMING
  const timing = `{ beta: ${beta}s, gamma: ${gamma}s, delta: ${delta}s, challenge: ${challenge}s, eta: 30 }`
  return testConfig({
    chain,
    client: clients.join('\n'),
    more: `payplace: { commission_percent: "${commission[name]}", timing: ${timing} }
sessions: { per_account: 20 }
admission: { newcomers_per_client: 100 }
`,
  })
    .replace(
      /per_minute: "0.001", per_megabyte: "0.004", interval: 60s, interval_megabytes: 10/,
      TARIFF,
    )
    .replace('operator: { name: Interop Wi-Fi }', `operator: { name: Operator ${name} }`)
}

interface Test {
  comment(text: string): void
  teardown(f: () => Promise<void>): void
}

async function startOperator(
  t: Test,
  o: { name: 'A' | 'B'; directory: string; chain: string; owners: readonly Owner[] },
): Promise<Operator> {
  const { name, directory, chain } = o
  const server = await startServer(t, { directory, config: configOf(name, chain, o.owners) })
  const told = await facts(server)
  return {
    ...{ name, server, operatorId: told.operatorId, account: addressOf(told.account) },
    commissionPpm: BigInt(Number(commission[name]) * 10_000),
    status: () => admin(server, '/v1/notary') as ReturnType<Operator['status']>,
    async serve(owners) {
      writeFileSync(server.configPath, configOf(name, chain, owners))
      const answer = (await admin(server, '/v1/reload', 'POST')) as { reloaded?: true }
      if (answer.reloaded !== true) throw new Error(JSON.stringify(answer))
    },
  }
}

interface Facts {
  readonly operatorId: number
  readonly account: string
  readonly chainId: number
  readonly contract: string
  readonly token: { readonly address: string }
}

const facts = async ({ url }: RunningServer): Promise<Facts> =>
  (await (await fetch(`${url}/v1/operator`)).json()) as Facts

/** Where the chain of a server listens: its child has the port among its arguments. */
async function nodeOf({ process: { pid } }: RunningServer): Promise<string> {
  const { out } = await run('ps', ['-A', '-o', 'pid=,ppid=,args='])
  const all = out.split('\n').map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [])
  const family = new Set([String(pid)])
  // A parent may stand behind its child in the list.
  for (let size = 0; size < family.size; ) {
    size = family.size
    for (const [, child = '', parent = ''] of all) if (family.has(parent)) family.add(child)
  }
  for (const [, child = '', , args = ''] of all) {
    const port = /anvil .*--port (\d+)/.exec(args)?.[1]
    if (port !== undefined && family.has(child)) return `127.0.0.1:${port}`
  }
  throw new Error(`the server ${pid} has no chain:\n${out}`)
}

export interface Market {
  readonly directory: string
  readonly operators: readonly [Operator, Operator]
  readonly owners: readonly Owner[]
  /** Straight to the node. */
  readonly access: ContractAccess
  /** A device with escrow at one operator. */
  device(operator: Operator): Promise<PayingDevice>
}

/** `owners`: how many access points A and B have. */
export async function openMarket(
  t: Test,
  directory: string,
  owners: { readonly A: number; readonly B: number },
): Promise<Market> {
  const all = Array.from({ length: owners.A + owners.B }, (_, n): Owner => {
    const key = randomBytes(32)
    return { shop: n + 1, key, account: accountOf(key) }
  })
  const inA = { name: 'A', directory: join(directory, 'A'), chain: 'rpc: embedded' } as const
  mkdirSync(inA.directory)
  const a = await startOperator(t, { ...inA, owners: all.slice(0, owners.A) })
  const node = await nodeOf(a.server)
  const rpc = openRpc(`http://${node}`)
  t.teardown(async () => rpc.close())
  const { chainId, contract, token } = await facts(a.server)
  const access: ContractAccess = {
    ...{ rpc, chainId: BigInt(chainId), contract: addressOf(contract) },
    token: addressOf(token.address),
  }
  const giveGas = (account: Address): Promise<unknown> =>
    rpc.request('anvil_setBalance', [account, '0x8ac7230489e80000'])
  const chain = `rpc: "ws://${node}", contract: "${checksumAddress(access.contract)}", stale_after: 6s`
  const inB = { name: 'B', directory: join(directory, 'B'), chain } as const
  const operatorKey = randomBytes(32)
  mkdirSync(join(inB.directory, 'data'), { recursive: true, mode: 0o700 })
  const keyFile = join(inB.directory, 'data', 'operator-key')
  writeFileSync(keyFile, operatorKey.toString('hex'), { mode: 0o600 })
  // The faucet gives to ten a minute; a node of the test's own gives gas to as many as it takes.
  for (const { account } of all) await giveGas(account)
  await giveGas(accountOf(operatorKey))
  const b = await startOperator(t, { ...inB, owners: all.slice(owners.A) })
  const patron = await openPatron(a, access)
  let stations = 0
  return {
    ...{ directory, operators: [a, b], owners: all, access },
    async device(operator) {
      const key = randomBytes(32)
      const account = accountOf(key)
      await patron(account, operator.operatorId)
      const place = { access, operatorId: operator.operatorId }
      const device = deviceOf(
        key,
        place,
        () => operator.server,
        () => ++stations,
      )
      return { ...device, account, operator }
    },
  }
}

/** Somebody rich who deposits for devices: one call of the faucet instead of many. */
async function openPatron(a: Operator, access: ContractAccess) {
  const { rpc, chainId, contract, token } = access
  const key = randomBytes(32)
  await faucet(a.server.url, key, 1_000n * TOKEN)
  const sender = openSender({ rpc, chainId, privateKey: key })
  const approval = tokenInterface.encodeFunctionData('approve', [contract, 1_000n * TOKEN])
  await sender.send({ to: token, data: approval, what: 'approve' })
  return async (consumer: Address, operatorId: number): Promise<void> => {
    const args = [consumer, [[operatorId, DEPOSIT]]]
    const data = datanetInterface.encodeFunctionData('depositFor', args)
    await sender.send({ to: contract, data, what: 'depositFor' })
  }
}

/** One line of a merchant program's log. */
export interface LogLine {
  readonly level: string
  readonly event: string
  readonly msg: string
}

/** A merchant's folder, and the program that runs on it. */
export interface Merchant {
  readonly owner: Owner
  readonly operator: Operator
  readonly name: string
  /** Of all its processes so far. */
  readonly lines: LogLine[]
  start(): void
  /** kill -9. */
  kill(): Promise<void>
  /** Waits for a line of the log that was not there when it was called. */
  logged(event: string, timeoutMs: number): Promise<void>
  /** `merchant withdraw` or `exit`: base units. */
  payout(verb: 'withdraw' | 'exit'): Promise<{ paid: bigint; hasLeft: boolean }>
  /** Its id in the contract; 0 before it joined. */
  id(): Promise<number>
}

/** `merchant create` with the owner's wallet, one folder for each operator. */
export async function createMerchant(
  t: Test,
  { directory, access }: Market,
  operator: Operator,
  owner: Owner,
): Promise<Merchant> {
  const name = `owner${owner.shop}-${operator.name}`
  const wallet = join(directory, `${name}.json`)
  writeFileSync(wallet, await sealAccount(owner.key, PASSWORD, WALLET_COST))
  const command = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const told = await runDatanet(['merchant', ...args, '--json'], { cwd: directory })
    if (told.code !== 0) throw new Error(`merchant ${args[0]}: ${told.code}\n${told.errors}`)
    return JSON.parse(told.out)
  }
  const made = await command('create', name, '--operator', operator.server.url, '--wallet', wallet)
  if (addressOf(made['account']) !== owner.account) throw new Error(JSON.stringify(made))
  const lines: LogLine[] = []
  let child: ChildProcess | undefined
  return {
    ...{ owner, operator, name, lines },
    start() {
      child = startAgent(t, directory, name, lines)
    },
    async kill() {
      const gone = new Promise((resolve) => child?.once('close', resolve))
      child?.kill('SIGKILL')
      await gone
    },
    async logged(event, timeoutMs) {
      const from = lines.length
      await waitFor(
        () => lines.slice(from).some((line) => line.event === event),
        timeoutMs,
        () => `${name}: no ${event}:\n${JSON.stringify(lines.slice(-20))}`,
      )
    },
    async payout(verb) {
      const told = await command(verb, name)
      return { paid: BigInt(String(told['paid'])), hasLeft: told['hasLeft'] === true }
    },
    async id() {
      const args = [operator.operatorId, owner.account]
      const data = datanetInterface.encodeFunctionData('merchantIdOf', args)
      const answer = await readContract(access.rpc, access.contract, data)
      return Number(datanetInterface.decodeFunctionResult('merchantIdOf', answer)[0])
    },
  }
}

function startAgent(t: Test, cwd: string, name: string, lines: LogLine[]): ChildProcess {
  const env = { ...process.env, DATANET_PASSWORD: PASSWORD }
  const child = spawn(process.execPath, [datanet, 'merchant', 'run', name], {
    ...{ cwd, env, stdio: ['ignore', 'ignore', 'pipe'] },
  })
  if (child.stderr === null) throw new Error('no stderr')
  createInterface({ input: child.stderr }).on('line', (line) => {
    const isJson = line.startsWith('{')
    lines.push(isJson ? JSON.parse(line) : { level: 'error', event: 'text', msg: line })
  })
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await gone
  })
  return child
}

/** A question of the merchant's, signed as its program signs it; `id` 0: of the account alone. */
async function ask(
  { owner, operator }: Merchant,
  { chainId, contract }: ContractAccess,
  path: string,
  { id, ...more }: { readonly id: number } & Readonly<Record<string, unknown>>,
): Promise<Response> {
  const time = Math.floor(Date.now() / 1_000)
  const asking = { operator: operator.operatorId, merchant: id, time }
  const digest = merchantQueryDigest(payPlaceDomain(chainId, contract), asking)
  const signature = `0x${signDigest(digest, owner.key).toString('hex')}`
  const body = JSON.stringify({ ...(id === 0 ? {} : { id }), time, signature, ...more })
  const headers = { 'content-type': 'application/json' }
  return fetch(`${operator.server.url}/v1/merchant/${path}`, { method: 'POST', headers, body })
}

/** Whether the operator would let the owner join: whether one of its access points names it. */
export async function isWelcome(merchant: Merchant, access: ContractAccess): Promise<boolean> {
  const account = checksumAddress(merchant.owner.account)
  const pkHash = `0x${'11'.repeat(32)}`
  const answer = await ask(merchant, access, 'approval', { id: 0, account, pkHash })
  if (!answer.ok && answer.status !== 403) throw new Error(await answer.text())
  return answer.ok
}

/** What the operator's receipts say that a merchant has earned, gross and net. */
export async function receiptsOf(
  merchant: Merchant,
  access: ContractAccess,
): Promise<{ gross: bigint; net: bigint }> {
  const id = await merchant.id()
  const sum = { gross: 0n, net: 0n }
  for (let before: number | undefined; ; ) {
    const more = before === undefined ? {} : { before }
    const answer = await ask(merchant, access, 'receipts', { id, ...more })
    if (!answer.ok) throw new Error(`receipts: ${answer.status} ${await answer.text()}`)
    const page = (await answer.json()) as {
      receipts: { gross: string; net: string }[]
      next: number | null
    }
    for (const { gross, net } of page.receipts) {
      sum.gross += BigInt(gross)
      sum.net += BigInt(net)
    }
    if (page.next === null) return sum
    before = page.next
  }
}

// Starts our whole server as an operator runs it (`datanet serve`, embedded chain, bindings and
// escrow checked) and enrols accounts with bound certificates and deposits through its public HTTP
// side only. Measures nothing. Called by contestants.ts.

import { createPublicKey, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Interface, JsonRpcProvider, Wallet } from 'ethers'
import { deriveDeviceKey, makeBoundCertificate } from '../certs/device.ts'
import { parseAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import type { LoadCredential } from './load.ts'
import { freeUdpPort, type RunningServer, startServer } from './peers.ts'

const MAIN = fileURLToPath(new URL('../cli/main.ts', import.meta.url))
const READY_MAX_MS = 60_000
// The chain proxy takes 20 calls a second from one address; each transaction is two calls.
const TRANSACTION_EVERY_MS = 150
const DEPOSIT = 10n ** 18n
const CONVERSATIONS_MAX = 16_384
const GAS_MAX = 400_000n

/** How to run it. The same directory and ports again are a restart with everything kept. */
export interface OursOptions {
  readonly directory: string
  readonly secret: string
  readonly fragmentSize: number
  readonly cpu?: number
  readonly ports: OursPorts
  /** Token per minute; "0": sessions that nobody pays leave no debts behind. */
  readonly perMinute: string
  /** The TLS engine; absent: the server's own choice. */
  readonly engine?: 'native' | 'node'
  /** TLS session resumption; absent: as the server has it by default. */
  readonly resumption?: boolean
  /** What it is called in reports; absent: Datanet. */
  readonly name?: string
  /** More terms of the tariff, as YAML after a comma: how long a session lives without payments. */
  readonly terms?: string
  /** Extra arguments of node, such as --cpu-prof. */
  readonly nodeArguments: readonly string[]
}

export interface OursPorts {
  readonly auth: number
  readonly accounting: number
  readonly http: number
}

/** Three ports nobody has now. */
export async function freePorts(): Promise<OursPorts> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no TCP port is free')
  return { auth: await freeUdpPort(), accounting: await freeUdpPort(), http: address.port }
}

/** Starts the server and waits until it says that it is ready. */
export async function startOurs(options: OursOptions): Promise<RunningServer> {
  const { directory, ports } = options
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const config = join(directory, 'bench.yaml')
  writeFileSync(config, configText(options), { mode: 0o600 })
  const data = join(directory, 'data')
  const server = await startServer({
    ...options,
    name: options.name ?? 'Datanet',
    command: [
      process.execPath,
      ...options.nodeArguments,
      MAIN,
      'serve',
      '--config',
      config,
      '--data',
      data,
    ],
    port: ports.auth,
    cpu: options.cpu,
  })
  try {
    await ready(ports.http)
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

function configText(options: OursOptions): string {
  const { ports, secret, fragmentSize, perMinute, terms = '', engine, resumption } = options
  const chosen = [
    `fragment_size: ${fragmentSize}`,
    ...(engine === undefined ? [] : [`engine: ${engine}`]),
    ...(resumption === undefined ? [] : [`resumption: ${resumption}`]),
    // Conversations left half open have to stay until their memory has been read, twice over.
    `sessions_max: ${CONVERSATIONS_MAX}, timeout: 5m`,
  ]
  return `operator: { name: Bench }
radius:
  auth: 127.0.0.1:${ports.auth}
  accounting: 127.0.0.1:${ports.accounting}
  reject_delay: 0s
eap: { ${chosen.join(', ')} }
clients:
  - { name: bench, ipaddr: 127.0.0.1, secret: ${secret}, nas_type: hostapd }
tariffs:
  standard: { per_minute: "${perMinute}", per_megabyte: "0.000001"${terms} }
sessions: { per_account: 10000 }
admission: { newcomers_per_client: 100000 }
http: { listen: "127.0.0.1:${ports.http}" }
`
}

async function ready(http: number): Promise<void> {
  const deadline = performance.now() + READY_MAX_MS
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${http}/readyz`).catch(() => undefined)
    if (response?.ok === true) return
    if (performance.now() > deadline) throw new Error('Datanet did not become ready')
    await sleep(50)
  }
}

interface OperatorAnswer {
  readonly operatorId: number
  readonly contract: string
  readonly chainId: number
  readonly rpc: string
  readonly serverName: string
  readonly token: { readonly address: string }
}

/** What the enrolled devices and the other servers need. */
export interface Enrolment {
  readonly credentials: readonly LoadCredential[]
  /** The server's chain as it sends it and its key; the other servers get the same. */
  readonly certificatePem: string
  readonly keyPem: string
  /** The CA and the name devices trust. */
  readonly caPem: string
  readonly serverName: string
}

/** Makes accounts with bound certificates and one deposit each. */
export async function enrol(options: OursOptions, accounts: number): Promise<Enrolment> {
  const url = `http://127.0.0.1:${options.ports.http}`
  const response = await fetch(`${url}/v1/operator`)
  const operator = (await response.json()) as OperatorAnswer
  const contract = parseAddress(operator.contract)
  if (contract === undefined) throw new Error('/v1/operator names no contract')
  const nowSeconds = Math.floor(Date.now() / 1000)
  const keys = Array.from({ length: accounts }, () => randomBytes(32))
  await deposit(url, operator, keys.map(accountOf))
  const credentials: LoadCredential[] = []
  // Short names: servers that check chains list the names they trust in their flight, which must
  // not cost them a fragment that ours, which lists none, does not send.
  for (const [number, accountKey] of keys.entries()) {
    const domain = { chainId: BigInt(operator.chainId), contract, name: `b${number}` }
    const keyPem = deriveDeviceKey({ accountKey, ...domain })
    const certificatePem = makeBoundCertificate({
      accountKey,
      ...domain,
      publicKey: createPublicKey(keyPem).export({ type: 'spki', format: 'pem' }).toString(),
      signingKeyPem: keyPem,
      notBefore: nowSeconds - 600,
      notAfter: nowSeconds + 86_400,
      serial: randomBytes(8),
    })
    credentials.push({ identity: 'anonymous@bench.test', certificatePem, keyPem })
  }
  const file = (name: string): string => readFileSync(join(options.directory, 'data', name), 'utf8')
  return {
    credentials,
    certificatePem: file('server.crt'),
    keyPem: file('server.key'),
    caPem: file('ca.crt'),
    serverName: operator.serverName,
  }
}

/** One payer draws on the faucet once and deposits for everybody. */
async function deposit(
  url: string,
  operator: OperatorAnswer,
  accounts: readonly string[],
): Promise<void> {
  const payer = Wallet.createRandom()
  const sum = DEPOSIT * BigInt(accounts.length)
  const answer = await fetch(`${url}/v1/faucet`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account: payer.address, amount: sum.toString() }),
  })
  if (!answer.ok) throw new Error(`the faucet says ${answer.status}: ${await answer.text()}`)
  const provider = new JsonRpcProvider(operator.rpc, operator.chainId, {
    staticNetwork: true,
    pollingInterval: 200,
    batchMaxCount: 1,
  })
  const calls = new Interface([
    'function approve(address spender, uint256 amount)',
    'function depositFor(address consumer, tuple(uint32 operator, uint96 amount)[] parts)',
  ])
  const parts = [{ operator: operator.operatorId, amount: DEPOSIT }]
  const transactions = [
    {
      to: operator.token.address,
      data: calls.encodeFunctionData('approve', [operator.contract, sum]),
    },
    ...accounts.map((account) => ({
      to: operator.contract,
      data: calls.encodeFunctionData('depositFor', [account, parts]),
    })),
  ]
  const wallet = payer.connect(provider)
  const fees = { maxFeePerGas: 20n * 10n ** 9n, maxPriorityFeePerGas: 10n ** 9n }
  try {
    let last = ''
    for (const [nonce, transaction] of transactions.entries()) {
      const sent = await wallet.sendTransaction({
        ...transaction,
        ...fees,
        nonce,
        type: 2,
        chainId: operator.chainId,
        gasLimit: GAS_MAX,
      })
      last = sent.hash
      await sleep(TRANSACTION_EVERY_MS)
    }
    const receipt = await provider.waitForTransaction(last, 1, READY_MAX_MS)
    if (receipt?.status !== 1) throw new Error('a deposit failed')
  } finally {
    provider.destroy()
  }
}

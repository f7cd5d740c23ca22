// An operator as far as a device can see one: GET /v1/operator, POST /v1/faucet and a chain that
// answers the reads of the contract, on a free loopback port. Any answer can be replaced, to be a
// liar.

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { makeOperatorCertificates, spkiSha256Of } from '../../certs/operator.ts'
import { datanetInterface, tokenInterface } from '../../chain/bindings.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'

export const bytesOf = (seed: string, length = 32): Buffer =>
  createHash('shake256', { outputLength: length }).update(seed).digest()

/** An address spelt in a test. */
export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`${text} is no address`)
  return parsed
}

export const CONTRACT = address('0x5fbdb2315678afecb367f032d93f642f64180aa3')
export const TOKEN = address('0xe7f1725e7734ce288f8367e1bb143e90bb3f0512')
export const OPERATOR_ACCOUNT = accountOf(bytesOf('operator account'))
const ZERO = `0x${'0'.repeat(64)}`

/** A fresh set of server certificates; the same seed gives the same keys. */
export function certificatesOf(seed: string, operatorName = 'Corner Wi-Fi') {
  let drawn = 0
  const random = (length: number): Buffer => bytesOf(`${seed} ${drawn++}`, length)
  const nowSeconds = Math.floor(Date.now() / 1000)
  const made = makeOperatorCertificates({ operatorName, nowSeconds, random })
  return { ...made, spkiSha256: spkiSha256Of(made.certificatePem) }
}

export const genuine = certificatesOf('genuine')

/** What the double does where it is not told otherwise. */
export interface Lies {
  /** Replaces fields of GET /v1/operator; a string replaces the whole body. */
  answer?: Record<string, unknown> | string
  status?: number
  chainId?: number
  registered?: { account?: string; active?: boolean } | 'unknown'
  serverKey?: string
  tokenOnChain?: string
  deviceKey?: number
  /** to, amount, requestedAt, period, bond, coolUntil. */
  shift?: readonly (number | bigint)[]
  balance?: bigint
  gas?: bigint
  /** Status and body of POST /v1/faucet; 404 without one. */
  faucet?: { status: number; body: unknown }
  /** How many faucet calls are told to come again at once. */
  faucetBusy?: number
  /** How many chain requests are answered with 429 first. */
  busy?: number
}

/** A running double; `requests` are the paths asked for, in order. */
export interface OperatorDouble {
  readonly url: string
  readonly requests: string[]
  lies: Lies
}

/** Starts one; the test's teardown stops it. */
export async function startDouble(
  t: { teardown(f: () => Promise<void>): void },
  lies: Lies = {},
): Promise<OperatorDouble> {
  const requests: string[] = []
  const server = createServer(async (request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const { status, body } = answerOf(double, path, await readBody(request))
    if (path === '/v1/faucet' && (double.lies.faucetBusy ?? 0) > 0) {
      double.lies.faucetBusy = (double.lies.faucetBusy ?? 0) - 1
      response.writeHead(429, { 'retry-after': '0' }).end('{}')
      return
    }
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  const url = await listening(t, server)
  const double: OperatorDouble = { url, requests, lies }
  return double
}

/** Makes any server listen on a free loopback port until the test ends. */
export async function listening(
  t: { teardown(f: () => Promise<void>): void },
  server: Server,
): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of request) text += part
  return text
}

function answerOf(double: OperatorDouble, path: string, body: string) {
  const { lies } = double
  if (path === '/v1/operator') {
    const answer =
      typeof lies.answer === 'string' ? lies.answer : { ...goodAnswer(double.url), ...lies.answer }
    return { status: lies.status ?? 200, body: answer }
  }
  if (path === '/v1/faucet') return lies.faucet ?? { status: 404, body: {} }
  if (path !== '/v1/chain') return { status: 404, body: {} }
  if (lies.busy !== undefined && lies.busy-- > 0) return { status: 429, body: {} }
  const { id, method, params } = JSON.parse(body)
  const result = chainAnswer(lies, method, params)
  const error = { code: 3, message: 'execution reverted' }
  const rest = result === undefined ? { error } : { result }
  return { status: 200, body: { jsonrpc: '2.0', id, ...rest } }
}

/** The answer of an honest operator at `url`. */
export function goodAnswer(url: string) {
  return {
    name: 'Corner Wi-Fi',
    operatorId: 1,
    account: OPERATOR_ACCOUNT,
    contract: CONTRACT,
    chainId: 31337,
    rpc: `${url}/v1/chain`,
    token: { address: TOKEN, symbol: 'DNT', decimals: 18 },
    serverSpkiSha256: genuine.spkiSha256,
    serverName: genuine.serverName,
    certificates: [genuine.certificatePem, genuine.caCertificatePem],
    tariffs: [],
  }
}

function chainAnswer(lies: Lies, method: string, params: [{ to: string; data: string }]) {
  if (method === 'eth_chainId') return `0x${(lies.chainId ?? 31337).toString(16)}`
  if (method === 'eth_getBalance') return `0x${(lies.gas ?? 0n).toString(16)}`
  if (method !== 'eth_call') return undefined
  const { to, data } = params[0]
  if (to === TOKEN) {
    const call = tokenInterface.parseTransaction({ data })
    if (call?.name !== 'balanceOf') return undefined
    return tokenInterface.encodeFunctionResult('balanceOf', [lies.balance ?? 0n])
  }
  if (to !== CONTRACT) return '0x' // no code there
  const call = datanetInterface.parseTransaction({ data })
  const result = (values: unknown[]): string =>
    datanetInterface.encodeFunctionResult(call?.name ?? '', values)
  switch (call?.name) {
    case 'operator':
      return lies.registered === 'unknown'
        ? undefined
        : result([registration(lies.registered ?? {})])
    case 'isServerKey':
      return result([call.args[1] === `0x${lies.serverKey ?? genuine.spkiSha256}`])
    case 'token':
      return result([lies.tokenOnChain ?? TOKEN])
    case 'channel':
      return result([[10n ** 19n, 1n, 25n * 10n ** 17n, 10n ** 18n]])
    case 'shift':
      return result([lies.shift ?? [0, 0, 0, 0, 0, 0]])
    case 'deviceKey':
      return result([lies.deviceKey ?? 0])
    default:
      return undefined
  }
}

function registration(o: { account?: string; active?: boolean }): unknown[] {
  const { account = OPERATOR_ACCOUNT, active = true } = o
  const timing = [1, 60, 15, 3, 130, 30]
  const spki = `0x${genuine.spkiSha256}`
  const counts = [0, 0, 0] // k, lastPeriod, spkiChangesAt
  const keys = [ZERO, ZERO, ZERO]
  return [account, active, 1, timing, ...counts, account, spki, ZERO, ZERO, keys, 'http://x']
}

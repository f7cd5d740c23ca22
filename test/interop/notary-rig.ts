// A real server with the timing of CI, access points of several owners (each a client entry with
// an address of its own on the loopback), devices that join and pay, and doubles of the owners'
// program.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { checksumAddress } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../ethereum/typed-data.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { forger } from './forged.ts'
import { type MerchantDouble, merchantDouble, sharedView } from './merchants.ts'
import { openPayers, type Payers } from './payers.ts'
import { onFixedPort, type RunningServer, SECRET, startServer, testConfig } from './server.ts'

export const TOKEN = 10n ** 18n
export const TIMING = { beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 30 }
const CLASS = 25

/** One device with an escrow of 900 tokens. */
export interface Device {
  readonly key: Buffer
  /** All it has promised. */
  paid(): bigint
  /** Opens a session at the access point of a merchant (0: the operator's own); its id. */
  join(merchant: number): Promise<string>
  /** Pays more in a session; true where the server has taken it. */
  pay(session: string, more: bigint): Promise<boolean>
}

export interface NotaryRig {
  server(): RunningServer
  readonly payers: Payers
  readonly merchants: readonly MerchantDouble[]
  /** Of the merchants' accounts, in their order. */
  readonly keys: readonly Buffer[]
  device(): Promise<Device>
  /** Ends the server with a signal and starts it again on the same data and port. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** GET /v1/notary. */
  status(): Promise<Status>
  /** Polls for these merchants in turn until `done`; what they answered. */
  signing(
    merchants: readonly MerchantDouble[],
    done: () => boolean | Promise<boolean>,
    other?: (outcome: string) => void,
  ): Promise<void>
  /** Waits until so many ms of a period are over. */
  intoPeriod(ms: number): Promise<void>
}

export interface Status {
  readonly k: number
  readonly lastPeriod: number
  readonly period: number
  readonly phase: string
  readonly merchants: number
  readonly missing: readonly number[]
  readonly answered: readonly number[] | null
  readonly waiting: string
  readonly problem: string | null
}

/** Every 2 s a session owes 2 tokens. */
const TARIFF = 'per_minute: "60", per_megabyte: "0", interval: 2s, interval_megabytes: 10'

export async function notaryRig(
  t: Test,
  o: {
    directory: string
    merchants: number
    commission?: string
    start?: typeof startServer
    eta?: number
  },
): Promise<NotaryRig> {
  const keys = Array.from({ length: o.merchants }, () => randomBytes(32))
  const clients = keys.map((key, n) => {
    const merchant = checksumAddress(accountOf(key))
    return `  - { name: shop${n + 1}, ipaddr: 127.0.0.${n + 11}/32, secret: ${SECRET}, merchant: "${merchant}", ssid: Shop ${n + 1} }`
  })
  const { beta, gamma, delta, challenge, eta } = { ...TIMING, eta: o.eta ?? TIMING.eta }
  const timing = `{ beta: ${beta}s, gamma: ${gamma}s, delta: ${delta}s, challenge: ${challenge}s, eta: ${eta} }`
  const config = await onFixedPort(
    testConfig({
      client: clients.join('\n'),
      more: `payplace: { commission_percent: "${o.commission ?? '0'}", timing: ${timing} }
sessions: { per_account: 20 }
admission: { newcomers_per_client: 100 }
`,
    })
      .replace(
        /per_minute: "0.001", per_megabyte: "0.004", interval: 60s, interval_megabytes: 10/,
        TARIFF,
      )
      .replace('missed_max: 2', 'missed_max: 50'),
  )
  const start = () => (o.start ?? startServer)(t, { directory: o.directory, config })
  let server = await start()
  const payers = await openPayers(server)
  const operator = (await (await fetch(`${server.url}/v1/operator`)).json()) as {
    deployBlock: number
  }
  const { contract, chainId } = payers.access
  const place = {
    ...{ url: () => server.url, rpc: () => payers.access.rpc, chainId, contract },
    ...{ operator: payers.operatorId, deployBlock: operator.deployBlock },
  }
  const view = sharedView(place)
  const { g0 } = (await view()).at()?.operator()?.timing ?? { g0: 0 }
  const merchants = keys.map((key) => merchantDouble(key, place, view))
  for (const key of keys) await faucet(server.url, key)
  let stations = 0
  return {
    server: () => server,
    payers,
    merchants,
    keys,
    async device() {
      const key = randomBytes(32)
      await payers.fund(key, payers.operatorId, 900n * TOKEN)
      return deviceOf(
        key,
        payers,
        () => server,
        () => ++stations,
      )
    },
    async restart(signal = 'SIGTERM') {
      await server.stop(signal)
      server = await start()
    },
    async intoPeriod(ms) {
      const phaseMs = (Date.now() - g0 * 1_000) % (beta * 1_000)
      const waitMs = (ms - phaseMs + beta * 1_000) % (beta * 1_000)
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    },
    status: () => admin(server, '/v1/notary') as Promise<Status>,
    async signing(those, done, other = (outcome) => t.comment(outcome)) {
      while (!(await done())) {
        for (const merchant of those) {
          const outcome = await merchant.poll().catch((error: Error) => error.message)
          if (outcome !== 'nothing' && outcome !== 'signed') other(`${merchant.id()}: ${outcome}`)
        }
        await new Promise((resolve) => setTimeout(resolve, 250))
      }
    },
  }
}

/** Gas, and so many base units of the token. */
export async function faucet(url: string, key: Buffer, amount = 1n): Promise<void> {
  const body = JSON.stringify({ account: accountOf(key), amount: `${amount}` })
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/faucet`, { method: 'POST', headers, body })
  if (!answer.ok) throw new Error(`faucet: ${answer.status} ${await answer.text()}`)
}

/** What the operator's own tools are told. */
export async function admin(server: RunningServer, path: string, method = 'GET'): Promise<unknown> {
  const token = readFileSync(`${server.directory}/data/admin-token`, 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  const answer = await fetch(`${server.url}${path}`, { method, headers })
  return answer.json()
}

/** A device of the operator `operatorId`. */
export function deviceOf(
  key: Buffer,
  { access, operatorId }: Pick<Payers, 'access' | 'operatorId'>,
  server: () => RunningServer,
  station: () => number,
): Device {
  const domain = payPlaceDomain(access.chainId, access.contract)
  const consumer = accountOf(key)
  let total = 0n
  return {
    key,
    paid: () => total,
    async join(merchant) {
      const credential = forger(access, Math.floor(Date.now() / 1_000))({ accountKey: key })
      const transport = openTransport({
        ...{ host: '127.0.0.1', port: server().authPort, secret: Buffer.from(SECRET) },
        localAddress: merchant === 0 ? '127.0.0.1' : `127.0.0.${merchant + 10}`,
      })
      const supplicant = createSupplicant({ tlsMin: '1.2', tlsMax: '1.3', ...credential })
      const callingStationId = `02-00-00-00-07-${station().toString(16).padStart(2, '0')}`
      const peer = { transport, supplicant, identity: 'anonymous@datanet', callingStationId }
      const { outcome, attributes } = await authenticate(peer).finally(() => transport.close())
      const value = attributes.find(({ type }) => type === CLASS)?.value ?? Buffer.alloc(0)
      const id = /^ai:([0-9a-f]{32})$/.exec(value.toString('latin1'))?.[1]
      if (outcome !== 'accept' || id === undefined) throw new Error(`not admitted: ${outcome}`)
      return id
    },
    async pay(session, more) {
      const amount = total + more
      const digest = voucherDigest(domain, { consumer, operator: operatorId, amount })
      const signature = `0x${signDigest(digest, key).toString('hex')}`
      const body = JSON.stringify({
        ...{ consumer: checksumAddress(consumer), operator: operatorId },
        ...{ amount: `${amount}`, signature, session },
      })
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`${server().url}/v1/payments`, { method: 'POST', headers, body })
      if (answer.status === 200) total = amount
      return answer.status === 200
    },
  }
}

// Accounts whose sessions were opened by EAP-TLS, paid over HTTP and ended by accounting, each with
// a folder like a device's; and what the server's books say of them. Called by activity.test.ts.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ActivityDeps, ActivityKey } from '../../device/activity.ts'
import { readChain } from '../../device/chain.ts'
import { openVouchers } from '../../device/vouchers-file.ts'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../ethereum/typed-data.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { radclient } from './accounting-rig.ts'
import { forger } from './forged.ts'
import { addressOf, openPayers, type Payers } from './payers.ts'
import {
  onFixedPort,
  type RunningServer,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const CLASS = 25
const TOKEN = 10n ** 18n

/** What the books say of one account's sessions that are over. */
export interface Sums {
  readonly sessions: number
  readonly bytesUp: bigint
  readonly bytesDown: bigint
  readonly paid: bigint
}

/** One session that is open, with what its Stop needs. */
export interface OpenSession {
  readonly id: string
  readonly station: string
}

export interface Party {
  readonly key: Buffer
  readonly account: Address
  readonly directory: string
}

export interface ActivityScene {
  readonly server: RunningServer
  readonly payers: Payers
  readonly operatorKey: Buffer
  party(name: string): Promise<Party>
  /** Opens a session by EAP-TLS and Accounting-Start. */
  joins(party: Party): Promise<OpenSession>
  /** Ends it by Accounting-Stop with these octets. */
  stops(session: OpenSession, up: number, down: number): Promise<void>
  /** One more voucher, so much higher, for this session. */
  pays(party: Party, session: OpenSession, more: bigint): Promise<void>
  /** By the ledger, as `datanet sessions --all` shows it. */
  booked(): Promise<Map<Address, Sums>>
  deps(party: Party, key?: ActivityKey): Promise<ActivityDeps>
  post(path: string, body: unknown): Promise<{ status: number; body: Record<string, never> }>
}

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

export async function activityScene(t: Test): Promise<ActivityScene> {
  const directory = temporaryDirectory(t)
  const more = 'sessions: { per_account: 10 }\nadmission: { newcomers_per_client: 100 }\n'
  const config = await onFixedPort(testConfig({ more }))
  const server = await startServer(t, { directory, config })
  const payers = await openPayers(server)
  const { access, operatorId } = payers
  const domain = payPlaceDomain(access.chainId, access.contract)
  const operatorText = readFileSync(join(directory, 'data', 'operator-key'), 'utf8').trim()
  const operatorKey = Buffer.from(operatorText.replace(/^0x/, ''), 'hex')
  const forge = forger(access, Math.floor(Date.now() / 1000))
  const promised = new Map<Address, bigint>()
  let stations = 0

  async function post(path: string, body: unknown) {
    const headers = { 'content-type': 'application/json' }
    const text = JSON.stringify(body)
    const answer = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: text })
    return { status: answer.status, body: (await answer.json()) as Record<string, never> }
  }

  async function account(status: string, { id, station }: OpenSession, more: readonly string[]) {
    const lines = [
      `Acct-Status-Type = ${status}`,
      `Acct-Session-Id = "${id.slice(0, 16)}"`,
      `Class = 0x${Buffer.from(`ai:${id}`).toString('hex')}`,
      `Calling-Station-Id = "${station}"`,
      'NAS-Identifier = "ap"',
      ...more,
    ]
    const code = await radclient(server.accountingPort, SECRET, lines)
    if (code !== 0) throw new Error(`radclient: ${code} for ${status}`)
  }

  return {
    ...{ server, payers, operatorKey, post },
    async party(name) {
      const key = randomBytes(32)
      await payers.fund(key, operatorId, 100n * TOKEN)
      const folder = join(directory, name)
      mkdirSync(folder)
      return { key, account: accountOf(key), directory: folder }
    },
    async joins({ key }) {
      const transport = openTransport({
        ...{ host: '127.0.0.1', port: server.authPort, secret: Buffer.from(SECRET) },
      })
      const supplicant = createSupplicant({
        ...{ tlsMin: '1.2', tlsMax: '1.3', ...forge({ accountKey: key }) },
      })
      const station = `02-00-00-00-07-${(++stations).toString(16).padStart(2, '0')}`.toUpperCase()
      const peer = { transport, supplicant, identity: 'anonymous@datanet' }
      const { outcome, attributes } = await authenticate({
        ...{ ...peer, callingStationId: station },
      }).finally(() => transport.close())
      const value = attributes.find(({ type }) => type === CLASS)?.value ?? Buffer.alloc(0)
      const [, id = ''] = /^ai:([0-9a-f]{32})$/.exec(value.toString('latin1')) ?? []
      if (outcome !== 'accept' || id === '') throw new Error(`${outcome} for ${station}`)
      await account('Start', { id, station }, [])
      return { id, station }
    },
    async stops(session, up, down) {
      const octets = [`Acct-Input-Octets = ${up}`, `Acct-Output-Octets = ${down}`]
      await account('Stop', session, [...octets, 'Acct-Session-Time = 1'])
    },
    async pays({ key, account: consumer, directory: folder }, { id }, more) {
      const amount = (promised.get(consumer) ?? 0n) + more
      promised.set(consumer, amount)
      const book = { taken: amount, signed: amount, pending: undefined }
      await (await openVouchers(folder)).write(operatorId, book)
      const digest = voucherDigest(domain, { consumer, operator: operatorId, amount })
      const answer = await post('/v1/payments', {
        ...{ consumer: checksumAddress(consumer), operator: operatorId, amount: `${amount}` },
        ...{ signature: hex(signDigest(digest, key)), session: id },
      })
      if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
    },
    async booked() {
      const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
      const answer = await fetch(`${server.url}/v1/sessions?all=true&limit=1000`, {
        headers: { authorization: `Bearer ${token}` },
      })
      const { sessions } = (await answer.json()) as { sessions: Record<string, string>[] }
      const sums = new Map<Address, Sums>()
      for (const one of sessions.filter(({ state }) => state === 'closed')) {
        const who = addressOf(one['account'])
        const before = sums.get(who) ?? { sessions: 0, bytesUp: 0n, bytesDown: 0n, paid: 0n }
        sums.set(who, {
          sessions: before.sessions + 1,
          bytesUp: before.bytesUp + BigInt(one['inputOctets'] ?? ''),
          bytesDown: before.bytesDown + BigInt(one['outputOctets'] ?? ''),
          paid: before.paid + BigInt(one['paid'] ?? ''),
        })
      }
      return sums
    },
    async deps({ key, account: consumer, directory: folder }, metering) {
      const operator = (await (await fetch(`${server.url}/v1/operator`)).json()) as {
        account: string
      }
      const place = { operatorUrl: server.url, operatorId, rpc: `${server.url}/v1/chain` }
      const names = { operatorName: 'Interop', serverName: 'x', serverSpkiSha256: '00'.repeat(32) }
      const token = { address: access.token, symbol: 'DNT', decimals: 18 }
      const device = {
        ...({
          version: 1,
          name: 'x',
          kind: 'bound',
          account: consumer,
          ...place,
          ...names,
        } as const),
        ...{ contract: access.contract, chainId: Number(access.chainId), token },
        privateKey: 'key.pem',
      }
      const to = {
        ...{ url: server.url, operatorId, operatorAccount: addressOf(operator.account) },
        ...{ account: consumer, accountKey: key, domain },
      }
      return {
        ...{ directory: folder, device, to, rpc: access.rpc, key: metering },
        ...{ chain: readChain(access.rpc, access.contract), progress() {}, now: Date.now },
      }
    },
  }
}

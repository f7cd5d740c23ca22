// The native engine with ticket keys and a clock of the test's own, and whole logins at it with a
// node:tls client that keeps its session. Called by resumption.test.ts and tickets.test.ts.

import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { TlsEngine, TlsEngineConfig } from '../../eap/engine.ts'
import { type Authorization, openExchange } from '../../eap/exchange.ts'
import { p256, server } from './credentials.ts'
import { nativeEngine } from './engine-file.ts'
import { type PeerReport, runPeer } from './peer.ts'

const native = nativeEngine()

export const VERSIONS = ['1.2', '1.3'] as const
export type Version = (typeof VERSIONS)[number]
export const LIFETIME_SECONDS = 43_200
/** OpenSSL looks at the time too, so the clock of this test begins with the real one. */
export const START = Math.floor(Date.now() / 1000)
const limits = { roundsMax: 100, messageBytesMax: 65_536 }
export const key = randomBytes(80)
export const older = randomBytes(80)

export interface Rig {
  readonly engine: TlsEngine
  clock: number
}

export function rig(keys: readonly Buffer[] = [key], change: Partial<TlsEngineConfig> = {}): Rig {
  const made = { clock: START } as { engine: TlsEngine; clock: number }
  made.engine = native({
    ...{ certificatePem: server.cert, privateKeyPem: server.key, tlsMin: '1.2', tlsMax: '1.3' },
    resumption: { lifetimeSeconds: LIFETIME_SECONDS, nowSeconds: () => made.clock },
    ...change,
  })
  made.engine.setTicketKeys?.(keys)
  return made
}

interface Login {
  readonly session?: Buffer | undefined
  readonly verdict?: Authorization
  readonly ciphers?: string
  readonly secureOptions?: number
  readonly serverFragmentSize?: number
  readonly mayResume?: (certificate: Buffer) => boolean
  readonly tamper?: (flight: Buffer, index: number) => Buffer
}

export async function login({ engine }: Rig, version: Version, o: Login = {}) {
  let asked = 0
  let resumed: boolean | undefined
  const exchange = openExchange({
    ...{ engine, limits, random: randomBytes },
    ...(o.mayResume !== undefined && { mayResume: o.mayResume }),
    authorize(_, facts) {
      asked++
      resumed = facts.resumed
      return o.verdict ?? { accept: true }
    },
  })
  const { session, ciphers, secureOptions } = o
  const report = await runPeer(exchange, {
    tls: {
      ...p256,
      // One case has another operator's certificate.
      rejectUnauthorized: false,
      ...{ minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` },
      ...(session !== undefined && { session }),
      ...(ciphers !== undefined && { ciphers }),
      ...(secureOptions !== undefined && { secureOptions }),
    },
    ...(o.serverFragmentSize !== undefined && { serverFragmentSize: o.serverFragmentSize }),
    ...(o.tamper !== undefined && { tamper: o.tamper }),
  })
  return { ...report, asked, resumed }
}

export function kept({ session }: PeerReport): Buffer {
  if (session === undefined) throw new Error('the client was given nothing to come back with')
  return session
}

/** Both ends hold the same keys, and the account was asked about. */
export function isAccept(
  t: Test,
  report: Awaited<ReturnType<typeof login>>,
  resumed: boolean,
): void {
  const { reply } = report
  if (reply.do !== 'accept') {
    t.fail(`no accept: ${JSON.stringify({ ...reply, eap: '', error: report.error })}`)
    return
  }
  t.equal(report.resumed, resumed, resumed ? 'resumed' : 'a full handshake')
  t.equal(report.asked, 1, 'the account was asked about')
  t.same(reply.msk, report.msk, 'MSK')
  t.same(reply.emsk, report.emsk, 'EMSK')
  t.same(reply.sessionId.subarray(1), report.methodId, 'Session-Id')
  t.equal(reply.msk.length + reply.emsk.length + reply.sessionId.length, 64 + 64 + 65)
  t.ok(reply.certificate.length > 300, 'the certificate')
  t.equal(report.data.toString('hex'), reply.facts.version === '1.3' ? '00' : '', 'commitment')
}

export function withoutResumption(): Rig {
  const pems = { certificatePem: server.cert, privateKeyPem: server.key }
  const engine = native({ ...pems, tlsMin: '1.2', tlsMax: '1.3' })
  return { engine, clock: START }
}

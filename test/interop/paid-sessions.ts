// Sessions of paying devices on a real server with an interval of two seconds, and what its books
// say of them. Called by device-run.test.ts and device-pay.test.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Line, Payer } from './payer-process.ts'
import {
  eapolTest,
  type RunningServer,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

export const INTERVAL_MS = 2_000

export interface PaidSessions {
  readonly server: RunningServer
  readonly directory: string
  adminSessions(): Promise<Record<string, string>[]>
  sessionOf(account: string): Promise<Record<string, string> | undefined>
  /** Joins as a station of that number: what one was refused for does not touch the next. */
  joins(deviceDirectory: string, station: number): Promise<void>
}

export async function paidSessions(t: Test): Promise<PaidSessions> {
  const directory = temporaryDirectory(t)
  // With a port for Disconnect-Requests, though nobody is there: a client without one gets a
  // Session-Timeout of three intervals, and these sessions are to last.
  const client = '    coa: { port: 9, secret: a-coa-secret-of-24-characters }'
  // Enough missed intervals that a busy machine's payer is not put off.
  const config = testConfig({ client })
    .replace('interval: 60s', 'interval: 2s')
    .replace('missed_max: 2', 'missed_max: 8')
  const server = await startServer(t, { directory, config })
  async function adminSessions(): Promise<Record<string, string>[]> {
    const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
    const answer = await fetch(`${server.url}/v1/sessions`, {
      headers: { authorization: `Bearer ${token}` },
    })
    return ((await answer.json()) as { sessions: Record<string, string>[] }).sessions
  }
  return {
    ...{ server, directory, adminSessions },
    async sessionOf(account) {
      const all = await adminSessions()
      return all.find((one) => one['account'] === account && one['state'] !== 'closed')
    },
    async joins(deviceDirectory, station) {
      const mac = `02:00:00:00:01:${station.toString(16).padStart(2, '0')}`
      const { ok, out } = await eapolTest(server, deviceDirectory, { args: ['-M', mac] })
      if (!ok) throw new Error(out)
    },
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

/** What the operator has taken, by the device's own book. */
export const taken = (deviceDirectory: string): bigint => {
  const { operators } = JSON.parse(readFileSync(join(deviceDirectory, 'vouchers.json'), 'utf8'))
  return BigInt(operators['1'].taken)
}

export const sumOf = (lines: readonly Line[]): bigint =>
  lines.reduce((sum, { credited }) => sum + BigInt(credited ?? 0), 0n)

export const said = (payer: Payer) => () => `${JSON.stringify(payer.lines())}\n${payer.errors()}`

/** The price of a time in ms at 0.001 a minute. */
export const price = (ms: number): bigint => (BigInt(ms) * 10n ** 15n) / 60_000n

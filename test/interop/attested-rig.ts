// Two meters over one session, for attested.test.ts and attested-less.test.ts: a server, a device
// that counts an interface of its own and has joined, and the records of its access point, by
// FreeRADIUS's radclient. Needs root, for the interface.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { radclient } from './accounting-rig.ts'
import { startWatching } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  onFixedPort,
  type RunningServer,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

export const MEGABYTE = 1_000_000
const NAME = `dnm${process.pid % 100_000}`
const STATION = '02-00-00-00-02-01'

/**
 * A cable that ends at nobody: what is sent into it is counted, and goes no further. `net`: the
 * first three numbers of a test network (RFC 5737), routed nowhere else and used by one file only.
 */
export async function openInterface(
  t: Test,
  net: '198.51.100' | '203.0.113',
): Promise<{ send(megabytes: number): Promise<void> }> {
  const [near, far] = [`${net}.1`, `${net}.2`]
  const ip = async (...words: string[]): Promise<void> => {
    const { code, errors } = await run('ip', words, { cwd: '.' })
    if (code !== 0) throw new Error(`ip ${words.join(' ')}: ${errors}`)
  }
  await ip('link', 'add', NAME, 'type', 'veth', 'peer', 'name', `${NAME}p`)
  t.teardown(() => ip('link', 'del', NAME))
  await ip('addr', 'add', `${near}/32`, 'dev', NAME)
  for (const end of [NAME, `${NAME}p`]) await ip('link', 'set', end, 'up')
  await ip('route', 'add', `${far}/32`, 'dev', NAME, 'src', near)
  await ip('neigh', 'add', far, 'lladdr', '02:00:00:00:02:02', 'dev', NAME)
  return {
    async send(megabytes) {
      const socket = createSocket('udp4')
      // 1,458 octets on the interface, with the headers of UDP, IP and Ethernet.
      const datagram = Buffer.alloc(1_416)
      for (let sent = 0; sent < megabytes * MEGABYTE; sent += 1_458) {
        await new Promise((resolve) => socket.send(datagram, 9, far, resolve))
      }
      socket.close()
      await once(socket, 'close')
    },
  }
}

export type Json = Record<string, unknown>

/** A server that bills by `usage`, and a device that has joined and pays by the interface. */
export async function served(t: Test, usage: string) {
  const directory = temporaryDirectory(t)
  const client = '    ssid: Corner\n    coa: { port: 9, secret: a-coa-secret-of-24-characters }'
  const more = `billing: { usage: ${usage}, trust: software }`
  const config = testConfig({ client, more })
    .replace('interval: 60s', 'interval: 2s')
    .replace('interval_megabytes: 10', 'interval_megabytes: 100')
    // For the last report, of a device that looks after a session it left every ten seconds.
    .replace('grace: 0s', 'grace: 30s')
  const server = await startServer(t, { directory, config: await onFixedPort(config) })
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const get = async (path: string): Promise<Json> => {
    const headers = { authorization: `Bearer ${token}` }
    return (await (await fetch(`${server.url}${path}`, { headers })).json()) as Json
  }
  const { directory: dir, account } = await createDevice(server, 'paula')
  const payer = await startWatching(t, dir, ['--interface', NAME])
  const joined = await eapolTest(server, dir, { args: ['-M', STATION.replaceAll('-', ':')] })
  if (!joined.ok) throw new Error(joined.out)
  let seen: Json = {}
  const look = async (): Promise<Json> => {
    const { sessions } = (await get('/v1/sessions?all=true')) as { sessions: Json[] }
    seen = sessions[0] ?? {}
    return seen
  }
  const until = async (what: string, holds: (session: Json) => boolean): Promise<Json> => {
    const words = () => `${what}: ${JSON.stringify(seen)}\n${JSON.stringify(payer.lines())}`
    for (let tries = 0; tries < 150; tries++) {
      if (holds(await look())) return seen
      await sleep(200)
    }
    throw new Error(words())
  }
  return { server, get, account, payer, look, until }
}

/** One accounting record of the session, as its access point would send it. */
export async function account(
  server: RunningServer,
  session: Json,
  status: string,
  octets: number,
) {
  const code = await radclient(server.accountingPort, SECRET, [
    `Acct-Status-Type=${status}`,
    'Acct-Session-Id="5F2E1A2B00000001"',
    `Class=0x${Buffer.from(`ai:${session['id']}`).toString('hex')}`,
    `Calling-Station-Id="${STATION}"`,
    'NAS-Identifier="lobby"',
    `Acct-Input-Octets=${octets}`,
    'Acct-Output-Octets=0',
    `Event-Timestamp=${Math.floor(Date.now() / 1_000)}`,
  ])
  if (code !== 0) throw new Error(`radclient: ${code}`)
}

export const attestedOctets = ({ attested }: Json): number => {
  const { inputOctets, outputOctets } = (attested ?? {}) as Record<string, string>
  return Number(inputOctets ?? 0) + Number(outputOctets ?? 0)
}

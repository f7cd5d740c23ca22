// The payer as a process against the real server: sessions that live for as long as they are paid,
// kill -9 in the middle, answers that are lost on the way, two devices of one account. Whatever
// happens, the operator's books and the device's agree, and nothing is paid twice.
// Mostly waits: for sessions to be paid for some intervals.

import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { type Line, type Payer, startPayer } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  runDatanet,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

t.setTimeout(178_000)

const INTERVAL_MS = 2_000

let server: RunningServer
let directory: string

t.before(async () => {
  directory = temporaryDirectory(t)
  // With a port for Disconnect-Requests, though nobody is there: a client without one gets a
  // Session-Timeout of three intervals, and these sessions are to last.
  const client = '    coa: { port: 9, secret: a-coa-secret-of-24-characters }'
  const config = testConfig({ client }).replace('interval: 60s', 'interval: 2s')
  server = await startServer(t, { directory, config })
})

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function adminSessions(): Promise<Record<string, string>[]> {
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const answer = await fetch(`${server.url}/v1/sessions`, {
    headers: { authorization: `Bearer ${token}` },
  })
  return ((await answer.json()) as { sessions: Record<string, string>[] }).sessions
}

async function sessionOf(account: string): Promise<Record<string, string> | undefined> {
  const all = await adminSessions()
  return all.find((one) => one['account'] === account && one['state'] !== 'closed')
}

const taken = (deviceDirectory: string): bigint => {
  const { operators } = JSON.parse(readFileSync(join(deviceDirectory, 'vouchers.json'), 'utf8'))
  return BigInt(operators['1'].taken)
}

const sumOf = (lines: readonly Line[]): bigint =>
  lines.reduce((sum, { credited }) => sum + BigInt(credited ?? 0), 0n)

const said = (payer: Payer) => () => `${JSON.stringify(payer.lines())}\n${payer.errors()}`

/** Joins as a station of that number: what one was refused for does not touch the next. */
async function joins(deviceDirectory: string, station: number): Promise<void> {
  const mac = `02:00:00:00:01:${station.toString(16).padStart(2, '0')}`
  const { ok, out } = await eapolTest(server, deviceDirectory, { args: ['-M', mac] })
  if (!ok) throw new Error(out)
}

/** The price of a time in ms at 0.001 a minute. */
const price = (ms: number): bigint => (BigInt(ms) * 10n ** 15n) / 60_000n

t.test('a session lives while it is paid, and the books agree', async (t) => {
  const { directory: dir, account } = await createDevice(server, 'paula')
  await joins(dir, 1)
  const payer = startPayer(t, dir)
  await waitFor(() => payer.paid().length >= 5, 5 * INTERVAL_MS + 10_000, said(payer))
  const session = await sessionOf(account)
  t.match(session, { state: 'current' })
  t.equal(await payer.end('SIGTERM'), 0)
  t.equal(payer.errors(), '')
  t.same(
    payer
      .lines()
      .map(({ event }) => event)
      .filter((event) => event !== 'paid' && event !== 'due'),
    ['started', 'session', 'stopped'],
  )
  const credited = sumOf(payer.paid())
  t.equal(credited, taken(dir), 'every part of the voucher is in a receipt')
  t.equal(BigInt((await sessionOf(account))?.['paid'] ?? 0), credited)
  const receipts = readFileSync(join(dir, 'receipts.jsonl'), 'utf8').trim().split('\n')
  t.equal(receipts.length, payer.paid().length)
})

t.test('kill -9 at any moment and a new start: nothing is paid twice', async (t) => {
  const { directory: dir, account } = await createDevice(server, 'kim')
  await joins(dir, 2)
  const startedAt = Date.now()
  for (let round = 0; round < 4; round++) {
    const payer = startPayer(t, dir)
    await waitFor(() => payer.lines().some(({ event }) => event === 'session'), 10_000, said(payer))
    // Moments spread over an interval, the write of the file and the exchange among them.
    await pause(300 + round * 400)
    t.equal(await payer.end('SIGKILL'), 'SIGKILL')
  }
  const last = startPayer(t, dir)
  await waitFor(() => last.paid().length >= 2, 15_000, said(last))
  t.equal(await last.end('SIGTERM'), 0)
  const session = await sessionOf(account)
  t.match(session, { state: 'current' })
  const paid = BigInt(session?.['paid'] ?? 0)
  t.equal(paid, taken(dir))
  const most = price(Date.now() - startedAt + 2 * INTERVAL_MS)
  t.ok(paid <= most, `${paid} of at most ${most}`)
})

/** Passes connections on to the server; what `cut` says yes to gets no answer. */
async function startProxy(
  t: { teardown(f: () => Promise<void>): void },
  cut: (request: string) => boolean,
): Promise<string> {
  const { port } = new URL(server.url)
  const sockets = new Set<Socket>()
  const proxy = createServer((near) => {
    const far = connect(Number(port), '127.0.0.1')
    let isCut = false
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => near.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    near.on('data', (bytes: Buffer) => {
      if (cut(bytes.toString('latin1'))) isCut = true
      far.write(bytes)
    })
    // The request has arrived and was carried out; its answer is lost on the way.
    far.on('data', (bytes: Buffer) => void (isCut ? near.destroy() : near.write(bytes)))
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => proxy.close(resolve))
  })
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

function editDevice(dir: string, edit: (device: Record<string, unknown>) => void): void {
  const path = join(dir, 'device.json')
  const device = JSON.parse(readFileSync(path, 'utf8'))
  edit(device)
  writeFileSync(path, JSON.stringify(device))
}

t.test('two answers of three are lost: the session lives, nothing is paid twice', async (t) => {
  const { directory: dir, account } = await createDevice(server, 'lou')
  await joins(dir, 3)
  let payments = 0
  const url = await startProxy(t, (request) => {
    if (!request.startsWith('POST /v1/payments')) return false
    payments += 1
    return payments % 3 !== 0
  })
  editDevice(dir, (device) => {
    device['operatorUrl'] = url
  })
  const startedAt = Date.now()
  const payer = startPayer(t, dir)
  await pause(4 * INTERVAL_MS)
  const session = await sessionOf(account)
  t.equal(await payer.end('SIGTERM'), 0)
  t.match(session, { state: 'current' }, said(payer)())
  t.ok(payments >= 6, `${payments} payments`)
  const best = BigInt((await sessionOf(account))?.['paid'] ?? 0)
  t.ok(best <= price(Date.now() - startedAt + 3 * INTERVAL_MS), `${best}`)
})

t.test('two devices of one account, each with its session', async (t) => {
  const { directory: first, account } = await createDevice(server, 'max')
  const second = join(directory, 'max-2')
  cpSync(first, second, { recursive: true })
  for (const station of [21, 22]) await joins(first, station)
  const [a = '', b = ''] = (await adminSessions())
    .filter((one) => one['account'] === account)
    .map((one) => one['id'])
  const payers = [startPayer(t, first, ['--session', a]), startPayer(t, second, ['--session', b])]
  for (const payer of payers) {
    await waitFor(() => payer.paid().length >= 4, 8 * INTERVAL_MS + 10_000, said(payer))
  }
  const sessions = (await adminSessions()).filter((one) => one['account'] === account)
  t.same(
    sessions.map(({ state }) => state),
    ['current', 'current'],
  )
  for (const payer of payers) t.equal(await payer.end('SIGTERM'), 0)
  const after = (await adminSessions()).filter((one) => one['account'] === account)
  const paid = after.reduce((sum, one) => sum + BigInt(one['paid'] ?? 0), 0n)
  const best = [taken(first), taken(second)]
  t.ok(best.includes(paid), 'one cumulative voucher covers both')
  t.ok(best.every((amount) => amount <= paid))
})

t.test('one payer for one DIR; device pay --once after it', async (t) => {
  const { directory: dir, account } = await createDevice(server, 'nina')
  await joins(dir, 4)
  const payer = startPayer(t, dir)
  await waitFor(() => payer.paid().length >= 1, 10_000, said(payer))
  const once = () => runDatanet(['device', 'pay', dir, '--once', '--json'], { cwd: directory })
  t.match(await runDatanet(['device', 'run', dir], { cwd: directory }), {
    code: 73,
    errors: /another program pays for .* already/,
  })
  t.match(await once(), { code: 73 })
  await payer.end('SIGKILL')
  const before = BigInt((await sessionOf(account))?.['paid'] ?? 0)
  await pause(INTERVAL_MS)
  const paid = await once()
  t.equal(paid.code, 0, paid.errors)
  const { receipts } = JSON.parse(paid.out)
  // One, or a second where an interval ended while the first was paid.
  t.ok([1, 2].includes(receipts.length), paid.out)
  const credits = receipts.map(({ credited }: { credited: string }) => BigInt(credited))
  const after = BigInt((await sessionOf(account))?.['paid'] ?? 0)
  t.equal(
    after - before,
    credits.reduce((sum: bigint, one: bigint) => sum + one, 0n),
  )
  // Once, and not any more.
  await pause(2 * INTERVAL_MS)
  t.equal(BigInt((await sessionOf(account))?.['paid'] ?? 0), after)
})

t.test('tops up when the escrow runs low', async (t) => {
  const { directory: dir } = await createDevice(server, 'otto', ['--deposit', '0.5'])
  await joins(dir, 5)
  const payer = startPayer(t, dir, ['--topup-below', '1', '--topup', '2'])
  const has = (name: string) => () => payer.lines().some(({ event }) => event === name)
  await waitFor(has('topped-up'), 20_000, said(payer))
  await waitFor(() => payer.paid().length >= 3, 15_000, said(payer))
  t.equal(await payer.end('SIGTERM'), 0)
  const status = await runDatanet(['device', 'status', dir, '--json'], { cwd: directory })
  t.equal(JSON.parse(status.out).escrow.deposit, `25${'0'.repeat(17)}`)
})

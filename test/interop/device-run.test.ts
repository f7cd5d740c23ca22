// The payer as a process against the real server: sessions that live for as long as they are paid,
// kill -9 in the middle, answers that are lost on the way. Whatever happens, the operator's books
// and the device's agree, and nothing is paid twice.
// Mostly waits: for sessions to be paid for some intervals.

import { readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { INTERVAL_MS, paidSessions, pause, price, said, sumOf, taken } from './paid-sessions.ts'
import { startPayer } from './payer-process.ts'
import { createDevice, waitFor } from './server.ts'

t.setTimeout(175_000)

const { server, sessionOf, joins } = await paidSessions(t)

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

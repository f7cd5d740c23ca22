// The payer as a process against the real server: two devices of one account, one payer for one
// folder, payments made by hand, an escrow that runs low.
// Mostly waits: for sessions to be paid for some intervals.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { INTERVAL_MS, paidSessions, pause, said, taken } from './paid-sessions.ts'
import { startPayer } from './payer-process.ts'
import { createDevice, runDatanet, waitFor } from './server.ts'

t.setTimeout(175_000)

const { server, directory, adminSessions, sessionOf, joins } = await paidSessions(t)

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
  // More than one where an interval ended while the one before was paid.
  t.ok(receipts.length >= 1, paid.out)
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

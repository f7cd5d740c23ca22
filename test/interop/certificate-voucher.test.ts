// Product terms §8.3: what a device owes, and a first interval, paid inside EAP by the voucher in
// its certificate: eapol_test against the real server, with certificates the device's code made.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readAccountKey } from '../../device/account-key.ts'
import { readDevice } from '../../device/folder.ts'
import { askSessions, type PayingTo } from '../../device/operator-api.ts'
import { carriedVoucher, renewCertificate, voucherUriOf } from '../../device/renewal.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import { PASSWORD, startPayer } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  run,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const TOKEN = 10n ** 18n
const INTERVAL_MS = 2_000
const PATIENCE_MS = 30_000
// Debt is paid in the certificate or not at all: no window to pay in over HTTP.
const configWith = (prepay: string): string =>
  testConfig({ more: `admission: { arrears_window: 0s, prepay: ${prepay} }\n` }).replace(
    'interval: 60s',
    `interval: ${INTERVAL_MS / 1000}s`,
  )

let server: RunningServer

t.before(async () => {
  server = await startServer(t, { directory: temporaryDirectory(t), config: configWith('off') })
})

/** The device's own key, and what it pays to. */
async function payerOf(directory: string): Promise<PayingTo> {
  const device = await readDevice(directory)
  const { account, operatorId, operatorAccount = account, chainId, contract } = device
  const accountKey = await readAccountKey(directory, device, async () => PASSWORD)
  const domain = payPlaceDomain(chainId, contract)
  return { url: server.url, operatorId, operatorAccount, account, accountKey, domain }
}

async function sessionsOf(to: PayingTo) {
  return (await askSessions(to, Math.floor(Date.now() / 1000), PATIENCE_MS)).sessions
}

/** A new certificate of the device that carries this cumulative amount. */
async function carry(directory: string, to: PayingTo, amount: bigint): Promise<void> {
  const device = await readDevice(directory)
  const renewal = { directory, device, accountKey: to.accountKey }
  await renewCertificate(renewal, Math.floor(Date.now() / 1000), voucherUriOf(to, amount))
}

let stations = 0

/** Joins at a new place; the log line of its login. */
async function joined(t: Test, directory: string, isLetIn: boolean) {
  const station = `02-00-00-00-09-0${++stations}`
  const { ok, out } = await eapolTest(server, directory, {
    args: ['-M', station.replaceAll('-', ':')],
  })
  t.equal(ok, isLetIn, `${station} is ${isLetIn ? 'let in' : 'refused'}`)
  if (ok !== isLetIn) t.comment(out.slice(-2_000))
  const line = await server.logged((one) => one['station'] === station)
  return { station, session: String(line['session']), reason: line['reason'] }
}

async function stop(session: string, station: string): Promise<void> {
  const lines = [
    'Acct-Status-Type = Stop',
    `Acct-Session-Id = "${session.slice(0, 8)}"`,
    'NAS-Identifier = "interop"',
    `Calling-Station-Id = "${station}"`,
    `Class = 0x${Buffer.from(`ai:${session}`).toString('hex')}`,
  ]
  const at = `127.0.0.1:${server.accountingPort}`
  const { code, out } = await run('radclient', [at, 'acct', SECRET], { input: lines.join('\n') })
  if (code !== 0) throw new Error(`accounting was not answered: ${out}`)
}

t.test('arrears and a first interval are paid by the certificate', async (t) => {
  const { directory } = await createDevice(server, 'dora')
  const to = await payerOf(directory)
  const first = await joined(t, directory, true)
  await stop(first.session, first.station)
  const [debt] = await sessionsOf(to)
  t.match(debt, { id: first.session, state: 'closed', paid: 0n })
  const due = debt?.due ?? 0n
  t.ok(due > 0n, 'it left without paying')
  await waitFor(
    () => Date.now() > (debt?.dueAtMs ?? 0) + 1_000,
    PATIENCE_MS,
    () => 'never due',
  )
  t.match(await joined(t, directory, false), { reason: 'debt' })
  const firstInterval = 41n * 10n ** 15n
  await carry(directory, to, due + firstInterval)
  const back = await joined(t, directory, true)
  const sessions = await sessionsOf(to)
  t.same(
    sessions.map(({ id }) => id),
    [back.session],
    'nothing is owed for the first session any more',
  )
  await waitFor(
    async () => (await sessionsOf(to)).some(({ paid }) => paid > 0n),
    PATIENCE_MS,
    () => 'the first interval was not taken from what the certificate paid',
  )
})

t.test('device create --prepay: a newcomer that must pay ahead gets in', async (t) => {
  const refused = async (words: string[], told: RegExp) => {
    const args = ['device', 'create', 'gus', '--operator', server.url, ...words]
    const { code, errors } = await runDatanet(args, { cwd: server.directory })
    t.equal(code, 64, words.join(' '))
    t.match(errors, told)
  }
  await refused(['--prepay', '1'], /--prepay 1 needs a --deposit of as much or more/)
  await refused(['--deposit', '1', '--prepay', '1.1'], /needs a --deposit/)
  await refused(['--kind', 'direct', '--deposit', '1', '--prepay', '1'], /for --kind bound/)

  writeFileSync(server.configPath, configWith('newcomers'))
  server.process.kill('SIGHUP')
  await server.logged(({ msg }) => /^configuration reloaded/.test(String(msg)))
  const plain = await createDevice(server, 'erin')
  t.match(await joined(t, plain.directory, false), { reason: 'prepay-required' })
  const { directory } = await createDevice(server, 'finn', ['--deposit', '10', '--prepay', '1'])
  const to = await payerOf(directory)
  t.equal(await carriedVoucher(directory), voucherUriOf(to, TOKEN))
  const { session } = await joined(t, directory, true)

  // The payer goes on from what the certificate paid, and never signs less.
  const payer = startPayer(t, directory)
  const lines = () => `${JSON.stringify(payer.lines())}\n${payer.errors()}`
  const found = () => payer.lines().some((line) => line.event === 'session')
  await waitFor(found, PATIENCE_MS, lines)
  await waitFor(
    async () => (await sessionsOf(to)).some(({ id, paid }) => id === session && paid > 0n),
    PATIENCE_MS,
    lines,
  )
  const book = readFileSync(join(directory, 'vouchers.json'), 'utf8')
  t.match(JSON.parse(book).operators[to.operatorId], { signed: /^1\d{18,}$/ })
  t.equal(await payer.end('SIGTERM'), 0)
  t.equal(payer.errors(), '')
})

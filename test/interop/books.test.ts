// What the operator sees of its books through the command line: a device joins, pays, is put off;
// each verb tells it in words and as JSON.

import t from 'tap'
import {
  createDevice,
  eapolTest,
  onFixedPort,
  type RunningServer,
  runDatanet,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const UNKNOWN = '00'.repeat(16)
const USAGE = 64
const UNAVAILABLE = 69

interface Listed {
  readonly id: string
  readonly account: string
  readonly state: string
  readonly paid: string
  readonly cutReason: string | null
}

/** One verb against the server's data directory, with its JSON where that was asked for. */
async function ask(server: RunningServer, ...args: string[]) {
  const at = ['--config', server.configPath]
  const { code, out, errors } = await runDatanet(args[0] === 'device' ? args : [...args, ...at], {
    cwd: server.directory,
  })
  const json = args.includes('--json') && code === 0 ? JSON.parse(out) : undefined
  return { code, out, errors, json }
}

t.test('sessions, ledger, arrears, disconnect', async (t) => {
  const directory = temporaryDirectory(t)
  const server = await startServer(t, { directory, config: await onFixedPort(testConfig()) })
  t.match(await ask(server, 'sessions'), { code: 0, out: /^no sessions$/m })
  t.match(await ask(server, 'ledger'), { code: 0, out: /^nothing was paid yet$/m })
  t.match(await ask(server, 'ledger', '--arrears'), { code: 0, out: /^nobody is in arrears$/m })

  t.match(await ask(server, 'ledger', '--disputes'), { code: 0, out: /^nothing was disputed$/m })
  t.match(await ask(server, 'reliability'), { code: 0, out: /no access point has an ssid/ })

  const { directory: alice, account } = await createDevice(server, 'alice')
  t.ok((await eapolTest(server, alice)).ok)
  const paid = await ask(server, 'device', 'pay', alice, '--once', '--json')
  t.equal(paid.code, 0, paid.errors)
  t.match(paid.json.receipts, [{ consumer: account }])

  const { escrows } = (await ask(server, 'device', 'status', alice, '--json')).json
  t.match(escrows, [{ highestVoucher: '0', promised: /^[1-9]\d+$/ }], 'the chain saw none yet')
  t.match((await ask(server, 'device', 'status', alice)).out, /^escrow .*, 0\.0\d+ promised, /m)

  const { sessions } = (await ask(server, 'sessions', '--json')).json as { sessions: Listed[] }
  const [session] = sessions
  t.equal(sessions.length, 1)
  t.match(session, { account, state: 'current', kind: 'normal', paid: /^[1-9]\d+$/ })
  const id = session?.id ?? ''
  const line = new RegExp(
    `^${id}  ${account}  loopback  current  0\\.\\d +0\\.0  0\\.\\d+ +0\\.\\d+ +-$`,
    'm',
  )
  const table = await ask(server, 'sessions')
  t.match(table.out, line)
  t.match(table.out, /^SESSION .*OWED +PAID +SIGNED$/m)
  t.match(table.out, /^amounts in DNT$/m)

  const moved = (await ask(server, 'ledger', '--json', '--account', account.toLowerCase())).json
  t.match(moved.entries, [{ account, session: id, amount: session?.paid }])
  t.match((await ask(server, 'ledger')).out, new RegExp(`^\\S+T\\S+  +${account}  ${id}  0x`, 'm'))
  t.same((await ask(server, 'ledger', '--json', '--arrears')).json.arrears, [])

  const payer = await ask(server, 'reliability', account)
  t.match(payer.out, `account      ${account}\nreliability  1.000\n`)
  t.match(payer.out, /^intervals {4}[01] paid, 0 missed$/m)
  t.match(payer.out, /^put off {6}0 times\ndisputes {5}0\nkey {10}none$/m)
  const known = await ask(server, 'reliability', account, '--json')
  t.match(known.json, { account, missedIntervals: 0, reliability: 1, meteringKeys: [] })

  // No coa in this client entry: the session is cut, and its NAS can't be told.
  const put = await ask(server, 'disconnect', id)
  t.equal(put.code, UNAVAILABLE)
  t.match(put.out, new RegExp(`^${id}: no-coa$`, 'm'))
  const [after] = (await ask(server, 'sessions', '--json')).json.sessions as Listed[]
  t.match(after, { id, state: 'disconnecting', cutReason: 'operator' })

  t.match(await ask(server, 'disconnect', UNKNOWN), { code: USAGE, errors: /no open session/ })
  t.match(await ask(server, 'disconnect', 'x'), { code: USAGE, errors: /32 hex digits/ })
  t.match(await ask(server, 'sessions', '--limit', '0'), { code: USAGE, errors: /1 to 1000/ })
  t.match(await ask(server, 'ledger', '--account', '0x1'), { code: USAGE, errors: /40 hex digits/ })

  const nobody = `0x${'ab'.repeat(20)}`
  t.match(await ask(server, 'reliability', nobody), { code: USAGE, errors: /has no books of 0xab/ })
  t.match(await ask(server, 'reliability', '0x1'), { code: USAGE, errors: /40 hex digits/ })
  const both = await ask(server, 'ledger', '--arrears', '--disputes')
  t.match(both, { code: USAGE, errors: /one of them/ })

  await server.stop()
  t.match(await ask(server, 'sessions'), { code: UNAVAILABLE, errors: /npm start/ })
  const unread = await ask(server, 'device', 'activity', alice)
  t.match(unread, { code: UNAVAILABLE, errors: /^datanet: operator 1: .*ECONNREFUSED/m })
  t.equal(unread.out, '', 'what nobody could tell is not nothing')
})

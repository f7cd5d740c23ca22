// The device's and the operator's commands as processes against a real server with its embedded
// chain: enrol, look, top up, add an access point, and what each says when the server is gone.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  createDevice,
  onFixedPort,
  type RunningServer,
  run,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

// A dozen processes that each take a second of scrypt and of loading.
t.setTimeout(175_000)

let server: RunningServer
let directory: string
const datanet = (...args: string[]) => runDatanet(args, { cwd: directory })

t.before(async () => {
  directory = temporaryDirectory(t)
  const config = await onFixedPort(testConfig())
  server = await startServer(t, { directory, config })
})

t.test('create with a deposit, status, topup', async (t) => {
  const made = await createDevice(server, 'alice', ['--deposit', '10', '--json'])
  const status = async () => JSON.parse((await datanet('device', 'status', 'alice', '--json')).out)
  t.match(await status(), {
    account: made.account,
    operator: { reachable: true },
    escrow: { deposit: `10${'0'.repeat(18)}` },
    certificate: { problem: null, daysLeft: 29 },
    deviceKey: 'unset',
  })
  const topup = await datanet('device', 'topup', 'alice', '0.5')
  t.match(topup, { code: 0, out: 'escrow    10.5 DNT with operator 1\n' })
  t.match(await status(), { escrow: { deposit: `105${'0'.repeat(17)}` }, tokenBalance: '0' })
})

t.test('.p12 opens with the password and holds the key of cert.pem', async (t) => {
  const pass = 'pass:correct horse battery staple'
  const args = ['pkcs12', '-legacy', '-in', join(directory, 'alice/alice.p12'), '-passin', pass]
  const keys = await run('openssl', [...args, '-nocerts', '-nodes'])
  t.equal(keys.code, 0, keys.errors)
  const pem = keys.out.slice(keys.out.indexOf('-----BEGIN'))
  const [ours, theirs] = await Promise.all([
    run('openssl', ['x509', '-in', join(directory, 'alice/cert.pem'), '-noout', '-pubkey']),
    run('openssl', ['pkey', '-pubout'], { input: pem }),
  ])
  t.equal(theirs.out, ours.out)
})

t.test('the printed test line gets a direct device in, from a folder with a space', async (t) => {
  const place = ['--out', 'my phone', '--operator', server.url]
  const kind = ['--kind', 'direct', '--deposit', '1']
  const made = await datanet('device', 'create', 'd', ...kind, ...place)
  t.equal(made.code, 0, made.errors)
  const line = /^test {6}(.*) -s SECRET$/m.exec(made.out)?.[1] ?? 'false'
  const pasted = `${line} -s ${SECRET} -t 20`
  const { code, out } = await run('sh', ['-c', pasted], { cwd: directory })
  t.equal(code, 0, `${pasted}\n${out.slice(-3000)}`)
  t.match(out, /^SUCCESS$/m)
})

t.test('several devices at once, past the rate limits of faucet and chain', async (t) => {
  const names = ['b1', 'b2', 'b3']
  const made = await Promise.all(
    names.map((name) => createDevice(server, name, ['--deposit', '1'])),
  )
  t.equal(new Set(made.map(({ account }) => account)).size, names.length)
})

t.test('client add reaches the running server; chain status reads it', async (t) => {
  const at = ['--config', server.configPath, '--data', join(directory, 'data')]
  const added = await datanet('client', 'add', 'lobby', '192.0.2.10', ...at)
  t.match(added, { code: 0, errors: /^the running server has read it$/m })
  t.match(await datanet('reload', ...at), {
    code: 0,
    out: 'reloaded\n',
    errors: /^.*:\d+: http\.public_url: is null: devices behind lobby .*\(warning\)\n$/,
  })
  const good = readFileSync(server.configPath, 'utf8')
  writeFileSync(server.configPath, good.replace('192.0.2.10', '192.0.2.300'))
  t.match(await datanet('reload', ...at), {
    code: 78,
    errors: /:\d+: clients\[1\]\.ipaddr: must be/,
  })
  // It is found where it listens, not where its configuration would have it listen.
  const moved = good.replace(/listen: "[^"]*"/, 'listen: "127.0.0.1:1"')
  writeFileSync(server.configPath, moved)
  t.match(await datanet('reload', ...at), { code: 0, errors: /http\.listen: changed: restart/ })
  rmSync(server.configPath)
  t.match(await datanet('reload', '--data', join(directory, 'data')), { code: 78 })
  t.notOk(existsSync(server.configPath), 'a reload makes no new one')
  writeFileSync(server.configPath, good)
  t.match(readFileSync(server.configPath, 'utf8'), 'name: lobby')
  const status = await datanet('chain', 'status', ...at, '--json')
  t.equal(status.code, 0, status.errors)
  t.match(JSON.parse(status.out), { chainId: 31337, operatorId: 1, connected: true, stale: false })
})

t.test('when the server is gone, each command says so and writes nothing', async (t) => {
  await server.stop()
  const at = ['--config', server.configPath, '--data', join(directory, 'data')]
  const create = await datanet('device', 'create', 'late', '--operator', server.url)
  t.equal(create.code, 69)
  t.equal(
    create.errors,
    `datanet: no operator answers at ${server.url}; start one with \`npm start\` or name one with --operator\n`,
  )
  t.match(await datanet('device', 'status', 'late'), { code: 64 })
  t.match(await datanet('device', 'status', 'alice'), { code: 69, out: /escrow {7}unknown/ })
  t.match(await datanet('device', 'topup', 'alice', '1'), { code: 69 })
  t.match(await datanet('chain', 'status', ...at), { code: 69, errors: /no server answers at/ })
  const added = await datanet('client', 'add', 'roof', '192.0.2.11', ...at)
  t.match(added, {
    code: 0,
    errors: /^not reloaded: no server runs; it will be read at the next start$/m,
  })
})

// Admission follows the chain while the server runs: a deposit, an outage, a reorg, and 50 joins at
// once.
// Mostly waits: for the chain, and for it to be away long enough.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { startNode } from './node.ts'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

async function topup(server: RunningServer, directory: string, amount: string): Promise<void> {
  const done = await runDatanet(['device', 'topup', directory, amount], { cwd: server.directory })
  if (done.code !== 0) throw new Error(`topup: exit ${done.code} ${done.errors}`)
}

const rejectedFor = (server: RunningServer, reason: string) =>
  server.logged(
    (line) => line['reason'] === reason && String(line['msg']).startsWith('Login incorrect'),
  )

t.test('a deposit made while the server runs admits the device within 2 s', async (t) => {
  const server = await startServer(t, { directory: temporaryDirectory(t), config: testConfig() })
  const device = await createDevice(server, 'dave', [])
  const before = await eapolTest(server, device.directory)
  t.notOk(before.ok)
  t.match(before.out, /EAP-Failure|EAP: Status notification: completion \(param=failure\)/i)
  t.match(await rejectedFor(server, 'no-escrow'), { account: device.account })

  await topup(server, device.directory, '10')
  const deposited = performance.now()
  t.ok((await eapolTest(server, device.directory)).ok)
  t.ok(performance.now() - deposited < 2_000, `${Math.round(performance.now() - deposited)} ms`)
})

t.test(
  'a chain outage: known accounts until stale_after, then chain-unavailable, then by itself again',
  async (t) => {
    const directory = temporaryDirectory(t)
    const node = await startNode(t, directory)
    const server = await startServer(t, { directory, config: testConfig({ chain: node.config }) })
    const device = await createDevice(server, 'erin', [])
    await node.give(device.account, 10)
    await topup(server, device.directory, '10')
    t.ok((await eapolTest(server, device.directory)).ok)
    const poor = await createDevice(server, 'frank', [])

    process.kill(node.chain.pid(), 'SIGSTOP')
    const stopped = performance.now()
    t.teardown(async () => {
      process.kill(node.chain.pid(), 'SIGCONT')
    })
    t.ok((await eapolTest(server, device.directory)).ok, 'a known account, the node just gone')
    t.ok(performance.now() - stopped < 6_000, 'and that was before stale_after')

    await new Promise((resolve) => setTimeout(resolve, 9_000 - (performance.now() - stopped)))
    t.notOk(
      (await eapolTest(server, device.directory)).ok,
      'after stale_after never a blind accept',
    )
    t.match(await rejectedFor(server, 'chain-unavailable'), { account: device.account })
    t.equal((await fetch(`${server.url}/readyz`)).status, 503)

    process.kill(node.chain.pid(), 'SIGCONT')
    await waitFor(
      async () => (await fetch(`${server.url}/readyz`)).status === 200,
      15_000,
      () => 'the server did not recover',
    )
    t.ok((await eapolTest(server, device.directory)).ok, 'recovered by itself')
    t.notOk((await eapolTest(server, poor.directory)).ok)
    t.match(await rejectedFor(server, 'no-escrow'), { account: poor.account })
  },
)

t.test('a reorg that removes a deposit ends the admission', async (t) => {
  const directory = temporaryDirectory(t)
  const node = await startNode(t, directory)
  const server = await startServer(t, { directory, config: testConfig({ chain: node.config }) })
  const device = await createDevice(server, 'grace', [])
  await node.give(device.account, 10)
  await topup(server, device.directory, '10')
  t.ok((await eapolTest(server, device.directory)).ok)

  await node.rpc('anvil_reorg', 1, [])
  await node.rpc('evm_mine')
  // This NAS takes no Disconnect-Request: the Session-Timeout of its Accept ends what it serves.
  const ended = await server.logged((line) => line['reason'] === 'escrow-removed')
  const putOff = { account: device.account.toLowerCase(), result: 'no-coa' }
  t.match(ended, putOff, 'the open session is to be put off')
  t.notOk((await eapolTest(server, device.directory)).ok, 'and the next join is refused')
  t.match(await rejectedFor(server, 'no-escrow'), { account: device.account })
})

t.test(
  '50 simultaneous joins of one account are admitted as far as its escrow covers them',
  async (t) => {
    const config = testConfig({ more: 'sessions: { per_account: 100 }\n' })
    const server = await startServer(t, { directory: temporaryDirectory(t), config })
    // A session reserves 3 intervals of 0.041: 0.123 tokens, so 1 token covers 8 of them.
    const device = await createDevice(server, 'heidi', ['--deposit', '1'])
    const read = (name: string): string => readFileSync(join(device.directory, name), 'utf8')
    const transport = openTransport({
      ...{ host: '127.0.0.1', port: server.authPort, secret: Buffer.from(SECRET) },
    })
    t.teardown(() => transport.close())
    const supplicant = createSupplicant({
      ...{
        tlsMin: '1.3',
        tlsMax: '1.3',
        certificatePem: read('cert.pem'),
        keyPem: read('key.pem'),
      },
    })
    const joins = Array.from({ length: 50 }, (_, i) =>
      authenticate({
        ...{ transport, supplicant, identity: 'anonymous' },
        callingStationId: `02-00-00-00-01-${i.toString(16).padStart(2, '0')}`,
      }),
    )
    const results = await Promise.all(joins)
    t.equal(results.filter((r) => r.outcome === 'accept' && r.keysMatch).length, 8)
    t.equal(
      results.filter((r) => r.outcome === 'reject' && r.eapCode === 4 && r.alert === 49).length,
      42,
    )
    t.match(await rejectedFor(server, 'insufficient-escrow'), { account: device.account })
  },
)

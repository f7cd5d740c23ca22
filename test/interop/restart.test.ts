// kill -9 takes nothing back: the next `npm start`, with no network at all, has the same
// certificate, contract and deposits, and the same device still gets in.

import { X509Certificate } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { failToStart } from './failing.ts'
import {
  createDevice,
  eapolTest,
  run,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const NAMESPACE = `dnoff${process.pid.toString(36)}`

t.test('kill -9, then npm start without a network', async (t) => {
  const directory = temporaryDirectory(t)
  const config = testConfig()
  // A namespace with nothing but its loopback: no route leads anywhere.
  t.equal((await run('ip', ['netns', 'add', NAMESPACE])).code, 0)
  t.teardown(async () => {
    await run('ip', ['netns', 'del', NAMESPACE])
  })
  t.equal((await run('ip', ['-n', NAMESPACE, 'link', 'set', 'lo', 'up'])).code, 0)

  const first = await startServer(t, { directory, config })
  const device = await createDevice(first, 'ivan')
  t.ok((await eapolTest(first, device.directory)).ok)
  const before = JSON.parse(await (await fetch(`${first.url}/v1/operator`)).text())
  t.equal(await first.stop('SIGKILL'), 'SIGKILL')

  const data = join(directory, 'data')
  mkdirSync(data, { recursive: true })
  writeFileSync(join(data, 'datanet.yaml'), config)
  const prefix = ['ip', 'netns', 'exec', NAMESPACE]
  const second = await startServer(t, { directory, config, prefix, npmStart: true })
  const ask = `fetch('${second.url}/v1/operator').then((a) => a.text()).then((x) => process.stdout.write(x))`
  const after = await run('ip', [...prefix.slice(1), process.execPath, '-e', ask])
  const operator = JSON.parse(after.out)
  t.equal(operator.contract, before.contract)
  t.equal(operator.operatorId, before.operatorId)
  t.equal(operator.serverSpkiSha256, before.serverSpkiSha256)
  t.equal(
    new X509Certificate(operator.certificates[0]).fingerprint256,
    new X509Certificate(before.certificates[0]).fingerprint256,
  )
  const tested = await eapolTest(second, device.directory, { prefix })
  t.ok(tested.ok, 'the same device still gets in')
  t.match(readFileSync(join(data, 'chain', 'deployment.json'), 'utf8'), /contract/)
  await second.stop()
  await second.logged((line) => line['msg'] === 'stopped')
})

t.test('what devices rely on is never replaced in silence', async (t) => {
  const directory = temporaryDirectory(t)
  const config = testConfig()
  const first = await startServer(t, { directory, config })
  const device = await createDevice(first, 'judy')
  t.equal(await first.stop(), 0)
  const data = join(directory, 'data')
  const kept = join(directory, 'kept')
  mkdirSync(kept)
  const snapshots = readdirSync(join(data, 'chain')).filter((name) => name.startsWith('state.'))
  t.ok(snapshots.length > 0)
  const cases: [string[], RegExp][] = [
    [['server.crt'], /server\.crt is gone: put it back/],
    [snapshots.map((name) => join('chain', name)), /no snapshot of its chain: put state\.\* back/],
    [[join('chain', 'deployment.json')], /deployment\.json/],
  ]
  for (const [names, said] of cases) {
    for (const name of names) renameSync(join(data, name), join(kept, basename(name)))
    const failed = await failToStart({ directory, config })
    t.equal(failed.code, 78, `${names}`)
    t.match(failed.said.at(-1), said)
    t.equal(failed.out, '')
    for (const name of names) renameSync(join(kept, basename(name)), join(data, name))
  }
  const again = await startServer(t, { directory, config })
  t.ok((await eapolTest(again, device.directory)).ok, 'put back, all is as it was')
})

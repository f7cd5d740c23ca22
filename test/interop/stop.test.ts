// How the server ends: a signal closes everything and leaves no process behind, whatever it was
// doing; a second signal, or a part that hangs, is not waited for.

import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makePki } from '../peer/certificates.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { chainIn, noneLeft, place } from './failing.ts'
import { datanet, SECRET, startServer, temporaryDirectory, testConfig, waitFor } from './server.ts'

const CLOSED_WITHIN_MS = 3_000
const base = temporaryDirectory(t)

/** A server that is not waited for. */
function spawnServer(t: Test, directory: string, config: string) {
  const path = join(directory, 'datanet.yaml')
  writeFileSync(path, config)
  const data = join(directory, 'data')
  const child = spawn(process.execPath, [datanet, 'serve', '--config', path, '--data', data])
  let out = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
  t.teardown(() => child.kill('SIGKILL'))
  return { child, data, ended, out: () => out }
}

/** How long something took, ms. */
async function timed<T>(work: Promise<T>): Promise<{ value: T; tookMs: number }> {
  const began = performance.now()
  return { value: await work, tookMs: performance.now() - began }
}

t.test('SIGTERM in the middle of a conversation', async (t) => {
  const directory = place(base, 'middle')
  const server = await startServer(t, { directory, config: testConfig() })
  const [credential] = makePki(directory, 1).clients
  if (credential === undefined) throw new Error('no certificate')
  const transport = openTransport({
    ...{ host: '127.0.0.1', port: server.authPort, secret: Buffer.from(SECRET) },
  })
  t.teardown(() => transport.close())
  const supplicant = createSupplicant({ tlsMin: '1.2', tlsMax: '1.3', ...credential })
  const half = await authenticate({
    ...{ transport, supplicant, identity: 'anonymous', abandonAfterRounds: 2 },
  })
  t.equal(half.outcome, 'abandoned')
  const { value, tookMs } = await timed(server.stop())
  t.equal(value, 0)
  t.ok(tookMs < CLOSED_WITHIN_MS, `${Math.round(tookMs)} ms`)
  t.match(server.log().at(-1), { msg: 'stopped' })
  await t.rejects(fetch(server.url), 'the HTTP side is closed')
  await noneLeft(join(directory, 'data'))
})

for (const [first, second] of [
  ['SIGTERM', 'SIGINT'],
  ['SIGINT', 'SIGINT'],
] as const) {
  t.test(`${first}, then ${second} while it closes, ends it at once`, async (t) => {
    const directory = place(base, `${first}-${second}`)
    const server = await startServer(t, { directory, config: testConfig() })
    const chain = chainIn(join(directory, 'data'))
    // With its chain hung, closing waits for a last snapshot.
    process.kill(chain, 'SIGSTOP')
    const ended = server.stop(first)
    await server.logged((line) => line['msg'] === `stopping: ${first}`)
    // Within half a second it would count as the same wish, sent twice.
    await new Promise((resolve) => setTimeout(resolve, 600))
    server.process.kill(second)
    const { value, tookMs } = await timed(ended)
    t.equal(value, second)
    t.ok(tookMs < 1_000, `${Math.round(tookMs)} ms`)
    await noneLeft(join(directory, 'data'))
  })
}

t.test('a chain that hangs is not waited for', async (t) => {
  const directory = place(base, 'hangs')
  const server = await startServer(t, { directory, config: testConfig() })
  process.kill(chainIn(join(directory, 'data')), 'SIGSTOP')
  const { value, tookMs } = await timed(server.stop())
  t.equal(value, 0)
  t.ok(tookMs < CLOSED_WITHIN_MS + 1_000, `${Math.round(tookMs)} ms`)
  await noneLeft(join(directory, 'data'))
})

t.test('a signal 100 ms after the start', async (t) => {
  const { child, data, ended, out } = spawnServer(t, place(base, 'early'), testConfig())
  await new Promise((resolve) => setTimeout(resolve, 100))
  child.kill('SIGTERM')
  const how = await ended
  // Before our first line has run, it is Node that ends by the signal.
  t.ok(how === 0 || how === 'SIGTERM', `${how}`)
  t.equal(out(), '')
  await noneLeft(data)
})

t.test('a signal while the chain starts; SIGHUP then is no reason to end', async (t) => {
  const { child, data, ended, out } = spawnServer(t, place(base, 'starting'), testConfig())
  const started = (): boolean => existsSync(join(data, 'server.crt'))
  await waitFor(started, 30_000, () => 'the certificate was not made')
  child.kill('SIGHUP')
  await new Promise((resolve) => setTimeout(resolve, 50))
  child.kill('SIGTERM')
  const { value, tookMs } = await timed(ended)
  t.equal(value, 0)
  t.ok(tookMs < CLOSED_WITHIN_MS + 1_000, `${Math.round(tookMs)} ms`)
  t.equal(out(), '', 'it never said that it was ready')
  await noneLeft(data)
})

t.test('a signal while a node of others does not answer', async (t) => {
  const silent = createServer(() => undefined)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const asked = new Promise((resolve) => silent.once('connection', resolve))
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : 0
  const chain = `rpc: "http://127.0.0.1:${port}", contract: "0x${'5'.repeat(40)}"`
  const { child, ended } = spawnServer(t, place(base, 'silent'), testConfig({ chain }))
  await asked
  child.kill('SIGINT')
  const { value, tookMs } = await timed(ended)
  t.equal(value, 0)
  t.ok(tookMs < CLOSED_WITHIN_MS + 1_000, `${Math.round(tookMs)} ms`)
})

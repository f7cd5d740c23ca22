// A full disk: a file system of a few megabytes that the test fills. The server neither dies nor
// shows anybody what it could not save, says so once, goes on by itself when there is space, and
// has everything it ever showed after a restart.

import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type FailedStart, failToStart, noneLeft } from './failing.ts'
import {
  createDevice,
  eapolTest,
  run,
  runDatanet,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const UNAVAILABLE = 69
const TOKEN = 10n ** 18n
const BLOCK = Buffer.alloc(4_096)

/** A small file system at `directory`/data, gone with the test. Mounting needs root, as CI is. */
async function smallDisk(t: Test, directory: string): Promise<string> {
  const data = join(directory, 'data')
  mkdirSync(data, { mode: 0o700 })
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=700', 'tmpfs', data])
  if (mounted.code !== 0) throw new Error(`mount: ${mounted.errors}`)
  t.teardown(async () => {
    await run('umount', [data])
  })
  return data
}

/** Writes until nothing fits any more; the result frees it again. */
function fill(data: string): () => void {
  const ballast = join(data, 'ballast')
  const file = openSync(ballast, 'w')
  try {
    for (;;) writeSync(file, BLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
  return () => rmSync(ballast)
}

async function refusedForSpace(t: Test, start: FailedStart, data: string): Promise<void> {
  t.equal(start.code, UNAVAILABLE)
  t.equal(start.said.length, 1, JSON.stringify(start.said))
  t.match(start.said[0], /^datanet: the disk is full, nothing was lost: free some space/)
  t.equal(start.out, '')
  await noneLeft(data)
}

t.test('a first start on a full disk, then on one with space', async (t) => {
  const directory = temporaryDirectory(t)
  const data = await smallDisk(t, directory)
  const free = fill(data)
  await refusedForSpace(t, await failToStart({ directory, config: testConfig() }), data)
  free()
  const server = await startServer(t, { directory, config: testConfig() })
  t.equal(await server.stop(), 0)
})

t.test('a disk that fills up under a running server', async (t) => {
  const directory = temporaryDirectory(t)
  const data = await smallDisk(t, directory)
  const config = testConfig()
  const server = await startServer(t, { directory, config })
  const early = await createDevice(server, 'early')
  const late = await createDevice(server, 'late', [])
  const tokens = await fetch(`${server.url}/v1/faucet`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account: late.account, amount: `${10n * TOKEN}` }),
  })
  t.equal(tokens.status, 200)

  const free = fill(data)
  const topup = runDatanet(['device', 'topup', late.directory, '10'], { cwd: directory })
  const unsaved = (line: Record<string, unknown>): boolean =>
    line['event'] === 'chain-snapshot-failed'
  t.match(await server.logged(unsaved, 15_000), { level: 'error', msg: /free space on this disk/ })
  t.notOk((await eapolTest(server, late.directory)).ok, 'an unsaved deposit admits nobody')
  t.notOk((await eapolTest(server, early.directory)).ok, 'nor a session that cannot be saved')
  const refused = (line: Record<string, unknown>): boolean =>
    line['reason'] === 'storage-unavailable'
  t.match(await server.logged(refused), { msg: /Login incorrect/, detail: /the disk is full/ })
  t.equal(server.log().filter(unsaved).length, 1, 'said once')

  free()
  t.match(await topup, { code: 0 }, 'the same deposit goes through when there is space')
  t.match(await server.logged((line) => line['event'] === 'chain-snapshot-recovered'), {})
  t.match(await server.logged((line) => line['msg'] === 'the store can be written again'), {})
  t.ok((await eapolTest(server, late.directory)).ok, 'and admits its device')
  t.ok((await eapolTest(server, early.directory)).ok)

  const freeAgain = fill(data)
  await server.stop('SIGKILL')
  await noneLeft(data)
  await refusedForSpace(t, await failToStart({ directory, config }), data)
  freeAgain()
  const next = await startServer(t, { directory, config })
  const again = (device: { directory: string }) =>
    eapolTest({ ...server, authPort: next.authPort }, device.directory)
  t.ok((await again(early)).ok, 'nothing is lost: the first deposit')
  t.ok((await again(late)).ok, 'and the second')
  t.equal(await next.stop(), 0)
})

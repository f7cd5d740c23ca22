// The store in SQLite on disks that fail: without power, full, read-only, and held by another
// program. What was told is there afterwards, each once; and where the fsync is taken out of the
// server, the test of the power says so.

import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { createCommitter } from '../../accounting/committer.ts'
import type { Changes } from '../../accounting/session.ts'
import { StorageError } from '../../accounting/storage.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import * as f from '../accounting/store-fixtures.ts'
import { seeded } from '../sim/random.ts'
import { integrity, lost, startDoomed } from './doomed.ts'
import { createLoad, payersOf, SECRET } from './paying-load.ts'
import { run, temporaryDirectory, waitFor } from './server.ts'

const SEED = 20_261_123
const POWER_CUTS = 5
const PAYERS = 24
const TIMEOUT_MS = 20_000

t.setTimeout(175_000)

async function must(program: string, args: readonly string[]): Promise<void> {
  const { code, errors, out } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${out}${errors}`)
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

/** A file system of its own on a file, which can lose its power. */
interface Disk {
  readonly path: string
  /** From here on nothing reaches the disk, not even what the kernel holds (linux/ext4 ioctl). */
  cutPower(): Promise<void>
  /** What is there after the power came back. */
  restart(): Promise<void>
}

async function smallDisk(t: Test): Promise<Disk> {
  const directory = temporaryDirectory(t)
  const image = join(directory, 'image')
  const disk = join(directory, 'disk')
  mkdirSync(disk)
  writeFileSync(image, '')
  await must('truncate', ['-s', '64M', image])
  await must('mkfs.ext4', ['-q', '-F', image])
  // Another program's new mount namespace has a copy of every mount, which would keep the disk's
  // device: below a shared one the copy goes with the original.
  await must('mount', ['--bind', directory, directory])
  await must('mount', ['--make-shared', directory])
  const mount = () => must('mount', ['-o', 'loop', image, disk])
  t.teardown(async () => {
    await run('umount', ['--recursive', directory])
  })
  await mount()
  // What mkfs and mount wrote is on the disk before anything is tried.
  await must('sync', ['-f', disk])
  return {
    path: disk,
    async cutPower() {
      const [shutdown, noLogFlush] = ['0x8004587d', '2']
      const program = `my $f = pack("L", ${noLogFlush}); open(my $d, "<", $ARGV[0]) or die $!;
        ioctl($d, ${shutdown}, $f) or die $!`
      await must('perl', ['-e', program, disk])
    },
    async restart() {
      await must('umount', [disk])
      // Its loop device goes after it: a second one beside it would not see the same blocks.
      const isDetached = async () => (await run('losetup', ['-j', image])).out === ''
      await waitFor(isDetached, TIMEOUT_MS, () => 'the loop device stays')
      await mount()
    },
  }
}

type Load = ReturnType<typeof createLoad>

/** Serves on that disk until the power fails; what was told and is lost. */
async function powerCut(t: Test, disk: Disk, load: Load, o: { forMs: number; sabotage?: string }) {
  const path = join(disk.path, 'books.sqlite')
  const server = startDoomed(path, PAYERS, o.sabotage)
  const ports = await server.ready
  if (ports === undefined) throw new Error(`it ended by itself: ${server.errors()}`)
  const before = load.told.receipts.length
  const life = await load.begin(ports)
  await waitFor(
    () => load.told.receipts.length > before,
    TIMEOUT_MS,
    () => `no receipt: ${server.errors()}`,
  )
  await pause(o.forMs)
  // ext4's shutdown lets an fsync that is on its way return as if it were done: none may be.
  await server.freeze()
  await disk.cutPower()
  await server.kill()
  await life.end()
  await disk.restart()
  const found = lost(path, load.told)
  if (o.sabotage === undefined) t.equal(integrity(path), 'ok')
  return found
}

t.test('the power fails: what was told is on the disk', async (t) => {
  const { below } = seeded(`${SEED}`)
  const disk = await smallDisk(t)
  const load = createLoad(payersOf(PAYERS), SECRET, 1_000n)
  for (let cut = 1; cut <= POWER_CUTS; cut++) {
    const found = await powerCut(t, disk, load, { forMs: below(400) })
    t.same(found, [], `seed ${SEED}, cut ${cut}: ${load.count()} were told`)
  }
  t.same(load.unexpected, [])
})

t.test('the control: without the fsync the test above fails', async (t) => {
  const disk = await smallDisk(t)
  const load = createLoad(payersOf(PAYERS), SECRET, 1_000n)
  t.same(await powerCut(t, disk, load, { forMs: 100 }), [], 'with it nothing is lost')
  const found = await powerCut(t, disk, load, { forMs: 100, sabotage: 'no fsync' })
  t.match(found[0], /not stored|is empty|no store/, `without it ${found.length} were`)
})

/** A tmpfs of a few megabytes. */
async function memoryDisk(t: Test): Promise<string> {
  const disk = join(temporaryDirectory(t), 'disk')
  mkdirSync(disk)
  await must('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
  t.teardown(async () => {
    await run('umount', [disk])
  })
  return disk
}

function fill(disk: string): () => void {
  const ballast = join(disk, 'ballast')
  const file = openSync(ballast, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(4_096))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
  return () => rmSync(ballast)
}

const paid = (n: number): Changes => ({
  ...f.EMPTY,
  sessions: Array.from({ length: 50 }, (_, k) => f.sessionNumber(n * 100 + k)),
  journal: [f.entryNumber(n)],
})

/** Another process that holds the write lock of a store; the result ends it. */
async function hold(t: Test, path: string): Promise<() => Promise<void>> {
  const program = `const { DatabaseSync } = require('node:sqlite')
    const d = new DatabaseSync(process.argv[1], { timeout: 20_000 })
    d.exec('BEGIN IMMEDIATE')
    process.stdout.write('held'); setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['-e', program, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => holder.kill('SIGKILL'))
  const gone = new Promise<void>((resolve) => holder.once('close', () => resolve()))
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  return () => {
    holder.kill('SIGKILL')
    return gone
  }
}

for (const [what, begin] of [
  ['a full disk', async (_: Test, path: string) => fill(dirname(path))],
  ['a locked store', hold],
] as const) {
  t.test(`${what}: nobody is told anything, and then everybody again`, async (t) => {
    const path = join(await memoryDisk(t), 'books.sqlite')
    const load = createLoad(payersOf(PAYERS), SECRET, 1_000n)
    const server = startDoomed(path, PAYERS)
    t.teardown(() => server.kill())
    const ports = await server.ready
    if (ports === undefined) throw new Error(`it ended by itself: ${server.errors()}`)
    const more = async (count: () => number) => {
      const before = count()
      const why = () => `no more of it: ${server.errors()}`
      await waitFor(() => count() > before, TIMEOUT_MS, why)
    }
    const first = await load.begin(ports)
    await more(() => load.told.receipts.length)
    const end = await begin(t, path)
    await more(() => load.refused.length)
    await first.end()
    const second = await load.begin(ports)
    await more(() => load.refused.length)
    const told = load.count()
    await pause(100)
    t.equal(load.count(), told, 'nothing was told while nothing could be stored')
    await second.end()
    await end()
    // It tries once a second.
    const paid = async (): Promise<boolean> => {
      const life = await load.begin(ports)
      await pause(50)
      await life.end()
      return load.count() > told
    }
    await waitFor(paid, TIMEOUT_MS, () => `it did not go on: ${server.errors()}`)
    await server.kill()
    t.same(lost(path, load.told), [], `${load.count()} were told`)
    t.match(load.refused[0], /storage-unavailable/)
    t.same(load.unexpected, [])
    t.equal(server.errors().match(/"not stored"/g)?.length, 1, 'said once in the log')
  })
}

t.test('a full disk: refused, kept, and stored once there is space', async (t) => {
  const disk = await memoryDisk(t)
  const store = await openSqliteStore(join(disk, 'books.sqlite'))
  const queue = [paid(1)]
  const errors: string[] = []
  const recovered = Promise.withResolvers<void>()
  const committer = createCommitter({
    storage: store,
    ledger: { drain: () => queue.shift() ?? f.EMPTY },
    retryMs: 20,
    onError: (error) => errors.push(error.code),
    onRecovered: recovered.resolve,
  })
  await committer.durable()
  const free = fill(disk)
  queue.push(paid(2))
  const error = await errorOf(committer.durable())
  t.match(error, { name: 'StorageError', code: 'disk-full', message: /is full: free some space/ })
  t.equal((await store.load(0)).sessions.length, 50, 'it can still be read, and has no half of it')
  queue.push(paid(3))
  await pause(100)
  t.equal(committer.failed()?.code, 'disk-full')
  t.same(errors, ['disk-full'], 'said once')
  free()
  await recovered.promise
  await committer.durable()
  const entries = await store.journal({ limit: 9 })
  t.same(
    entries.map(({ amount }) => amount),
    [3n, 2n, 1n],
    'in order, each once',
  )
  await committer.close()
  await store.close()
  const freeAgain = fill(disk)
  const noRoom = await errorOf(openSqliteStore(join(disk, 'second.sqlite')))
  t.match(noRoom, { name: 'StorageError', code: 'disk-full' })
  freeAgain()
})

t.test('a disk that can only be read', async (t) => {
  const disk = await memoryDisk(t)
  const path = join(disk, 'books.sqlite')
  await (await openSqliteStore(path)).close()
  await must('mount', ['-o', 'remount,ro', disk])
  const error = await errorOf(openSqliteStore(path))
  t.ok(error instanceof StorageError, `${error}`)
  t.match(error, { code: 'failed', message: /can't be (written|opened).*(mount it|writable)/ })
})

t.test('another process holds the file, and lets it go', async (t) => {
  const path = join(temporaryDirectory(t), 'books.sqlite')
  const store = await openSqliteStore(path)
  const release = await hold(t, path)
  const changes = paid(1)
  t.match(await errorOf(store.commit(changes)), { code: 'locked', message: /another program/ })
  t.equal((await store.load(0)).sessions.length, 0, 'reading goes on')
  await release()
  await store.commit(changes)
  t.equal((await store.load(0)).sessions.length, 50)
  await store.close()
})

// A PostgreSQL of a test's own: a new cluster in a temporary folder, on a socket there and on a
// free port of the loopback, run as a user without rights; gone with the test. Never the system's.

import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { waitFor } from './server.ts'

/** nobody, where we are root: PostgreSQL refuses to run as root. */
const NOBODY = 65_534
const READY_MS = 30_000
export const PASSWORD = 'not-for-any-log'

export interface Postgres {
  readonly directory: string
  /** Of the database `datanet`, as its owner, over TCP. */
  readonly url: string
  readonly port: number
  /** Asks as the superuser; another database's name makes it that one's. */
  sql(text: string, database?: string): Promise<Record<string, unknown>[]>
  /** Ends it at once (SIGQUIT: without a checkpoint, as a crash) and waits. */
  crash(): Promise<void>
  /** Starts it (again) on the same data and port. */
  start(): Promise<void>
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Debian keeps the server's programs out of PATH, a folder a version. */
function command(name: string): string {
  const versions = '/usr/lib/postgresql'
  const debian = existsSync(versions) ? readdirSync(versions).sort().toReversed() : []
  const folders = [
    ...debian.map((version) => join(versions, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(':'),
  ]
  const folder = folders.find((each) => existsSync(join(each, name)))
  if (folder === undefined) throw new Error(`${name} is not installed: see setup/peers.mjs`)
  return join(folder, name)
}

/** Runs a program as the user that owns the cluster; `done` resolves with its exit code. */
function asOwner(program: string, args: readonly string[]) {
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const child = spawn(program, args, { ...user, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString()
    })
  }
  const done = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
  return { child, done, said: () => said }
}

/** Makes a cluster and starts it; the test's teardown removes both. */
export async function startPostgres(t: {
  teardown(f: () => Promise<void>): void
}): Promise<Postgres> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-postgres-'))
  if (process.getuid?.() === 0) chownSync(directory, NOBODY, NOBODY)
  chmodSync(directory, 0o700)
  const data = join(directory, 'data')
  const make = ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--no-locale']
  // The superuser by the socket, everybody else by password over TCP.
  const trust = ['--auth-local=trust', '--auth-host=scram-sha-256']
  const made = asOwner(command('initdb'), [...make, ...trust, '--no-sync'])
  if ((await made.done) !== 0) throw new Error(`initdb: ${made.said()}`)
  const port = await freePort()
  let server: ChildProcess | undefined
  let ended: Promise<number | null> = Promise.resolve(0)

  async function sql(text: string, database = 'datanet'): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ host: directory, port, user: 'postgres', database })
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query(text)).rows
    } finally {
      await client.end()
    }
  }

  async function start(): Promise<void> {
    const words = ['-D', data, '-p', `${port}`, '-h', '127.0.0.1', '-k', directory]
    const run = asOwner(command('postgres'), words)
    server = run.child
    ended = run.done
    const isReady = () =>
      sql('SELECT 1', 'postgres').then(
        () => true,
        () => run.child.exitCode !== null,
      )
    await waitFor(isReady, READY_MS, () => `postgres did not start: ${run.said()}`)
    if (run.child.exitCode !== null) throw new Error(`postgres: ${run.said()}`)
  }

  async function crash(): Promise<void> {
    server?.kill('SIGQUIT')
    await ended
  }

  t.teardown(async () => {
    await crash()
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  })
  await start()
  await sql(`CREATE ROLE books LOGIN PASSWORD '${PASSWORD}'`, 'postgres')
  await sql('CREATE DATABASE datanet OWNER books', 'postgres')
  const url = `postgres://books:${PASSWORD}@127.0.0.1:${port}/datanet`
  return { directory, url, port, sql, crash, start }
}

export type Direction = 'to server' | 'from server'

/** A way to the server that breaks when told: what carries the word is lost, and the connection. */
export async function proxyTo(t: { teardown(f: () => void): void }, port: number) {
  let cut: { word: string; direction: Direction } | undefined
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    const pass = (from: Socket, to: Socket, direction: Direction) => {
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
      from.on('data', (bytes) => {
        if (cut?.direction === direction && bytes.includes(cut.word)) {
          cut = undefined
          client.destroy()
          upstream.destroy()
        } else {
          to.write(bytes)
        }
      })
    }
    pass(client, upstream, 'to server')
    pass(upstream, client, 'from server')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    cutAt(word: string, direction: Direction): void {
      cut = { word, direction }
    },
  }
}

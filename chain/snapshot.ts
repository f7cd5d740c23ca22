// Generations of the embedded chain's state on disk: `state.<generation>.json.gz`, two of them
// kept, each written beside the others and renamed when durable; a damaged one is set aside as
// `damaged.<generation>.json.gz`. Never reads what is inside: gzip's own checksum is the check.

import { constants, createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { ChainError, reasonOf } from './error.ts'

/** A line for the server's log: machine-readable fields and a sentence. */
/** Written beside the snapshots by deploy.ts: which contract is on this chain. */
export const DEPLOYMENT_RECORD = 'deployment.json'

export type ChainLog = (event: object, text: string) => void

/** The generation that was read and the file anvil loads it from. */
export interface LoadedSnapshot {
  readonly generation: number
  /** Newest generation ever seen here, damaged ones too: the next one is named above it. */
  readonly newest: number
  readonly file: string
  /** Size of the snapshot as it was dumped. */
  readonly gzipBytes: number
}

/** Opens a file for writing; a parameter so that a test can fill the disk. */
export type OpenForWriting = (path: string) => Promise<Pick<FileHandle, 'write' | 'sync' | 'close'>>

const GENERATIONS_KEPT = 2
/** Altered, and torn: what zlib says of the bytes. Every other error is of this machine. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set(['Z_DATA_ERROR', 'Z_BUF_ERROR'])
const fileOf = (generation: number): string => `state.${generation}.json.gz`
const openNew: OpenForWriting = (path) => open(path, 'w', 0o600)

/** The generations present, newest first. */
async function generationsIn(directory: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir(directory)) {
    const match = /^state\.(\d{1,15})\.json\.gz$/.exec(name)
    if (match !== null) found.push(Number(match[1]))
  }
  return found.sort((a, b) => b - a)
}

/**
 * Makes a snapshot durable: when this resolves, it survives kill -9 and a power cut. Rejects with
 * the system's error (ENOSPC and the like); the generations before it are then untouched.
 */
export async function writeGeneration(
  directory: string,
  generation: number,
  gzipJson: Uint8Array,
  openFile: OpenForWriting = openNew,
): Promise<void> {
  const temporary = join(directory, 'state.writing')
  const handle = await openFile(temporary)
  try {
    // write() may write less than all of it, notably when the disk fills up.
    let done = 0
    while (done < gzipJson.length) {
      const { bytesWritten } = await handle.write(gzipJson, done, gzipJson.length - done)
      done += bytesWritten
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, join(directory, fileOf(generation)))
  await syncDirectory(directory)
  for (const old of (await generationsIn(directory)).slice(GENERATIONS_KEPT)) {
    await rm(join(directory, fileOf(old)), { force: true })
  }
}

/**
 * The rename itself is durable only when the directory is (Windows can't open one and needs it
 * not).
 */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(directory, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * The newest readable generation, unpacked for anvil; undefined in a directory without any. A
 * damaged one is set aside with one log line. Throws 'snapshot-unreadable' where all are damaged,
 * now or at an earlier start: an empty chain in their place would silently forget every deposit.
 */
export async function readNewest(
  directory: string,
  log: ChainLog,
): Promise<LoadedSnapshot | undefined> {
  const generations = await generationsIn(directory)
  const damaged = await damagedIn(directory)
  const newest = Math.max(0, ...generations, ...damaged.map((name) => generationOf(name)))
  for (const generation of generations) {
    const path = join(directory, fileOf(generation))
    try {
      const file = join(directory, 'state.loading.json')
      await unpack(path, file)
      return { generation, newest, file, gzipBytes: (await stat(path)).size }
    } catch (error) {
      // A full disk or a missing permission is not damage: nothing may be set aside for it.
      if (!DAMAGE_CODES.has((error as NodeJS.ErrnoException).code)) {
        throw unreadable(directory, error)
      }
      await setAside(directory, generation, damaged)
      const event = { level: 'error', event: 'chain-snapshot-damaged', generation }
      log(event, `snapshot ${path} is damaged (${reasonOf(error)}); trying the one before it`)
    }
  }
  if (newest > 0 || damaged.length > 0) throw unreadable(directory, 'every one is damaged')
  return undefined
}

/** Streams, since the JSON of a long-lived chain is larger than any string V8 can hold. */
async function unpack(from: string, to: string): Promise<void> {
  // gzip ends with a CRC-32 and the length: a torn or altered file does not pass.
  const target = createWriteStream(to, { mode: 0o600 })
  try {
    await pipeline(createReadStream(from), createGunzip(), target)
  } catch (error) {
    // Half a state is of no use, and may be what has filled the disk.
    await rm(to, { force: true }).catch(() => undefined)
    throw error
  }
}

async function setAside(
  directory: string,
  generation: number,
  damaged: readonly string[],
): Promise<void> {
  const name = `damaged.${generation}.json.gz`
  if (damaged.includes(name)) throw unreadable(directory, `${name} is already there`)
  await rename(join(directory, fileOf(generation)), join(directory, name))
}

async function damagedIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.startsWith('damaged.'))
}

function generationOf(damagedName: string): number {
  return Number(/^damaged\.(\d{1,15})\.json\.gz$/.exec(damagedName)?.[1] ?? 0)
}

function unreadable(directory: string, cause: unknown): ChainError {
  const text = `no snapshot of the embedded chain in ${directory} can be read \
(${reasonOf(cause)}); put a readable state.<number>.json.gz there, or move the directory away to \
begin an empty chain without the deposits of this one`
  return new ChainError('snapshot-unreadable', text, { cause })
}

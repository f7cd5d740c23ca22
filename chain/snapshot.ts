// Generations of the embedded chain's state on disk: `state.<generation>.json.gz`, two of them
// kept, each written beside the others and renamed when durable. Knows nothing of anvil but that
// its state is JSON.

import { constants } from 'node:fs'
import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { ChainError, reasonOf } from './error.ts'

/** A line for the server's log: machine-readable fields and a sentence. */
export type ChainLog = (event: object, text: string) => void

/** The generation that was read and the file anvil loads it from. */
export interface LoadedSnapshot {
  readonly generation: number
  readonly file: string
}

/** Opens a file for writing; a parameter so that a test can fill the disk. */
export type OpenForWriting = (path: string) => Promise<Pick<FileHandle, 'write' | 'sync' | 'close'>>

const GENERATIONS_KEPT = 2
/** A state of 50,000 blocks is 270 MB of JSON; a larger file is no state of ours. */
const STATE_BYTES_MAX = 1024 * 1024 * 1024
const gunzipAsync = promisify(gunzip)
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
async function syncDirectory(directory: string): Promise<void> {
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
 * damaged one is set aside with one log line. Throws 'snapshot-unreadable' where all are damaged:
 * an empty chain in their place would silently forget every deposit.
 */
export async function readNewest(
  directory: string,
  log: ChainLog,
): Promise<LoadedSnapshot | undefined> {
  const generations = await generationsIn(directory)
  for (const generation of generations) {
    const path = join(directory, fileOf(generation))
    try {
      // gzip ends with a CRC-32 and the length: a torn or altered file does not pass.
      const json = await gunzipAsync(await readFile(path), { maxOutputLength: STATE_BYTES_MAX })
      JSON.parse(json.toString('utf8'))
      const file = join(directory, 'state.loading.json')
      await writeFile(file, json, { mode: 0o600 })
      return { generation, file }
    } catch (error) {
      // A full disk or a missing permission is not damage: nothing may be set aside for it.
      if ((error as NodeJS.ErrnoException).syscall !== undefined) throw unreadable(directory, error)
      await rename(path, join(directory, 'damaged.json.gz'))
      const event = { level: 'error', event: 'chain-snapshot-damaged', generation }
      log(event, `snapshot ${path} is damaged (${reasonOf(error)}); trying the one before it`)
    }
  }
  if (generations.length > 0) throw unreadable(directory, 'every generation is damaged')
  return undefined
}

function unreadable(directory: string, cause: unknown): ChainError {
  const text = `no snapshot of the embedded chain in ${directory} can be read \
(${reasonOf(cause)}); repair it, or move the directory away to begin an empty chain`
  return new ChainError('snapshot-unreadable', text, { cause })
}

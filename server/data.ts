// The data directory: keys, tokens and certificates the operator owns. Owns their file names, modes
// and making them at the first start. Every write is a temporary file, fsync, rename, so a crash
// leaves the old file or the new one. Called by main.ts at start and at reload.

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { accountOf } from '../ethereum/signature.ts'
import { EXIT_CONFIGURATION, StartError } from './explain.ts'

/** The files of data/, as absolute paths. */
export function dataPaths(directory: string) {
  const at = (name: string): string => join(directory, name)
  return {
    directory,
    config: at('datanet.yaml'),
    operatorKey: at('operator-key'),
    adminToken: at('admin-token'),
    httpUrl: at('http-url'),
    serverCertificate: at('server.crt'),
    serverKey: at('server.key'),
    caCertificate: at('ca.crt'),
    caKey: at('ca.key'),
    database: at('datanet.sqlite'),
    chain: at('chain'),
    blocks: at('blocks'),
    ticketKeys: at('ticket-keys.json'),
  }
}
export type DataPaths = ReturnType<typeof dataPaths>

/**
 * Writes a whole file durably: the name holds either the old bytes or the new ones, never a part.
 * `temporary` is for files that several processes write: a name of its own for each.
 */
export function writeDurably(
  path: string,
  text: string,
  mode: number,
  temporary = `${path}.new`,
): void {
  rmSync(temporary, { force: true })
  const file = openSync(temporary, 'wx', mode)
  try {
    // Not writeSync: on a disk that fills up it writes a part and calls that a success.
    writeFileSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/** The text of a file, made by `make` and written with the mode where it does not exist yet. */
export function readOrCreate(path: string, mode: number, make: () => string): string {
  if (!existsSync(path)) writeDurably(path, make(), mode)
  return readFileSync(path, 'utf8')
}

/**
 * Says where the server listens, for the commands on this machine: its configuration may be changed
 * while it runs. Gives how to take that back.
 */
export function writeHttpUrl(paths: DataPaths, url: string): () => void {
  writeDurably(paths.httpUrl, `${url}\n`, 0o600)
  return () => rmSync(paths.httpUrl, { force: true })
}

/** Makes data/ where it is absent; only its owner may look in, since keys lie there. */
export function openDataDirectory(directory: string): DataPaths {
  const paths = dataPaths(directory)
  mkdirSync(paths.chain, { recursive: true, mode: 0o700 })
  return paths
}

/**
 * The operator's account key, 32 bytes, made at the first start; throws where the file holds
 * anything else.
 */
export function readOperatorKey(paths: DataPaths, random: (length: number) => Buffer): Buffer {
  const make = (): string => {
    for (;;) {
      const candidate = random(32)
      try {
        accountOf(candidate)
        return `0x${candidate.toString('hex')}\n`
      } catch {
        // Outside 1..n-1, which happens once in 2^128: draw again.
      }
    }
  }
  const text = readOrCreate(paths.operatorKey, 0o600, make).trim()
  const hex = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text)?.[1]
  const key = Buffer.from(hex ?? '', 'hex')
  try {
    accountOf(key)
  } catch (cause) {
    const way = 'put the right file back, or move this one away to begin with a new account'
    const reason = `${paths.operatorKey} holds no private key (64 hex digits): ${way}`
    throw new StartError(EXIT_CONFIGURATION, reason, { cause })
  }
  return key
}

/** The bearer token of the operator's HTTP calls, made at the first start. */
export function readAdminToken(paths: DataPaths, random: (length: number) => Buffer): string {
  const make = (): string => `${random(32).toString('base64url')}\n`
  return readOrCreate(paths.adminToken, 0o600, make).trim()
}

// A failure to start, as one line that says what to do, and an exit code (sysexits). Called by
// main.ts.

import { StorageError } from '../accounting/storage.ts'
import { ChainError } from '../chain/error.ts'
import type { Endpoint } from '../config/config.ts'

/** Why the server can't start, in words for the person at the terminal. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly exitCode: number

  constructor(exitCode: number, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.exitCode = exitCode
  }
}

export const EXIT_UNAVAILABLE = 69
export const EXIT_PERMISSION = 77
export const EXIT_CONFIGURATION = 78

/** Failures of the chain that only another configuration can mend. */
const CONFIGURATION_CODES = new Set([
  'wrong-chain-id',
  'contract-missing',
  'contract-mismatch',
  'contract-not-set',
  'dev-key-on-public-chain',
  'operator-mismatch',
  'deployment-unreadable',
  'snapshot-unreadable',
])

const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, ' ')

const systemCode = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''

/** The port could not be had: names it, its configuration key, and what to do. */
export function portError(error: unknown, endpoint: Endpoint, key: string): StartError {
  const at = `${endpoint.host}:${endpoint.port}`
  switch (systemCode(error)) {
    case 'EADDRINUSE':
      return new StartError(
        EXIT_UNAVAILABLE,
        `${at} is in use: stop the program that listens there, or set ${key} to another port`,
        { cause: error },
      )
    case 'EACCES':
      return new StartError(
        EXIT_PERMISSION,
        `listening on ${at} is not permitted: set ${key} to a port above 1023, or give the right to bind it`,
        { cause: error },
      )
    case 'EADDRNOTAVAIL':
      return new StartError(
        EXIT_CONFIGURATION,
        `${endpoint.host} is no address of this machine: correct ${key}`,
        { cause: error },
      )
    default:
      return new StartError(EXIT_UNAVAILABLE, `${key} ${at}: ${String(error)}`, { cause: error })
  }
}

/** SQLITE_FULL: SQLite has its own word for a full disk. */
const SQLITE_FULL = 13

/** The full disk behind an error, however deep: what wraps it may advise something else. */
function diskFull(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined
  if (['ENOSPC', 'EDQUOT'].includes(systemCode(error))) return error
  if ('errcode' in error && error.errcode === SQLITE_FULL) return error
  return diskFull(error.cause)
}

/** A failure in words; `isOurs`: nobody foresaw it, so its stack belongs in the log. */
export interface Explained {
  readonly reason: string
  readonly exitCode: number
  readonly isOurs: boolean
}

/** Any failure that ends the server, as a line and an exit code. */
export function explain(error: unknown): Explained {
  const full = diskFull(error)
  if (full !== undefined) {
    const detail = oneLine(full.message)
    const reason = `the disk is full, nothing was lost: free some space and start again (${detail})`
    return { reason, exitCode: EXIT_UNAVAILABLE, isOurs: false }
  }
  const text = oneLine(error instanceof Error ? error.message : String(error))
  if (error instanceof StartError) {
    return { reason: text, exitCode: error.exitCode, isOurs: false }
  }
  if (error instanceof ChainError) {
    const exitCode = CONFIGURATION_CODES.has(error.code) ? EXIT_CONFIGURATION : EXIT_UNAVAILABLE
    const hint = error.code === 'chain-unreachable' ? '; start that node, or correct chain.rpc' : ''
    return { reason: `${text}${hint}`, exitCode, isOurs: false }
  }
  // The store's own words say what to do.
  if (error instanceof StorageError) {
    return { reason: text, exitCode: EXIT_UNAVAILABLE, isOurs: false }
  }
  switch (systemCode(error)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return {
        reason: `a file or folder may not be written: ${text}`,
        exitCode: EXIT_PERMISSION,
        isOurs: false,
      }
    default:
      return { reason: text, exitCode: EXIT_UNAVAILABLE, isOurs: true }
  }
}

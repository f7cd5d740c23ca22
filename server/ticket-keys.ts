// The file that session ticket keys come from, and moving it on. Owns its format and how processes
// share it without a word: each derives the same (eap/ticket-keys.ts), whoever writes. What is in
// the file opens no ticket older than the epoch before the present one. Called by main.ts.

import { linkSync, readFileSync, rmSync } from 'node:fs'
import { advance, epochAt, firstSecret, type TicketSecret, ticketKeys } from '../eap/ticket-keys.ts'
import { writeDurably } from './data.ts'
import { EXIT_CONFIGURATION, StartError } from './explain.ts'
import type { Log } from './log.ts'
import type { Runtime } from './runtime.ts'

/** How late an engine may be with a new key; until then a ticket of a faster server is not read. */
const LOOK_MS = 60_000
const FILE_MODE = 0o600

export interface TicketKeyFile {
  /**
   * The keys for an engine now, from what `eap.ticket_keys` names; makes the file where there is
   * none. Throws a StartError where it can't be used.
   */
  keys(file: string): readonly Buffer[]
  /**
   * Gives new keys to the engine in use as time goes on; returns how to stop. A file that went bad
   * is only logged, and the engine keeps what it has.
   */
  follow(current: () => Pick<Runtime, 'config' | 'rules'>): () => void
}

export interface TicketKeyDeps {
  /** What `eap.ticket_keys: auto` stands for. */
  readonly autoPath: string
  /** The time of day in milliseconds. */
  readonly now: () => number
  readonly random: (length: number) => Buffer
  readonly log: Log
}

export function createTicketKeyFile(deps: TicketKeyDeps): TicketKeyFile {
  /** The last warning and the last error: the same one is not logged every minute. */
  let warning = ''
  let complaint = ''
  const warn = (path: string, text: string, error?: unknown): void => {
    if (text !== warning) deps.log.warn({ path, ...(error !== undefined && { err: error }) }, text)
    warning = text
  }
  const keys = (file: string): readonly Buffer[] => {
    const path = file === 'auto' ? deps.autoPath : file
    const link = readLink(path, deps, warn)
    // One epoch is another server whose clock is a little ahead.
    if (link.epoch > epochAt(deps.now() / 1000)) {
      warn(path, 'session ticket keys are ahead of the clock and wait for it: remove the file?')
    }
    return ticketKeys(link)
  }
  const look = ({ config, rules }: Pick<Runtime, 'config' | 'rules'>): void => {
    const { setTicketKeys } = rules.engine
    if (setTicketKeys === undefined) return
    try {
      setTicketKeys(keys(config.eap.ticketKeys))
      complaint = ''
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== complaint) deps.log.error({ reason }, 'no new session ticket keys')
      complaint = reason
    }
  }
  return {
    keys,
    follow(current) {
      const timer = setInterval(() => look(current()), LOOK_MS)
      timer.unref()
      return () => clearInterval(timer)
    },
  }
}

/** The oldest link whose key is taken now, which is what the file holds when this is over. */
function readLink(
  path: string,
  deps: TicketKeyDeps,
  warn: (path: string, text: string, error: unknown) => void,
): TicketSecret {
  const nowSeconds = Math.floor(deps.now() / 1000)
  const read = parse(path, readText(path) ?? createFile(path, nowSeconds, deps))
  let link: TicketSecret
  try {
    link = advance(read, nowSeconds)
  } catch (cause) {
    throw unusable(path, cause)
  }
  if (link.epoch === read.epoch) return link
  try {
    writeDurably(path, textOf(link), FILE_MODE, `${path}.${deps.random(8).toString('hex')}`)
  } catch (error) {
    // The keys are right all the same; but what was to be forgotten is still there.
    warn(path, 'old session ticket keys could not be removed', error)
  }
  return link
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    const text = `eap.ticket_keys: ${path} can't be read (${codeOf(error)}); let this user read it`
    throw new StartError(EXIT_CONFIGURATION, text, { cause: error })
  }
}

/** The text of the file, made here unless another process was first: it appears whole, and once. */
function createFile(path: string, nowSeconds: number, deps: TicketKeyDeps): string {
  const text = textOf(firstSecret(nowSeconds, deps.random(32)))
  const whole = `${path}.${deps.random(8).toString('hex')}`
  try {
    writeDurably(whole, text, FILE_MODE)
    linkSync(whole, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') {
      const reason = `eap.ticket_keys: ${path} can't be made (${codeOf(error)})`
      throw new StartError(EXIT_CONFIGURATION, reason, { cause: error })
    }
  } finally {
    rmSync(whole, { force: true })
  }
  return readText(path) ?? text
}

const textOf = ({ epoch, secret }: TicketSecret): string =>
  `${JSON.stringify({ epoch, secret: secret.toString('hex') })}\n`

function parse(path: string, text: string): TicketSecret {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Without its cause: the parser's message repeats what it read, which may be a secret.
    throw unusable(path)
  }
  if (typeof value !== 'object' || value === null) throw unusable(path)
  const { epoch, secret } = value as { epoch?: unknown; secret?: unknown }
  const isLink = Number.isSafeInteger(epoch) && /^[0-9a-f]{64}$/.test(String(secret))
  if (!isLink) throw unusable(path)
  return { epoch: Number(epoch), secret: Buffer.from(String(secret), 'hex') }
}

function unusable(path: string, cause?: unknown): StartError {
  const why = cause instanceof Error ? ` (${cause.message})` : ''
  const way = 'put the right one back, or remove it: a new one is made, and devices log in in full'
  const text = `eap.ticket_keys: ${path} is no file of ticket keys${why}: ${way}`
  return new StartError(EXIT_CONFIGURATION, text)
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

// Running other programs from the set-up files: in the background of a step, or in the foreground
// as if they had been started directly. Plain JavaScript for any Node 18+, which is all a fresh
// clone has.

import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of package.json. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '')

/** The Node that runs the project, pinned by package-lock.json. */
export const INNER_NODE = join(ROOT, 'node_modules', '.bin', 'node')

/** sysexits.h: a thing that is needed can't be had. */
export const UNAVAILABLE = 69

/** Ends the program with one line that says what to do. */
export class SetupError extends Error {
  constructor(message, exitCode = UNAVAILABLE) {
    super(message)
    this.exitCode = exitCode
  }
}

/**
 * Whether the file of this import.meta.url is the program that was started (also through a symbolic
 * link).
 */
export function isProgram(url) {
  const started = process.argv[1]
  return (
    started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(url)
  )
}

/** The process environment with the project's own programs (node, biome, …) found first. */
export function innerEnvironment() {
  const path = `${join(ROOT, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}`
  // Every test file is a program of its own; what they all load is compiled once.
  const cache = join(ROOT, 'node_modules', '.cache', 'compiled')
  return { ...process.env, PATH: path, NODE_COMPILE_CACHE: cache }
}

/**
 * Runs a program with its output passed on; resolves to its exit code, 127 where it can't be
 * started.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      ...options,
    })
    child.on('error', () => resolve(127))
    child.on('close', (code, signal) => resolve(exitCodeOf(code, signal)))
  })
}

/** Runs a program silently; resolves to its exit code and everything it printed. */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], ...options })
    const chunks = []
    child.stdout.on('data', (chunk) => chunks.push(chunk))
    child.stderr.on('data', (chunk) => chunks.push(chunk))
    const output = () => Buffer.concat(chunks).toString('utf8')
    child.on('error', (error) => resolve({ code: 127, output: error.message }))
    child.on('close', (code, signal) =>
      resolve({ code: exitCodeOf(code, signal), output: output() }),
    )
  })
}

function exitCodeOf(code, signal) {
  return code ?? 128 + (osConstants.signals[signal] ?? 0)
}

/**
 * Stands in for a program that should have been this process: it has our terminal, gets our
 * signals, and its exit code is the result (128 + n after signal n). With `endWithParent` it is
 * told to stop when the process that started us is gone: a shell between npm and us passes no
 * signal on, and a server nobody can reach would keep its ports.
 */
export function runForeground(command, args, { endWithParent = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' })
    const told = new Set()
    const relay = (signal) => {
      // A terminal sends Ctrl-C to the whole process group, the program included; and npm passes
      // signals on as well. It must count one, since a second one means "at once".
      if (signal === 'SIGINT' && process.stdin.isTTY) return
      // The terminal went away: for a server SIGHUP alone would mean "reload", with nobody left to
      // stop it.
      const passed = signal === 'SIGHUP' && process.stdin.isTTY ? 'SIGTERM' : signal
      if (passed !== 'SIGHUP' && told.has(passed)) return
      told.add(passed)
      child.kill(passed)
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, relay)
    const parent = process.ppid
    const watch = setInterval(() => {
      if (endWithParent && process.ppid !== parent) relay('SIGTERM')
    }, 500)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearInterval(watch)
      resolve(exitCodeOf(code, signal))
    })
  })
}

/**
 * Where a program is, looking also where Debian keeps those of the administrator; undefined:
 * nowhere.
 */
export function findCommand(name) {
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
  ]
  for (const folder of folders) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      if (existsSync(path) && statSync(path).isFile()) return path
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}

/** The end of every set-up program: its code, or one line on stderr and the error's code. */
export async function finish(main) {
  try {
    process.exitCode = await main()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = error.exitCode
  }
}

// The install step. node_modules is filled once per package-lock.json; after that nothing is run
// and no network is used, so `npm start` works offline and never pulls files from under a running
// server (`npm ci` deletes node_modules before it knows whether it can fill it). Called by start,
// test, bench and run.mjs.

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { buildNativeEngine } from './native.mjs'
import { capture, finish, INNER_NODE, isProgram, ROOT, run, SetupError } from './processes.mjs'

const NODE_MAJOR_MIN = 24
const STAMP = join(ROOT, 'node_modules', '.datanet-lock')
const BUSY = join(ROOT, '.cache', 'install.pid')
const REPAIR = 'npm rebuild node --ignore-scripts=false'

const say = (line) => process.stderr.write(`${line}\n`)

function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex')
}

function stampIs(hash) {
  return existsSync(STAMP) && readFileSync(STAMP, 'utf8').trim() === hash
}

/**
 * Processes that run on the Node inside node_modules, other than ours; known on Linux, else none.
 */
function processesInside() {
  if (!existsSync('/proc/self') || !existsSync(INNER_NODE)) return []
  const node = realpathSync(INNER_NODE)
  const ours = new Set()
  for (let pid = process.pid; pid > 1 && !ours.has(pid); ) {
    ours.add(pid)
    try {
      pid = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      break
    }
  }
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || ours.has(Number(name))) return false
    try {
      return readlinkSync(`/proc/${name}/exe`) === node
    } catch {
      return false
    }
  })
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Lets one installation run at a time: two `npm ci` in one folder destroy each other's work. */
async function takeTurn() {
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  // Ten minutes: longer than any installation that will still succeed.
  for (let waited = 0; waited < 600; waited++) {
    try {
      writeFileSync(BUSY, `${process.pid}\n`, { flag: 'wx' })
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const owner = existsSync(BUSY) ? Number(readFileSync(BUSY, 'utf8')) : 0
    if (owner > 0 && isAlive(owner)) {
      if (waited === 0) say(`waiting for the installation of process ${owner}`)
      await new Promise((resolve) => setTimeout(resolve, 1000))
    } else {
      rmSync(BUSY, { force: true })
    }
  }
  throw new SetupError(`another installation does not end; if none runs, delete ${BUSY}`)
}

async function npmCi() {
  // npm scripts put node_modules/.bin first in PATH; npm must not run on the Node it is about to
  // delete.
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== join(ROOT, 'node_modules', '.bin'))
    .join(delimiter)
  const env = { ...process.env, PATH: path }
  // `node` is a devDependency: NODE_ENV=production must not leave it out.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  say('installing packages, once: about a minute')
  // npm's own output goes to stderr: stdout belongs to the program that is started next.
  const code = await run('npm', args, { env, stdio: ['ignore', 2, 2] })
  if (code === 127)
    throw new SetupError('npm is not installed: install Node.js with npm, then run this again')
  if (code !== 0) {
    throw new SetupError(
      'npm ci failed (see above); the first time needs a network. Run this again',
    )
  }
}

/** The version check that a blocked install script of the `node` package would fail. */
async function checkInnerNode() {
  const { code, output } = await capture(INNER_NODE, ['--version'])
  const major = Number(/^v(\d+)\./.exec(output)?.[1] ?? 0)
  if (code === 0 && major >= NODE_MAJOR_MIN) return
  const found = major > 0 ? `is version ${major}` : 'does not run'
  throw new SetupError(
    `node_modules/.bin/node ${found}; version ${NODE_MAJOR_MIN} or later is needed. Repair it with: ${REPAIR}`,
  )
}

/**
 * Fills node_modules where package-lock.json has changed since it was filled, and compiles the
 * native engine where it is not there; otherwise does nothing.
 */
export async function installPackages() {
  const hash = lockHash()
  if (!stampIs(hash)) {
    await takeTurn()
    try {
      // Another installation may have done it while we waited.
      if (!stampIs(hash)) await install(hash)
    } finally {
      rmSync(BUSY, { force: true })
    }
  }
  if (!existsSync(INNER_NODE)) {
    throw new SetupError(`node_modules/.bin/node is missing. Repair it with: ${REPAIR}`)
  }
  await buildNativeEngine()
}

async function install(hash) {
  const inside = processesInside()
  if (inside.length > 0) {
    throw new SetupError(
      `packages have changed and must be installed anew, but process ${inside.slice(0, 3).join(', ')} still runs on ` +
        'the old ones (a server?): stop it, then run this again',
    )
  }
  await npmCi()
  // Before the check: what repairs the inner Node must not be undone by installing again.
  writeFileSync(STAMP, `${hash}\n`)
  await checkInnerNode()
}

if (isProgram(import.meta.url)) {
  await finish(async () => {
    await installPackages()
    return 0
  })
}

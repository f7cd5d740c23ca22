// `npm test` and its parts. all: packages, peers, types, style, then every test but the long ones.
// unit: the tests that start no other program. long: the long ones. check: types and style only.
// Names of test files after `--` restrict a run to them. The last line is always `N passed, N
// failed, N skipped`.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { installPackages } from './install.mjs'
import { installPeers } from './peers.mjs'
import {
  capture,
  finish,
  INNER_NODE,
  innerEnvironment,
  ROOT,
  run,
  SetupError,
} from './processes.mjs'

/**
 * Folders of test/ left out of `unit`: they start other programs or take many seconds. And the one
 * whose tests take many minutes.
 */
const NOT_UNIT = ['interop', 'chain-live', 'sim', 'setup']
const LONG = 'long'

const say = (line) => process.stdout.write(`${line}\n`)

function testFiles(folder = join(ROOT, 'test')) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(path)
    return entry.name.endsWith('.test.ts') ? [relative(ROOT, path).split(sep).join('/')] : []
  })
}

function select(kind, words) {
  const chosen = testFiles().filter((file) => {
    const folder = file.split('/')[1] ?? ''
    if (kind === 'long') return folder === LONG
    return folder !== LONG && (kind === 'all' || !NOT_UNIT.includes(folder))
  })
  const matching =
    words.length === 0 ? chosen : chosen.filter((file) => words.some((w) => file.includes(w)))
  return matching.sort()
}

/**
 * tap compiles its plugin list into itself, once per installation (.taprc leaves one plugin out).
 */
async function buildTap() {
  const stamp = join(ROOT, 'node_modules', '.datanet-tap')
  const wanted = readFileSync(join(ROOT, '.taprc'), 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  say('building the test runner, once')
  const tap = join(ROOT, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs')
  const { code, output } = await capture(INNER_NODE, [tap, 'build'], { env: innerEnvironment() })
  if (code !== 0) throw new SetupError(`tap build failed:\n${output}`)
  writeFileSync(stamp, wanted)
}

async function check() {
  const bin = (name) => join(ROOT, 'node_modules', '.bin', name)
  const env = innerEnvironment()
  say('types: tsc --noEmit')
  const types = await run(bin('tsc'), ['--noEmit', '-p', '.'], { env })
  say('style: biome check')
  const style = await run(bin('biome'), ['check', '--error-on-warnings', '.'], { env })
  if (types !== 0) say('types: FAILED (see above)')
  if (style !== 0) say('style: FAILED (see above)')
  return types === 0 && style === 0 ? 0 : 1
}

await finish(async () => {
  const [kind = '', ...words] = process.argv.slice(2)
  if (!['all', 'unit', 'long', 'check'].includes(kind)) {
    throw new SetupError('usage: node setup/test.mjs all|unit|long|check [TEST FILE …]', 64)
  }
  await installPackages()
  if (kind === 'check') return check()
  if (kind !== 'unit') await installPeers()
  const checked = kind === 'all' ? await check() : 0
  await buildTap()
  const files = select(kind, words)
  const tap = join(ROOT, 'setup', 'tap.mjs')
  // With types or style wrong the tests still run, so that one run shows everything.
  const args = [tap, ...(checked === 0 ? [] : ['--checks-failed']), ...files]
  return run(INNER_NODE, args, { env: innerEnvironment() })
})

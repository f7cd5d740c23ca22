// The set-up programs as a user meets them: copied into an empty project whose npm is a stand-in,
// so that no network is used and what they run is seen.

import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const SOURCE = fileURLToPath(new URL('../..', import.meta.url))

function writeProgram(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  chmodSync(path, 0o755)
}

/** A stand-in for the Node in node_modules: says a version, otherwise runs the file it is given. */
const innerNode = (version: string) => `#!/bin/sh
if [ "$1" = --version ]; then echo ${version}; exit 0; fi
exec "${process.execPath}" "$@"
`

interface Project {
  readonly root: string
  /** Runs a set-up program; the stand-in npm does what `npm` says. */
  run(words: string[], npm?: string): SpawnSyncReturns<string>
  npmCalls(): string[]
}

/** npm ci as it should go: node_modules with a Node in it. */
const npmFills = (version = 'v26.0.0') =>
  `rm -rf node_modules; mkdir -p node_modules/.bin; cp inner-node node_modules/.bin/node
sed -i 's/VERSION/${version}/' node_modules/.bin/node`

function project(t: Tap, files: Record<string, string> = {}): Project {
  const root = join(t.testdir({}), 'project')
  mkdirSync(root)
  cpSync(join(SOURCE, 'setup'), join(root, 'setup'), { recursive: true })
  cpSync(join(SOURCE, 'cli', 'datanet.mjs'), join(root, 'cli', 'datanet.mjs'))
  writeFileSync(join(root, 'package.json'), '{ "name": "project", "type": "module" }\n')
  writeFileSync(join(root, 'package-lock.json'), '{}\n')
  writeFileSync(join(root, 'inner-node'), innerNode('VERSION'), { mode: 0o755 })
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const calls = join(root, 'npm-calls')
  return {
    root,
    run(words, npm = npmFills()) {
      writeProgram(join(root, 'fake', 'npm'), `#!/bin/sh\necho "$@" >> "${calls}"\n${npm}\n`)
      const inner = join(root, 'node_modules', '.bin')
      const path = [inner, join(root, 'fake'), process.env['PATH']].join(':')
      const env = { ...process.env, PATH: path, NODE_ENV: 'production' }
      return spawnSync(process.execPath, words, { cwd: root, env, encoding: 'utf8' })
    },
    npmCalls() {
      return existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []
    },
  }
}

type Tap = Pick<typeof t, 'testdir'>

const lockHash = (p: Project) =>
  createHash('sha256')
    .update(readFileSync(join(p.root, 'package-lock.json')))
    .digest('hex')

t.test('install: once per package-lock.json, and the stamp is its SHA-256', async (t) => {
  const p = project(t)
  const first = p.run(['setup/install.mjs'])
  t.equal(first.status, 0, first.stderr)
  t.match(first.stderr, /installing packages, once/)
  t.equal(first.stdout, '')
  t.match(p.npmCalls(), [/^ci .*--include=dev/])
  const stamp = join(p.root, 'node_modules', '.datanet-lock')
  t.equal(readFileSync(stamp, 'utf8').trim(), lockHash(p))
  const again = p.run(['setup/install.mjs'], 'exit 1')
  t.same([again.status, again.stdout, again.stderr], [0, '', ''])
  t.equal(p.npmCalls().length, 1, 'npm is not run when nothing has changed')
  writeFileSync(join(p.root, 'package-lock.json'), '{ "changed": true }\n')
  t.equal(p.run(['setup/install.mjs']).status, 0)
  t.equal(p.npmCalls().length, 2)
  t.equal(readFileSync(stamp, 'utf8').trim(), lockHash(p))
  t.notOk(existsSync(join(p.root, '.cache', 'install.pid')))
})

t.test('install: a failure says what to do and exits 69', async (t) => {
  const cases: [name: string, npm: string, says: RegExp, calls: number][] = [
    ['no network', 'echo ENOTFOUND; exit 1', /npm ci failed \(see above\).*network/, 2],
    ['npm 12 blocked the script', 'mkdir -p node_modules', /does not run.*npm rebuild node/, 1],
    ['an old Node', npmFills('v22.1.0'), /is version 22; .*npm rebuild node/, 1],
  ]
  for (const [name, npm, says, calls] of cases) {
    const p = project(t, {})
    const result = p.run(['setup/install.mjs'], npm)
    t.equal(result.status, 69, name)
    t.match(result.stderr, says, name)
    t.equal(result.stdout, '', name)
    t.notMatch(result.stderr, /\n\s+at /, `${name}: no stack`)
    p.run(['setup/install.mjs'], npm)
    t.equal(p.npmCalls().length, calls, `${name}: a second try installs only where that can help`)
    rmSync(p.root, { recursive: true })
  }
})

t.test('install: never under a process that runs on the packages', async (t) => {
  const p = project(t)
  p.run(['setup/install.mjs'])
  const inner = join(p.root, 'node_modules', '.bin', 'node')
  cpSync(process.execPath, inner)
  const server = spawn(inner, ['-e', 'setInterval(() => {}, 1000); console.log("up")'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => server.kill('SIGKILL'))
  await new Promise((resolve) => server.stdout.once('data', resolve))
  writeFileSync(join(p.root, 'package-lock.json'), '{ "changed": true }\n')
  const result = p.run(['setup/install.mjs'])
  t.equal(result.status, 69)
  t.match(result.stderr, new RegExp(`process ${server.pid} still runs.*stop it`))
  t.equal(p.npmCalls().length, 1)
})

t.test('install: a lock left by a process that is gone does not stop it', async (t) => {
  const p = project(t, { '.cache/install.pid': '999999999\n' })
  t.equal(p.run(['setup/install.mjs']).status, 0)
})

t.test('start: is the server, with its words, its output and its exit code', async (t) => {
  const main = 'console.log(process.argv.slice(2).join(" ")); process.exitCode = 78'
  const p = project(t, { 'cli/main.ts': main })
  const result = p.run(['setup/start.mjs', '--data', 'x'])
  t.equal(result.stdout, 'serve --data x\n')
  t.equal(result.status, 78)
})

t.test(
  'start: one SIGTERM or SIGINT reaches the server once, however often it is sent',
  async (t) => {
    const main = `let count = 0
process.on('SIGTERM', () => { count += 1; setTimeout(() => process.exit(count), 300) })
process.on('SIGINT', () => { count += 1; setTimeout(() => process.exit(10 + count), 300) })
setInterval(() => {}, 1000)
console.log('ready')`
    const p = project(t, { 'cli/main.ts': main })
    t.equal(p.run(['setup/install.mjs']).status, 0)
    for (const [signal, code] of [
      ['SIGTERM', 1],
      ['SIGINT', 11],
    ] as const) {
      const child = spawn(process.execPath, ['setup/start.mjs'], {
        cwd: p.root,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      t.teardown(() => child.kill('SIGKILL'))
      await new Promise((resolve) => child.stdout.once('data', resolve))
      const closed = new Promise((resolve) => child.once('close', resolve))
      child.kill(signal)
      setTimeout(() => child.kill(signal), 100)
      t.equal(await closed, code, signal)
    }
  },
)

t.test('start: under npm, the server ends with the shell npm put in between', async (t) => {
  const main = `process.on('SIGTERM', () => { console.log('stopped'); process.exit(0) })
setInterval(() => {}, 1000)
console.log('ready')`
  const p = project(t, { 'cli/main.ts': main })
  t.equal(p.run(['setup/install.mjs']).status, 0)
  const shell = spawn('/bin/sh', ['-c', `"${process.execPath}" setup/start.mjs; true`], {
    cwd: p.root,
    env: { ...process.env, npm_lifecycle_event: 'start' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => shell.kill('SIGKILL'))
  let output = ''
  const ended = new Promise((resolve) => shell.stdout.once('end', resolve))
  shell.stdout.on('data', (chunk) => {
    // The pipe ends when the last process that holds it does: the server.
    if (output === '') shell.kill('SIGKILL')
    output += chunk
  })
  await ended
  t.equal(output, 'ready\nstopped\n')
})

t.test('datanet: without node_modules an old Node says what to run, exit 69', async (t) => {
  const p = project(t, { 'cli/main.ts': 'console.log(process.argv.slice(2).join(" "))' })
  // The version is read from process.versions: a preload pretends to be the Node of an old system.
  const old = join(p.root, 'old.cjs')
  writeFileSync(old, "Object.defineProperty(process.versions, 'node', { value: '18.20.0' })")
  const before = p.run(['--require', old, 'cli/datanet.mjs', 'secret'])
  t.equal(before.status, 69)
  t.match(before.stderr, /run npm start once/)
  t.equal(p.run(['setup/install.mjs']).status, 0)
  t.equal(p.run(['--require', old, 'cli/datanet.mjs', 'a', 'b c']).stdout, 'a b c\n')
  t.equal(p.run(['cli/datanet.mjs', 'a', 'b c']).stdout, 'a b c\n')
})

t.test('usage: a wrong word is refused with exit 64', async (t) => {
  const p = project(t)
  for (const words of [
    ['setup/test.mjs', 'everything'],
    ['setup/bench.mjs', '../x'],
    ['setup/run.mjs'],
  ]) {
    const result = p.run(words)
    t.equal(result.status, 64, words.join(' '))
    t.equal(result.stderr.trim().split('\n').length, 1)
  }
  t.equal(p.npmCalls().length, 0)
})

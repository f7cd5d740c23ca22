// Output that nobody reads (`datanet ledger | head -3`), with real processes: commands come to
// their end in silence, and what serves or pays goes on without its log.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  createDevice,
  datanet,
  onFixedPort,
  run,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const directory = temporaryDirectory(t)
const config = await onFixedPort(testConfig())
const server = await startServer(t, { directory, config })
const ours = ['--data', join(directory, 'data'), '--config', server.configPath]
const env = { DATANET_PASSWORD: 'correct horse battery staple', DATANET_OPERATOR: server.url }
const { directory: alice } = await createDevice(server, 'alice')
const made = await run(process.execPath, [datanet, 'merchant', 'create', 'cafe'], {
  ...{ env, cwd: directory },
})
t.equal(made.code, 0, made.errors)

/** A pipe at 4 whose reader is gone already; the program takes its place. */
const CLOSED = 'mkfifo "$0"; exec 3<>"$0"; exec 4>"$0" 3<&-; rm "$0"; exec "$@"'
let pipes = 0

/** `datanet` with its output as the shell's `redirection` says: >&4 into the closed pipe. */
function inShell(redirection: string, args: readonly string[]): [string, string[]] {
  const script = `${CLOSED} ${redirection} 4>&-`
  return [
    'sh',
    ['-c', script, join(directory, `pipe${++pipes}`), process.execPath, datanet, ...args],
  ]
}

t.test('a command ends as it would have, in silence', async (t) => {
  const cases: readonly (readonly [args: readonly string[], code: number])[] = [
    [['--help'], 0],
    [['secret'], 0],
    [['reliability', ...ours], 0],
    [['chain', 'status', ...ours], 0],
    [['merchant', 'status', 'cafe'], 0],
    [['frobnicate'], 64],
  ]
  for (const [args, code] of cases) {
    const o = { env, cwd: directory }
    const ended = await run(...inShell('>&4', args), o)
    t.equal(ended.code, code, args.join(' '))
    if (code === 0) t.equal(ended.errors, '', args.join(' '))
    const unheard = await run(...inShell('>&4 2>&4', args), o)
    t.equal(unheard.code, code, `${args.join(' ')} with stderr`)
  }
})

t.test('output that does not fit on the disk is a failure', async (t) => {
  const ended = await run(...inShell('>/dev/full', ['--help']))
  t.match(ended, { code: 73, errors: /^datanet: the disk is full: [^\n]*\n$/ })
  t.equal((await run(...inShell('>/dev/full 2>/dev/full', ['--help']))).code, 73)
})

/** Not one that tries to write over and over: that takes all the time it gets. */
async function isIdle(child: ChildProcess): Promise<boolean> {
  const ticks = (): number => {
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1] ?? ''
    const fields = stat.split(' ')
    return Number(fields[11]) + Number(fields[12])
  }
  const before = ticks()
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  return ticks() - before < 100 // of 10 ms: half of the time
}

function background(t: Test, args: readonly string[]) {
  const [program, words] = inShell('>&4 2>&4', args)
  const child = spawn(program, words, {
    ...{ cwd: directory, env: { ...process.env, ...env }, stdio: 'ignore' },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { child, ended, isGone: () => child.exitCode !== null || child.signalCode !== null }
}

t.test('device run and merchant run go on', async (t) => {
  const cases = [
    [['device', 'run', alice, '--json'], join(alice, 'payer.lock')],
    [['merchant', 'run', 'cafe'], join(directory, 'cafe', 'run.lock')],
  ] as const
  for (const [args, lock] of cases) {
    const { child, ended, isGone } = background(t, args)
    await waitFor(
      () => existsSync(lock) || isGone(),
      20_000,
      () => `${args}: no ${lock}`,
    )
    t.ok(await isIdle(child), `${args.join(' ')} does not spin`)
    const second = await run(process.execPath, [datanet, ...args], { env, cwd: directory })
    t.equal(second.code, 73, 'it is there: another one is refused')
    child.kill('SIGTERM')
    t.equal(await ended, 0, 'and it stops as ever')
  }
})

t.test('serve goes on', async (t) => {
  const { process: child } = server
  child.stdout?.destroy()
  child.stderr?.destroy()
  const reload = [datanet, 'reload', ...ours]
  for (let n = 0; n < 3; n++) t.match(await run(process.execPath, reload), { code: 0 }, 'it logs')
  t.ok(await isIdle(child))
  t.equal((await fetch(`${server.url}/v1/operator`)).status, 200)
  t.equal(await server.stop(), 0)
})

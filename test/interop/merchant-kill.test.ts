// kill -9 at random points while a merchant stores and signs, with a different block offered each
// time: no period ever has two signatures, and what was stored before a kill is sent after it.
// Mostly waits: for periods of 12 s.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const KILLS = 40
/** Every other kill comes so soon that a new process has hardly begun. */
const EAGER_MS = 40
const PROGRAM = fileURLToPath(new URL('./merchant-signer.ts', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'datanet-merchant-kill-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const path = join(directory, 'merchant.sqlite')
t.setTimeout(175_000)

interface Line {
  readonly ready?: boolean
  readonly done?: boolean
  readonly refused?: string
  readonly period?: number
  readonly root?: string
  readonly signature?: string
}

/** Drawn once and told, so that a failure can be had again, as far as the machine allows. */
const seed = Number(process.env['DATANET_SEED'] ?? Math.floor(Math.random() * 1e9))

/** mulberry32 */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Signer {
  readonly lines: Line[]
  offer(period: number, amount: number): void
  /** Resolves when a line of this kind has come since the last call. */
  until(kind: 'ready' | 'done'): Promise<void>
  kill(): Promise<void>
}

function startSigner(): Signer {
  const child: ChildProcess = spawn(process.execPath, ['--no-warnings', PROGRAM, path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: Line[] = []
  const waiters = new Map<string, () => void>()
  if (child.stdout === null || child.stdin === null) throw new Error('no pipes')
  child.stdin.on('error', () => undefined) // killed while we write
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line: Line = JSON.parse(text)
    lines.push(line)
    const kind = line.ready === true ? 'ready' : line.done === true ? 'done' : ''
    waiters.get(kind)?.()
  })
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return {
    lines,
    offer: (period, amount) => void child.stdin?.write(`${JSON.stringify({ period, amount })}\n`),
    until: (kind) => new Promise((resolve) => waiters.set(kind, resolve)),
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

t.test(`D13: no second signature in a period, DATANET_SEED=${seed}`, async (t) => {
  const random = numbersFrom(seed)
  const signatures = new Map<number, Set<string>>()
  const note = ({ lines }: Signer): void => {
    for (const { period: of, root, signature } of lines) {
      if (of === undefined || root === undefined) continue
      signatures.set(of, (signatures.get(of) ?? new Set()).add(`${root} ${signature}`))
    }
  }
  // How long checking, storing and signing take here: twice that is the time to kill within.
  const first = startSigner()
  await first.until('ready')
  const began = performance.now()
  const finished = first.until('done')
  first.offer(3, 30)
  await finished
  const workMs = performance.now() - began
  await first.kill()
  note(first)

  let offered = 0
  let interrupted = 0
  let period = 4
  for (let kill = 0; kill < KILLS; kill++) {
    const signer = startSigner()
    await signer.until('ready')
    // Always another block, most often in the same period as before the last kill.
    if (random() < 0.4) period += 1
    signer.offer(period, 30 + (offered++ % 20))
    signer.offer(period, 30 + (offered++ % 20))
    const withinMs = kill % 2 === 0 ? EAGER_MS : workMs * 2
    await new Promise((resolve) => setTimeout(resolve, random() * withinMs))
    await signer.kill()
    note(signer)
    if (!signer.lines.some(({ done }) => done === true)) interrupted += 1
  }
  t.comment(`${KILLS} kills, ${interrupted} amid the work of ${Math.round(workMs)} ms`)
  for (const [of, all] of signatures) t.equal(all.size, 1, `period ${of} has one signature`)
  t.ok(interrupted >= KILLS / 8, 'kills came amid the work')
  t.ok(signatures.size > 2, 'and periods were signed all the same')

  const last = startSigner()
  await last.until('ready')
  const done = last.until('done')
  last.offer(period + 1, 60)
  await done
  const line = last.lines.find(({ root, period: of }) => root !== undefined && of === period + 1)
  t.ok(line !== undefined, 'and it goes on')
  await last.kill()
})

// kill -9 of the operator and of a merchant at random points of their periods: no credit is lost,
// nobody signs two blocks in a period, no period stays stuck.
// Mostly waits: for periods of 18 s.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeAnswer } from '../../chain/payplace/codec.ts'
import { openBlockFiles } from '../../server/block-files.ts'
import { merchantProgram } from './merchant-program.ts'
import { type NotaryRig, notaryRig, TIMING, TOKEN } from './notary-rig.ts'
import { earned } from './receipts.ts'
import { temporaryDirectory } from './server.ts'

/** Where in a period the operator is killed, s: building, collecting, notarizing, the rest. */
const PARTS: readonly (readonly [from: number, to: number])[] = [
  [1, 1.5],
  [1.5, TIMING.gamma - 1],
  [TIMING.gamma - 1, TIMING.gamma + 0.5],
  [TIMING.gamma + 0.5, TIMING.beta],
]
/** More would be shown by more of them, in a longer time than this file may take. */
const KILLS = 6

/** Drawn once and told, so that a failure can be had again. */
const seed = Number(process.env['DATANET_SEED'] ?? Math.floor(Math.random() * 1e9))
let drawn = seed
const random = (): number => {
  drawn = (Math.imul(drawn, 1_664_525) + 1_013_904_223) >>> 0
  return drawn / 2 ** 32
}

/** Each part once a round, in a drawn order: some kills follow at once, others a period later. */
const kills = Array.from({ length: Math.ceil(KILLS / PARTS.length) }, () =>
  PARTS.map((part) => ({ part, at: random() })).sort((a, b) => a.at - b.at),
)
  .flat()
  .slice(0, KILLS)

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Who signed what in which period, by all answers that ever reached the operator's disk. */
function signatures(rig: NotaryRig): { note(): void; readonly roots: Map<string, Set<string>> } {
  const blocks = join(rig.server().directory, 'data', 'blocks')
  const roots = new Map<string, Set<string>>()
  return {
    roots,
    note() {
      const [folder] = readdirSync(blocks, { withFileTypes: true }).filter((e) => e.isDirectory())
      if (folder === undefined) return
      const files = openBlockFiles(join(blocks, folder.name), () => 7)
      for (const name of files.list()) {
        for (const bytes of files.answers(name)) {
          const answer = decodeAnswer(bytes)
          if (typeof answer === 'string') continue
          const who = `${answer.id} in period ${answer.period}`
          roots.set(who, (roots.get(who) ?? new Set()).add(answer.root.toString('hex')))
        }
      }
    },
  }
}

t.setTimeout(400_000)

t.test(`DATANET_SEED=${seed}: killed in every part of a period`, async (t) => {
  const rig = await notaryRig(t, { directory: temporaryDirectory(t), merchants: 2 })
  const [double, real] = rig.merchants
  const key = rig.keys[1]
  if (double === undefined || real === undefined || key === undefined) throw new Error('two')
  const program = await merchantProgram(t, { key, url: rig.server().url })
  program.start()
  await double.register()
  const device = await rig.device()
  const sessions = [await device.join(1), await device.join(2)]
  const signed = signatures(rig)
  const refusals: string[] = []
  let over = false
  const signing = rig.signing(
    [double],
    () => over,
    (outcome) => refusals.push(outcome),
  )
  const paying = (async () => {
    for (let n = 0; !over; n++) {
      await device.pay(sessions[n % 2] ?? '', TOKEN / 10n + BigInt(n)).catch(() => false)
      await pause(300)
    }
  })()
  const settledBy = async (done: (status: Awaited<ReturnType<typeof rig.status>>) => boolean) => {
    const ends = Date.now() + 60_000
    for (;;) {
      const status = await rig.status()
      if (done(status) || Date.now() > ends) return status
      await pause(200)
    }
  }
  const from = (await settledBy(({ merchants }) => merchants === 3)).k
  for (const { part } of kills) {
    const [after, before] = part
    await rig.intoPeriod((after + random() * (before - after)) * 1_000)
    const { period } = await rig.status()
    signed.note()
    // The merchant at another point than its operator: while it asks, checks, stores or sends.
    const merchantKilled = pause(random() * 2_000).then(() => program.kill())
    await rig.restart('SIGKILL')
    await merchantKilled
    program.start()
    const { lastPeriod } = await settledBy((status) => status.lastPeriod >= period)
    t.ok(lastPeriod >= period, `a block after the kill in period ${period}`)
    t.ok(lastPeriod <= period + 1, `in that period or the next: ${lastPeriod}`)
  }
  over = true
  await Promise.all([signing, paying])
  await real.recall()
  // Until nothing waits, and everybody that signs has seen the last block notarized.
  const isSettled = async () => {
    const { waiting, missing } = await rig.status()
    return waiting === '0' && missing.length === 0 && double.owed() === (await earned(double))
  }
  await rig.signing([double], isSettled, (outcome) => refusals.push(outcome))
  const { problem, k } = await rig.status()
  t.equal(problem, null)
  t.ok(k > from, `${k - from} blocks in spite of it`)
  signed.note()
  const twice = [...signed.roots].filter(([, roots]) => roots.size > 1)
  t.same(twice, [], 'one block signed by each, the operator too, in a period')
  t.ok(signed.roots.size >= PARTS.length, `${signed.roots.size} signatures were looked at`)
  // All that receipts say was notarized: nothing waits, and it is paid to the unit.
  t.equal(double.owed(), await earned(double))
  t.equal(await double.withdraw(), await earned(double))
  await program.kill()
  t.equal(`${(await program.verb('withdraw'))['paid']}`, `${await earned(real)}`)
  const wrong = refusals.filter((outcome) => /refused/.test(outcome))
  t.same(wrong, [], 'no merchant was shown a second block in a period, or a wrong one')
})

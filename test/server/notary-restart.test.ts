// Processes that end at random moments of their periods, one after the other, over one world: what
// was credited is in the blocks exactly once, and nobody is shown two blocks in one period.

import t from 'tap'
import { amountOf, NO_ENTRIES } from '../../chain/payplace/entries.ts'
import { alice, answer, credit, lobby, operatorAccount, processIn, world } from './notary-world.ts'

/** Seeded: a failure can be had again. */
function dice(seed: number): () => number {
  let drawn = seed
  return () => {
    drawn = (Math.imul(drawn, 1_664_525) + 1_013_904_223) >>> 0
    return drawn / 2 ** 32
  }
}

const LIVES = 25
const SEEDS = [1, 4]

for (const seed of SEEDS) {
  t.test(`seed ${seed}: ${LIVES} lives`, async (t) => {
    const random = dice(seed)
    const here = world()
    const { at } = here
    const offered = new Map<number, string>()
    let owed = 0n
    let own = 0n
    for (let life = 0; life <= LIVES; life++) {
      const { notary, pass } = processIn(here)
      // The last one lives until everything is in.
      const steps = life === LIVES ? 300 : Math.floor(random() * 90) + 1
      for (let step = 0; step < steps; step++) {
        await pass(100)
        if (life < LIVES && random() < 0.2) {
          const amount = BigInt(Math.floor(random() * 5) + 1)
          const isOwn = random() < 0.3
          credit(here, amount, isOwn ? operatorAccount : lobby)
          if (isOwn) own += amount
          else owed += amount
        }
        // Now and then the merchant is away for a window; at the end it is there.
        const period = Math.floor((at.nowMs / 1_000 - 1_000) / 12)
        if (life < LIVES && dice(seed * 1_000 + period)() < 0.2) continue
        const block = notary.proposal(2, undefined)?.block
        if (block === undefined) continue
        const { header } = block
        const root = header.root.toString('hex')
        t.equal(offered.get(header.period) ?? root, root, `one block in period ${header.period}`)
        offered.set(header.period, root)
        if (random() < 0.5) await answer(notary, 2)
      }
      if (life < LIVES) {
        // kill -9: whatever it was about to do does not happen any more.
        at.isAway = true
        at.refuse = () => 'killed'
        await notary.stop()
        at.isAway = false
        at.refuse = () => undefined
        continue
      }
      const last = (await notary.past(at.block.k, 2))?.block
      t.equal(amountOf(last?.entriesOf(2) ?? NO_ENTRIES, alice), owed)
      t.equal(amountOf(last?.entriesOf(1) ?? NO_ENTRIES, alice), own)
      t.equal(notary.status()?.waiting, 0n)
      t.ok(at.block.k > 3, `${at.block.k} blocks, ${offered.size} periods`)
      last?.close()
      await notary.stop()
    }
  })
}

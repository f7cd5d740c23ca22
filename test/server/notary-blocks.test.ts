// The block that merchants are asked to sign, over real files: what they are shown of it does not
// change with what consumers pay meanwhile.

import t from 'tap'
import { answer, credit, processIn, world } from './notary-world.ts'

t.test('a block is offered with the vouchers it was built with, after a restart too', async (t) => {
  const here = world()
  const first = processIn(here)
  credit(here, 100n)
  await first.pass(7_200)
  const shown = (notary: typeof first.notary) =>
    notary.proposal(2, undefined)?.proposal.sources.map(({ amount }) => amount)
  t.same(shown(first.notary), [900n])
  here.at.voucher = 950n
  t.same(shown(first.notary), [900n], 'the consumer has paid more')
  await first.notary.stop()
  const second = processIn(here)
  await second.pass(200)
  t.same(shown(second.notary), [900n])
  await answer(second.notary, 2)
  await second.pass(200)
  t.match(
    await second.notary.past(1, 2),
    { proposal: { sources: [{ amount: 950n }] } },
    'a withdrawal takes the best there is',
  )
  await second.notary.stop()
})

// What becomes of an answer after it was sent: the agent against an operator that takes it, has
// finished its block, or has lost it.

import t from 'tap'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import type { BlockAnswer } from '../../chain/payplace/proposal.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import { startAgent } from '../../merchant/agent.ts'
import type { AnswerOutcome } from '../../merchant/api.ts'
import type { AgentOptions } from '../../merchant/reading.ts'
import { honest } from '../chain/payplace/checking.ts'
import { consumer, known, OPERATOR } from '../chain/payplace/support.ts'
import { newStore, record, TIMING } from './support.ts'

const IN_WINDOW = 1_182
const timing = { ...TIMING, gamma: 4 }
const facts: Pick<PayplaceFacts, 'operator' | 'block' | 'merchantOf' | 'shifts'> = {
  operator: () => ({ account: consumer(0), active: true, timing }),
  block: () => ({ k: 0, root: Buffer.alloc(32), lastPeriod: 0, tau: 0 }),
  merchantOf: () => record(),
  shifts: () => [],
}

t.test('an answer is sent throughout the window, and stays taken', async (t) => {
  const store = newStore(t)
  const index = known(honest)
  const own = { entries: NO_ENTRIES, proofs: [] }
  const channel = () => ({ deposit: 0n })
  const block = { period: 3, k: 1, root: index.root, digest: Buffer.alloc(32, 5) }
  store.sign(() => {
    return { verdict: 1, record: { ...block, own, index, channel, sources: [], dropped: [] } }
  })
  const outcomes: readonly AnswerOutcome['outcome'][] = ['period-over', 'taken', 'period-over']
  const sent: BlockAnswer[] = []
  const taken: (boolean | undefined)[] = []
  const said: string[] = []
  const head = { number: 1, hash: '0x1', time: IN_WINDOW }
  const done = Promise.withResolvers<void>()
  const parts = {
    ...{ account: consumer(5), accountKey: Buffer.alloc(32, 1), operatorId: OPERATOR, store },
    ...{ operatorUrl: '', contract: consumer(4), chainId: 31_337n, requireIncome: false },
    view: {
      sync: async () => ({ head, latest: head, events: [], reread: false }),
      at: () => facts,
    },
    api: {
      async answer(answer: BlockAnswer) {
        taken.push(store.signed()?.isTaken)
        sent.push(answer)
        if (sent.length === 5) done.resolve()
        return { outcome: outcomes[sent.length - 1] ?? 'taken' }
      },
    },
    log: (_level: string, event: string) => void said.push(event),
    nowMs: () => IN_WINDOW * 1_000,
  }
  const agent = startAgent(parts as unknown as AgentOptions)
  await done.promise
  await agent.stop()
  t.same(taken.slice(0, 5), [false, false, true, true, true])
  t.same(said, ['too-late', 'signed'], 'and nothing is told twice')
  for (const answer of sent) t.equal(answer, sent[1], 'signed once')
})

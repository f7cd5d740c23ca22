// A reading of the chain by the agent: shifts are challenged once for nothing but the gas of one
// transaction, also on a full disk.

import t, { type Test } from 'tap'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import type { Call } from '../../chain/transactions.ts'
import { NOTHING_SEEN } from '../../merchant/clock.ts'
import { type Agent, readChain } from '../../merchant/reading.ts'
import type { MerchantStore } from '../../merchant/store.ts'
import { consumer, OPERATOR, source } from '../chain/payplace/support.ts'
import { newStore, TIMING } from './support.ts'

/** An agent with a voucher of 100 on a chain where a shift of all 1,000 stays pending. */
function watching(t: Test, more: Partial<MerchantStore> = {}) {
  const store = newStore(t)
  const sent: Call[] = []
  const clock = { now: 2_000 }
  const facts = {
    operator: () => ({ timing: TIMING }),
    block: () => ({ k: 3, root: Buffer.alloc(32, 3) }),
    merchantOf: () => undefined,
    channel: () => ({ deposit: 1_000n, highestVoucher: 0n }),
    shifts: () => [{ consumer: consumer(0), to: 9, amount: 1_000n, requestedAt: 5, period: 1 }],
  } as unknown as PayplaceFacts
  const head = { number: 1, hash: '0x1', time: 1 }
  const agent = {
    ...{ account: consumer(5), operatorId: OPERATOR, contract: consumer(4), log() {} },
    ...{ facts: undefined, sight: NOTHING_SEEN, syncedAt: 0, told: new Map() },
    ...{
      store: { ...store, voucher: () => source(0, 100n), ...more },
      challenged: new Map(),
      now: () => clock.now,
    },
    view: {
      sync: async () => ({ head, latest: head, events: [], reread: false }),
      at: () => facts,
    },
    sender: {
      account: consumer(5),
      async send(call: Call) {
        sent.push(call)
        return { transactionHash: '0x1', blockNumber: 1 }
      },
    },
  } as unknown as Agent
  return { agent, sent, clock }
}

t.test('a challenge is estimated before it is paid for', async (t) => {
  const { agent, sent } = watching(t)
  await readChain(agent)
  t.match(sent, [{ what: 'the challenge of a shift' }])
  t.equal(sent[0]?.gas, undefined, 'a fixed limit would send what the contract refuses')
})

t.test('it is tried again after 10 s, with a clock that was set back as well', async (t) => {
  const { agent, sent, clock } = watching(t)
  await readChain(agent)
  clock.now += 9
  await readChain(agent)
  t.equal(sent.length, 1)
  clock.now += 1
  await readChain(agent)
  t.equal(sent.length, 2)
  clock.now -= 3_600
  await readChain(agent)
  t.equal(sent.length, 3)
})

t.test('a disk that takes nothing more keeps nobody from challenging', async (t) => {
  const full = (): never => {
    throw new Error('database or disk is full')
  }
  const { agent, sent } = watching(t, { settle: full })
  await t.rejects(readChain(agent), { message: /full/ })
  t.equal(sent.length, 1)
})

import t from 'tap'
import type { Exchange } from '../../eap/exchange.ts'
import {
  type Conversation,
  createConversations,
  REPLACE_AFTER_MS,
} from '../../server/conversations.ts'

const limits = { conversationsMax: 3, perNasMax: 3, idleMs: 15_000 }
const closedExchange = (onClose: () => void): Exchange => ({
  receive: async () => ({ do: 'ignore', reason: 'unused' }),
  close: onClose,
  identity: '',
  progress: 0,
  done: false,
})
let made = 0
const conversation = (station: string, nas = 'lobby', atMs = 0): Conversation => {
  made += 1
  return {
    stateAttribute: Buffer.from(String(made).padStart(16, '0')),
    nas,
    station,
    startedAtMs: atMs,
    progressAtMs: atMs,
    busy: false,
    reserved: undefined,
    resumed: false,
    refusedAccount: undefined,
    refusedDetail: undefined,
    exchange: closedExchange(() => {}),
  }
}

t.test('B7: a State is good for one conversation at the NAS it was given to', async (t) => {
  const table = createConversations(
    () => limits,
    () => {},
  )
  const one = conversation('a')
  t.equal(table.add(one, 0), 'added')
  t.equal(table.find(one.stateAttribute, 'lobby'), one)
  t.equal(table.find(one.stateAttribute, 'roof'), undefined)
  t.equal(table.find(Buffer.alloc(16), 'lobby'), undefined)
  t.equal(table.find(Buffer.alloc(0), 'lobby'), undefined)
})

t.test(
  'one conversation per station at a NAS: replaced only after 3 s without progress',
  async (t) => {
    const closed: Conversation[] = []
    const table = createConversations(
      () => limits,
      (c) => closed.push(c),
    )
    const first = conversation('a')
    t.equal(table.add(first, 0), 'added')
    first.progressAtMs = 1_000
    const second = conversation('a')
    t.equal(table.add(second, 1_000 + REPLACE_AFTER_MS - 1), 'conversation-in-progress')
    t.equal(table.find(second.stateAttribute, 'lobby'), undefined)
    t.equal(table.add(conversation('a', 'roof'), 1_500), 'added', 'the same MAC address elsewhere')
    t.equal(table.add(second, 1_000 + REPLACE_AFTER_MS), 'added')
    t.same(closed, [first])
    table.close(first)
    t.same(closed, [first], 'a conversation closes once')
    t.equal(table.find(second.stateAttribute, 'lobby'), second)
  },
)

t.test('a flood at one NAS leaves room at the others', async (t) => {
  const table = createConversations(
    () => ({ conversationsMax: 4, perNasMax: 2, idleMs: 15_000 }),
    () => {},
  )
  const first = conversation('a', 'flooded')
  t.equal(table.add(first, 0), 'added')
  t.equal(table.add(conversation('b', 'flooded'), 0), 'added')
  t.equal(table.add(conversation('c', 'flooded'), 0), 'too-many-conversations')
  t.equal(table.add(conversation('c', 'calm'), 0), 'added')
  table.close(first)
  t.equal(table.add(conversation('c', 'flooded'), 0), 'added')
})

t.test('conversations have a number, an idle time and a lifetime', async (t) => {
  let exchangesClosed = 0
  const table = createConversations(
    () => limits,
    () => {},
  )
  const add = (nowMs: number): Conversation => {
    const c = {
      ...conversation('', 'lobby', nowMs),
      exchange: closedExchange(() => exchangesClosed++),
    }
    t.equal(table.add(c, nowMs), 'added')
    return c
  }
  const idle = add(0)
  const slow = add(0)
  add(10_000)
  t.equal(table.add(conversation('b'), 10_000), 'too-many-conversations')
  slow.progressAtMs = 14_000
  table.sweep(15_000)
  t.equal(table.find(idle.stateAttribute, 'lobby'), undefined)
  t.equal(table.find(slow.stateAttribute, 'lobby'), slow)
  slow.progressAtMs = 59_999
  table.sweep(60_000)
  t.equal(table.find(slow.stateAttribute, 'lobby'), undefined, 'progress does not make it immortal')
  table.closeAll()
  t.equal(table.size, 0)
  t.equal(exchangesClosed, 3)
})

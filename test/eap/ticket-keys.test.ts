// The chain of secrets behind session ticket keys: the same for every server, forwards only.

import { hkdfSync } from 'node:crypto'
import t from 'tap'
import {
  advance,
  EPOCH_SECONDS,
  epochAt,
  firstSecret,
  RESUMPTION_SECONDS,
  STEPS_MAX,
  ticketKeys,
} from '../../eap/ticket-keys.ts'

const START = 41_000 * EPOCH_SECONDS
const secret = Buffer.alloc(32, 5)
const first = firstSecret(START, secret)
const after = (epochs: number) => advance(first, START + epochs * EPOCH_SECONDS)

t.test('the first link is of the epoch before, and is kept for all of its epoch', async (t) => {
  t.same(first, { epoch: 40_999, secret })
  for (const seconds of [0, 1, EPOCH_SECONDS - 1]) t.equal(advance(first, START + seconds), first)
  t.equal(advance(first, START + EPOCH_SECONDS).epoch, 41_000)
  t.equal(epochAt(START - 1), 40_999)
  t.throws(() => firstSecret(START, Buffer.alloc(31)), RangeError)
})

t.test(
  'the key of an epoch is the same whoever derives it, and is taken for one more',
  async (t) => {
    for (const epochs of [0, 1, 5]) {
      const [current, previous] = ticketKeys(after(epochs))
      const [next, same] = ticketKeys(after(epochs + 1))
      t.same(same, current, 'the current one becomes the previous one')
      t.equal(current.length + previous.length, 160)
      t.equal(new Set([next, current, previous].map((key) => key.toString('hex'))).size, 3)
      t.equal(new Set([current, previous].map((key) => key.toString('hex', 0, 16))).size, 2)
    }
    t.same(advance(after(2), START + 5 * EPOCH_SECONDS), after(5), 'in steps or at once')
  },
)

t.test('HKDF with SHA-256, no salt, and these labels', async (t) => {
  const derive = (from: Buffer, label: string, length: number) =>
    Buffer.from(hkdfSync('sha256', from, '', `datanet session tickets: ${label}`, length))
  const next = derive(secret, 'next secret', 32)
  t.same(after(1).secret, next)
  t.same(ticketKeys(first), [derive(next, 'key', 80), derive(secret, 'key', 80)])
})

t.test('a clock that steps back gets the newest link, not an older one', async (t) => {
  const ahead = after(3)
  for (const seconds of [START, START - 100 * EPOCH_SECONDS, 0]) {
    t.equal(advance(ahead, seconds), ahead)
  }
})

t.test('a link from too long ago is refused instead of counted through', async (t) => {
  t.equal(after(STEPS_MAX).epoch, first.epoch + STEPS_MAX)
  t.throws(() => after(STEPS_MAX + 1), { name: 'RangeError', message: /40999/ })
})

t.test('a login is resumed for no longer than its key is taken, nor than a week', async (t) => {
  t.ok(RESUMPTION_SECONDS <= EPOCH_SECONDS)
  t.ok(RESUMPTION_SECONDS <= 604_800, 'RFC 8446 §4.6.1, RFC 9190 §2.1.2')
})

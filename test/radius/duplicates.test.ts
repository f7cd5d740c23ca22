import t from 'tap'
import { openRequest, sealRequest, type VerifiedPacket } from '../../radius/authenticator.ts'
import { createDuplicates } from '../../radius/duplicates.ts'
import { attribute, octets, secret, strict } from './support.ts'

const source = { address: '192.0.2.1', port: 50_000 }
const limits = { lifetimeMs: 5_000, entriesMax: 100 }
const request = (identifier: number, seed: string, code = 1): VerifiedPacket =>
  openRequest(
    sealRequest(
      { code, identifier, attributes: [attribute(44, seed)], authenticator: octets(16, seed) },
      secret,
    ),
    secret,
    strict,
  )
const first = request(1, 'a')
const reply = Buffer.from('reply')

t.test('D1 RFC 5080 §2.2.2: running is ignored, finished gets the same bytes', async (t) => {
  const table = createDuplicates(limits)
  const seen = table.begin(source, first, 0)
  if (seen.do !== 'run') throw new Error('new')
  t.same(table.begin(source, first, 10), { do: 'ignore' })
  table.finish(seen.entry, reply)
  const again = table.begin(source, request(1, 'a'), 4_999)
  t.equal(again.do === 'resend' && again.reply, reply, 'the very same buffer')
})

t.test('D1 the key: address, port, identifier and code', async (t) => {
  const table = createDuplicates(limits)
  table.begin(source, first, 0)
  const others: [string, { address: string; port: number }, VerifiedPacket][] = [
    ['address', { ...source, address: '192.0.2.2' }, first],
    ['port', { ...source, port: 50_001 }, first],
    ['identifier', source, request(2, 'a')],
    ['code', source, request(1, 'a', 4)],
  ]
  for (const [name, from, packet] of others) {
    t.equal(table.begin(from, packet, 1).do, 'run', name)
  }
  t.equal(table.size, 5)
})

t.test(
  'D2 another authenticator replaces; a late finish of the old one changes nothing',
  async (t) => {
    const table = createDuplicates(limits)
    const old = table.begin(source, first, 0)
    const next = request(1, 'b')
    const now = table.begin(source, next, 1)
    if (old.do !== 'run' || now.do !== 'run') throw new Error('both run')
    t.equal(table.size, 1)
    table.finish(old.entry, reply)
    t.same(table.begin(source, next, 2), { do: 'ignore' })
    table.forget(old.entry)
    t.same(table.begin(source, next, 3), { do: 'ignore' })
    t.equal(table.begin(source, first, 4).do, 'run', 'the old request is a new one again')
  },
)

t.test('D3 lifetime: from arrival, expired entries leave', async (t) => {
  const table = createDuplicates(limits)
  for (let i = 0; i < 50; i++) {
    const seen = table.begin(source, request(i, 'a'), i)
    if (seen.do === 'run') table.finish(seen.entry, reply)
  }
  t.equal(table.begin(source, first, 5_000).do, 'resend', 'begun at 1, ends at 5001')
  t.equal(table.begin(source, first, 5_001).do, 'run')
  table.begin({ ...source, port: 1 }, first, 5_630)
  t.equal(table.size, 2, 'of the fifty only those begun again stay')
  table.begin({ ...source, port: 2 }, first, 99_999)
  t.equal(table.size, 1)
})

t.test('forgotten requests run again', async (t) => {
  const table = createDuplicates(limits)
  const seen = table.begin(source, first, 0)
  if (seen.do !== 'run') throw new Error('new')
  table.forget(seen.entry)
  t.equal(table.size, 0)
  t.equal(table.begin(source, first, 1).do, 'run')
})

t.test('a flood stays within the limit, oldest out first', async (t) => {
  const table = createDuplicates(limits)
  for (let port = 1; port <= 10_000; port++) {
    table.begin({ ...source, port }, first, 0)
    if (table.size > 100) t.fail(`${table.size} entries`)
  }
  t.equal(table.begin({ ...source, port: 10_000 }, first, 1).do, 'ignore')
  t.equal(table.begin({ ...source, port: 9_920 }, first, 1).do, 'ignore', 'seven eighths stay')
  t.equal(table.begin({ ...source, port: 9_900 }, first, 1).do, 'run')
})

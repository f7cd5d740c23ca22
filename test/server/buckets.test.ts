import t from 'tap'
import { createBuckets, limitName } from '../../server/buckets.ts'

t.test('a bucket gives its burst at once, then its rate', async (t) => {
  const buckets = createBuckets({ burst: 3, perSecond: 2, entriesMax: 10 })
  t.same(
    [1, 2, 3, 4].map(() => buckets.take('a', 1, 1_000)),
    [0, 0, 0, 1],
  )
  t.equal(buckets.take('b', 1, 1_000), 0, 'another name has its own')
  t.equal(buckets.take('a', 1, 1_499), 1, 'half a second gives one')
  t.equal(buckets.take('a', 1, 1_500), 0)
  t.equal(buckets.take('a', 3, 1_500), 2, 'the wait is told in whole seconds')
  t.equal(buckets.take('a', 3, 60_000), 0, 'never more than the burst')
  t.equal(buckets.take('a', 1, 60_000), 1)
  t.ok(buckets.take('c', 4, 0) > 0, 'more than the burst is never given')
})

t.test('a clock set back makes nobody wait for the old time', async (t) => {
  const buckets = createBuckets({ burst: 2, perSecond: 1, entriesMax: 10 })
  t.equal(buckets.take('a', 1, 1_000_000), 0)
  t.equal(buckets.take('a', 1, 0), 0)
  t.equal(buckets.take('a', 1, 0), 1)
  t.equal(buckets.take('a', 1, 1_000), 0)
})

t.test('who came least recently is forgotten first', async (t) => {
  const buckets = createBuckets({ burst: 1, perSecond: 1, entriesMax: 2 })
  for (const name of ['a', 'b', 'c']) t.equal(buckets.take(name, 1, 0), 0)
  t.equal(buckets.take('c', 1, 0), 1, 'still known')
  t.equal(buckets.take('a', 1, 0), 0, 'forgotten')
})

t.test('an address is limited by what one household has of its kind', async (t) => {
  const names: [ip: string, name: string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
  ]
  for (const [ip, name] of names) t.equal(limitName(ip), name, ip)
})

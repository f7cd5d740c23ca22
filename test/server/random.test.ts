import t from 'tap'
import { createRandomPool } from '../../server/random.ts'

t.test('every call gives octets of its own, across pools and beyond their size', async (t) => {
  const random = createRandomPool()
  const seen = new Set<string>()
  const taken: { bytes: Buffer; text: string }[] = []
  // 16 octets do not divide evenly beside 3: pools end in the middle of both.
  for (let i = 0; i < 2_000; i++) {
    for (const length of [16, 3]) {
      const bytes = random(length)
      if (bytes.length !== length) t.fail(`${bytes.length} octets, not ${length}`)
      taken.push({ bytes, text: bytes.toString('hex') })
    }
  }
  for (const { bytes, text } of taken) {
    if (bytes.length === 16) seen.add(text)
    if (bytes.toString('hex') !== text) t.fail('a later call wrote over it')
  }
  t.equal(seen.size, 2_000)
  t.equal(random(0).length, 0)
  t.equal(random(5_000).length, 5_000)
})

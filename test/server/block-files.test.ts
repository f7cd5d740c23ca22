// Blocks on disk: what is read is what was written; damage is told; a write that fails leaves what
// was there.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { NO_ROOT } from '../../chain/payplace/block.ts'
import { NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import { indexBlock } from '../../chain/payplace/known.ts'
import { type BlockFacts, BlockFileError, openBlockFiles } from '../../server/block-files.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const folder = mkdtempSync(join(tmpdir(), 'datanet-blocks-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const seed = () => 7

const entries = (...amounts: number[]) =>
  packEntries(amounts.map((amount, n) => ({ consumer: addressOf(n + 1), amount: BigInt(amount) })))
const merchants = [
  { id: 1, entries: NO_ENTRIES },
  { id: 2, entries: entries(5, 6, 7) },
  { id: 9, entries: entries(1) },
]
const { root } = indexBlock(3, merchants, 1)
const facts = (k: number, period: number): BlockFacts => ({
  header: { operator: 3, k, period, prevRoot: NO_ROOT, root, tau: 1_234 },
  snapshot: { number: 17, hash: Buffer.alloc(32, 9) },
  ...{ journal: 40, journalAtMs: 1_234_567, changed: [2, 9], sources: Buffer.alloc(97, 1) },
  waiting: new Map([
    [addressOf(77), entries(9, 9)],
    [addressOf(78), entries(1)],
  ]),
})

t.test('a block comes back as it was', async (t) => {
  const files = openBlockFiles(join(folder, 'a'), seed)
  t.same(files.list(), [])
  t.equal(files.open({ k: 4, period: 50 }), undefined)
  files.write(facts(4, 50), merchants, 3)
  const found = files.open({ k: 4, period: 50 })
  if (found === undefined) throw new Error('no block')
  t.teardown(() => found.close())
  const { header, snapshot, journal, journalAtMs, changed, sources, waiting } = found
  const read = { header, snapshot, journal, journalAtMs, changed, sources, waiting }
  t.same(read, facts(4, 50))
  t.same([...found.merchants()], merchants)
  t.same([...found.merchants()], merchants, 'as often as asked')
  t.same(found.entriesOf(2), merchants[1]?.entries)
  t.same(found.entriesOf(1), NO_ENTRIES)
  t.equal(found.entriesOf(3), undefined)
  t.equal(found.totals.of(addressOf(1)), 6n)
  t.same(readdirSync(join(folder, 'a')), ['4-50.block'], 'nothing else is left there')
  const reading = found.merchants()
  reading.next()
  found.close()
  t.throws(() => reading.next(), BlockFileError, 'nothing is read from a closed file')
  t.throws(() => found.entriesOf(2), BlockFileError)
})

t.test('what is sent of a block is the same', async (t) => {
  const files = openBlockFiles(join(folder, 's'), seed)
  t.equal(files.openToSend({ k: 4, period: 50 }), undefined)
  files.write(facts(4, 50), merchants, 3)
  const found = files.openToSend({ k: 4, period: 50 })
  if (found === undefined) throw new Error('no block')
  const { header, changed, places } = found
  t.same({ header, changed }, { header: facts(4, 50).header, changed: [2, 9] })
  t.equal(places.size, 3)
  t.same([...found.merchants()], merchants)
  for (const { id, entries: its } of merchants) t.same(found.entriesOf(id), its)
  t.equal(found.entriesOf(3), undefined)
  found.close()
  t.throws(() => found.entriesOf(2), BlockFileError)
})

t.test('several of one number, by period; old ones go with their answers', async (t) => {
  const files = openBlockFiles(join(folder, 'b'), seed)
  for (const [k, period] of [
    [5, 61],
    [10, 70],
    [5, 60],
    [4, 50],
  ] as const) {
    files.write(facts(k, period), merchants, 3)
  }
  files.addAnswer({ k: 4, period: 50 }, Buffer.alloc(156, 1))
  t.same(
    files.list().map(({ k, period }) => [k, period]),
    [
      [4, 50],
      [5, 60],
      [5, 61],
      [10, 70],
    ],
  )
  files.forget(({ k }) => k < 5)
  t.same(readdirSync(join(folder, 'b')).sort(), ['10-70.block', '5-60.block', '5-61.block'])
})

t.test('answers are kept, a torn last one is not given', async (t) => {
  const files = openBlockFiles(join(folder, 'c'), seed)
  const name = { k: 4, period: 50 }
  t.same(files.answers(name), [])
  files.addAnswer(name, Buffer.alloc(156, 1))
  files.addAnswer(name, Buffer.alloc(156, 2))
  files.addAnswer(name, Buffer.alloc(100, 3))
  t.same(files.answers(name), [Buffer.alloc(156, 1), Buffer.alloc(156, 2)])
  files.addAnswer(name, Buffer.alloc(156, 4))
  const kept = [1, 2, 4].map((byte) => Buffer.alloc(156, byte))
  t.same(files.answers(name), kept, 'and hides none that comes after it')
})

t.test('a damaged file is told from none', async (t) => {
  const files = openBlockFiles(join(folder, 'd'), seed)
  files.write(facts(4, 50), merchants, 3)
  const path = join(folder, 'd', '4-50.block')
  const whole = readFileSync(path)
  const flipped = Buffer.from(whole)
  const at = whole.length - 1
  flipped[at] = (flipped[at] ?? 0) ^ 1
  for (const bytes of [flipped, whole.subarray(0, -1), Buffer.alloc(0), Buffer.from('nonsense')]) {
    writeFileSync(path, bytes)
    t.throws(() => files.open({ k: 4, period: 50 }), BlockFileError, `${bytes.length} bytes`)
  }
  writeFileSync(path, flipped)
  const sent = files.openToSend({ k: 4, period: 50 })
  t.same([...(sent?.merchants() ?? [])].length, 3, 'what is only sent is not hashed')
  sent?.close()
})

t.test('a write that fails leaves what was there', async (t) => {
  const files = openBlockFiles(join(folder, 'e'), seed)
  files.write(facts(4, 50), merchants, 3)
  const before = readFileSync(join(folder, 'e', '4-50.block'))
  t.throws(() => files.write(facts(4, 50), merchants.slice(1), 3), RangeError)
  t.same(readFileSync(join(folder, 'e', '4-50.block')), before)
  t.same(readdirSync(join(folder, 'e')), ['4-50.block'], 'and takes no room')
  writeFileSync(join(folder, 'e', '4-49.block.new'), 'the process was killed')
  files.forget(() => false)
  t.same(readdirSync(join(folder, 'e')), ['4-50.block'], 'nor does what was half written')
  files.write({ ...facts(4, 50), journal: 41 }, merchants, 3)
  t.equal(files.open({ k: 4, period: 50 })?.journal, 41, 'and the next one succeeds')
})

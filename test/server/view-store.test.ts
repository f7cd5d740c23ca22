// What the notary has read of the chain, over a restart of it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openViewStore } from '../../server/view-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'datanet-view-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'view.sqlite')
const bytes = (text: string) => new TextEncoder().encode(text)

function contents(identity: string) {
  const store = openViewStore(path, identity)
  const found = Object.fromEntries(
    [...store.load()].map(([name, value]) => [name, Buffer.from(value).toString()]),
  )
  store.close()
  return found
}

t.test('entries stay, change and go; another contract begins empty', async (t) => {
  const store = openViewStore(path, '1|0xaa|3')
  store.write(
    [
      ['a', bytes('1')],
      ['b', bytes('2')],
      ['c', bytes('3')],
    ],
    false,
  )
  store.write(
    [
      ['a', undefined],
      ['b', bytes('4')],
    ],
    false,
  )
  store.close()
  t.same(contents('1|0xaa|3'), { b: '4', c: '3' })
  const again = openViewStore(path, '1|0xaa|3')
  again.write([['d', bytes('5')]], true)
  again.close()
  t.same(contents('1|0xaa|3'), { d: '5' })
  t.same(contents('1|0xaa|4'), {})
  t.same(contents('1|0xaa|3'), {}, 'which emptied it')
})

t.test('a write that fails leaves what was there', async (t) => {
  const store = openViewStore(path, 'x')
  store.write([['a', bytes('1')]], false)
  const broken = (function* () {
    yield ['a', undefined] as const
    throw new Error('broken')
  })()
  t.throws(() => store.write(broken, true), /broken/)
  store.close()
  t.same(contents('x'), { a: '1' })
})

t.test('a damaged file is made anew', async (t) => {
  const store = openViewStore(path, 'x')
  const entries = Array.from({ length: 400 }, (_, n) => [`${n}`, new Uint8Array(64)] as const)
  store.write(entries, true)
  store.close()
  const whole = readFileSync(path)
  const torn = Buffer.from(whole).fill(0x41, 8_192, 16_384)
  for (const [name, damaged] of [
    ['no database', Buffer.alloc(8_192, 0x41)],
    ['pages lost', torn],
    ['cut off', whole.subarray(0, 8_192)],
  ] as const) {
    writeFileSync(path, damaged)
    const again = openViewStore(path, 'x')
    t.same([...again.load()], [], name)
    again.write([['a', bytes('1')]], false)
    again.close()
    t.same(contents('x'), { a: '1' }, `${name}: and serves as before`)
  }
  t.throws(() => openViewStore(join(folder, 'nowhere', 'view.sqlite'), 'x'), 'no other failure is')
})

// Names of devices: one spelling, safe in file names, certificates and key derivation.

import t from 'tap'
import { parseName } from '../../device/name.ts'

t.test('names that are safe in files, certificates and key derivation', async (t) => {
  for (const name of ['alice', 'a', '1', 'bob-2_laptop.home', 'Zoë', '携帯', 'x'.repeat(64)]) {
    t.equal(parseName(name), name.normalize('NFC'), name)
  }
  t.equal(parseName('Zoe\u0308'), 'Zo\u00eb', 'two spellings of one name are one name')
})

t.test('names that are not', async (t) => {
  const bad = ['', '.', '..', '.hidden', '-x', 'a/b', 'a b', 'a|b', 'a"b', "a'b", 'a\n', 'a\0']
  for (const name of [...bad, '../x', 'é'.repeat(33), 'x'.repeat(65), '🙂']) {
    t.throws(() => parseName(name), { code: 'usage' }, JSON.stringify(name))
  }
})

// Generations on a real directory: what counts as damage, what is set aside under which name, and
// that nothing readable is ever taken for nothing.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { type LoadedSnapshot, readNewest, writeGeneration } from '../../chain/snapshot.ts'

const state = gzipSync('{"block":1}')
const torn = state.subarray(0, state.length - 4)
const altered = Buffer.from(state)
altered.writeUInt8(altered.readUInt8(altered.length - 6) ^ 1, altered.length - 6)

function directoryWith(t: Test, files: Readonly<Record<string, Uint8Array>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-snapshot-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(directory, name), bytes)
  return directory
}

const read = (directory: string): Promise<LoadedSnapshot | undefined> =>
  readNewest(directory, () => undefined)

t.test('product §12: bytes that are no string of JSON are loaded all the same', async (t) => {
  // A state above V8's limit for strings fails in toString('utf8'); 0xff is a quicker way there.
  const bytes = Buffer.alloc(100_000, 0xff)
  const directory = directoryWith(t, { 'state.3.json.gz': gzipSync(bytes) })
  const loaded = await read(directory)
  t.match(loaded, { generation: 3, newest: 3, gzipBytes: gzipSync(bytes).length })
  t.ok(readFileSync(loaded?.file ?? '').equals(bytes))
  t.strictSame(readdirSync(directory).sort(), ['state.3.json.gz', 'state.loading.json'])
})

t.test('each damaged generation keeps its own name, and the next one is named above', async (t) => {
  const files = { 'state.4.json.gz': state, 'state.5.json.gz': torn, 'state.6.json.gz': altered }
  const directory = directoryWith(t, files)
  t.match(await read(directory), { generation: 4, newest: 6 })
  t.ok(readFileSync(join(directory, 'damaged.5.json.gz')).equals(torn))
  t.ok(readFileSync(join(directory, 'damaged.6.json.gz')).equals(altered))
  t.match(await read(directory), { generation: 4, newest: 6 }, 'also at the next start')
  await writeGeneration(directory, 7, state)
  t.match(await read(directory), { generation: 7, newest: 7 })
})

t.test('damaged ones without a readable one: refused at every start, never empty', async (t) => {
  for (const bytes of [torn, altered, Buffer.alloc(0), Buffer.from('no gzip')]) {
    const directory = directoryWith(t, { 'state.1.json.gz': bytes, 'state.2.json.gz': bytes })
    for (const start of ['first', 'second', 'third']) {
      const said = { code: 'snapshot-unreadable', message: /move the directory away/ }
      await t.rejects(read(directory), said, `${start} start, ${bytes.length} bytes`)
    }
    const names = readdirSync(directory).filter((name) => name.startsWith('damaged.'))
    t.strictSame(names.sort(), ['damaged.1.json.gz', 'damaged.2.json.gz'])
  }
  const before = directoryWith(t, { 'damaged.json.gz': torn })
  await t.rejects(read(before), { code: 'snapshot-unreadable' }, 'a name without a generation')
  t.equal(await read(directoryWith(t, {})), undefined, 'nothing there at all is an empty chain')
})

t.test('what has been set aside is never overwritten', async (t) => {
  const directory = directoryWith(t, { 'state.2.json.gz': torn, 'damaged.2.json.gz': altered })
  await t.rejects(read(directory), { code: 'snapshot-unreadable', message: /damaged\.2/ })
  t.ok(readFileSync(join(directory, 'damaged.2.json.gz')).equals(altered))
})

t.test('an error of this machine is no damage: nothing is set aside for it', async (t) => {
  const directory = directoryWith(t, { 'state.1.json.gz': state })
  await mkdir(join(directory, 'state.2.json.gz'))
  await t.rejects(read(directory), { code: 'snapshot-unreadable', message: /EISDIR/ })
  t.notOk(readdirSync(directory).includes('state.loading.json'), 'no half of a state stays')
  rmSync(join(directory, 'state.2.json.gz'), { recursive: true })
  await mkdir(join(directory, 'state.loading.json'))
  await t.rejects(read(directory), { code: 'snapshot-unreadable' }, 'nowhere to unpack to')
  t.strictSame(readdirSync(directory).sort(), ['state.1.json.gz', 'state.loading.json'])
})

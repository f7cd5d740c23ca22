// The saver against a node of the test's own: what a restart loses, what must not overlap, and what
// is said when the state has grown too large.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { ChainError } from '../../chain/error.ts'
import { createSaver } from '../../chain/saver.ts'
import type { LoadedSnapshot } from '../../chain/snapshot.ts'

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20))

interface Node {
  block: number
  /** What is in its state; the dump holds it. */
  content: string
  dump?: () => Promise<unknown>
}

function rig(t: Test, options: { loaded?: LoadedSnapshot; durable?: number; bytesMax?: number }) {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-saver-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const node: Node = { block: 5, content: 'five' }
  const lines: [string, string][] = []
  let restarting = false
  const request = async (method: string): Promise<unknown> => {
    if (method === 'eth_blockNumber') return `0x${node.block.toString(16)}`
    return node.dump?.() ?? `0x${gzipSync(node.content).toString('hex')}`
  }
  const rpc = { host: '', request, batch: async () => [], close: () => undefined }
  const log = (event: object, text: string): void => {
    lines.push([String((event as { event?: unknown }).event), text])
  }
  const saver = createSaver(
    {
      ...{ directory, rpc, log, restarting: () => restarting, openFile: undefined },
      dumpBytesMax: options.bytesMax ?? 1_000_000,
    },
    options.loaded,
    options.durable ?? -1,
  )
  t.teardown(async () => {
    await saver.end()
    saver.close()
  })
  const written = (generation: number): Buffer =>
    readFileSync(join(directory, `state.${generation}.json.gz`))
  const setRestarting = (is: boolean): void => {
    restarting = is
  }
  return { saver, node, lines, written, setRestarting }
}

const loadedFrom = (generation: number, newest = generation): LoadedSnapshot => ({
  ...{ generation, newest, file: '', gzipBytes: 10 },
})

t.test('a restart waits for the snapshot under way', async (t) => {
  const { saver, node } = rig(t, {})
  const order: string[] = []
  const dumped = Promise.withResolvers<void>()
  node.dump = async () => {
    order.push('dump')
    await dumped.promise
    order.push('dumped')
    return `0x${gzipSync('x').toString('hex')}`
  }
  const saving = saver.save()
  const relaunched = saver.relaunch(async () => {
    order.push('launch')
    return loadedFrom(1)
  })
  await settle()
  dumped.resolve()
  await Promise.all([saving, relaunched])
  t.strictSame(order, ['dump', 'dumped', 'launch'])
})

t.test('a change that a restart has lost is reported, never called durable', async (t) => {
  const { saver, node } = rig(t, {})
  await saver.save()
  node.dump = () => Promise.reject(new ChainError('chain-unreachable', 'gone'))
  const change = saver.changed()
  const told = t.rejects(change, { code: 'snapshot-failed', message: /restarted.*try again/ })
  await settle()
  await saver.relaunch(async () => loadedFrom(1))
  await told
  delete node.dump
  await saver.changed()
  t.equal(saver.durableBlock(), 5, 'and the next change is saved')
})

t.test(
  'a durable block is what the snapshot holds, not what the new child has mined',
  async (t) => {
    const { saver, node } = rig(t, {})
    await saver.save()
    node.block = 6
    await saver.relaunch(async () => loadedFrom(1))
    t.equal(saver.durableBlock(), 5)
    node.block = 3
    await saver.relaunch(async () => loadedFrom(0, 1))
    t.equal(saver.durableBlock(), 3, 'an older generation had to do')
  },
)

t.test(
  'after a restart the state is saved again, though the block number is the same',
  async (t) => {
    const { saver, node, written } = rig(t, {})
    await saver.save()
    await saver.save()
    t.throws(() => written(2), { code: 'ENOENT' }, 'nothing has happened')
    node.content = 'another five'
    await saver.relaunch(async () => loadedFrom(1))
    await saver.save()
    t.ok(written(2).equals(gzipSync('another five')))
  },
)

t.test('a generation is named above all that were damaged', async (t) => {
  const { saver, written } = rig(t, { loaded: loadedFrom(4, 9), durable: 4 })
  await saver.save()
  t.ok(written(10).length > 0)
})

t.test('too large: one line with its own code, and no more of strangers', async (t) => {
  const { saver, node, lines } = rig(t, { bytesMax: 1_000 })
  await saver.save()
  t.equal(saver.nearlyFull(), false)
  node.block = 6
  node.dump = async () => `0x1f8b${'0'.repeat(500)}`
  await saver.save()
  t.equal(saver.nearlyFull(), true, 'above half')
  node.block = 7
  await saver.save()
  t.strictSame(
    lines.map(([event]) => event),
    ['chain-nearly-full'],
    'warned once',
  )
  node.block = 8
  node.dump = () => Promise.reject(new ChainError('answer-too-large', 'above 1000 bytes'))
  saver.wake()
  await settle()
  t.equal(lines[1]?.[0], 'chain-snapshot-failed')
  t.match(lines[1]?.[1], /above 1000 bytes/)
  t.equal(saver.durableBlock(), 7)
  const large = rig(t, {
    loaded: { ...loadedFrom(1), gzipBytes: 300 },
    durable: 1,
    bytesMax: 1_000,
  })
  t.equal(large.saver.nearlyFull(), true, 'known from the file it starts from')
})

t.test('an unreachable node is told, unless it is being restarted', async (t) => {
  const away = () => Promise.reject(new ChainError('chain-unreachable', 'gone'))
  const restarted = rig(t, {})
  const broken = rig(t, {})
  restarted.setRestarting(true)
  for (const { node, saver } of [restarted, broken]) {
    node.dump = away
    saver.wake()
  }
  await settle()
  t.strictSame(broken.lines, [], 'perhaps the end of the child is heard in a moment')
  await new Promise((resolve) => setTimeout(resolve, 400))
  t.strictSame(
    broken.lines.map(([event]) => event),
    ['chain-snapshot-failed'],
  )
  t.strictSame(restarted.lines, [])
})

t.test('at the end nobody keeps waiting', async (t) => {
  const { saver, node } = rig(t, {})
  node.dump = () => Promise.reject(new ChainError('chain-unreachable', 'gone'))
  const told = t.rejects(saver.changed(), { code: 'stopped' })
  await saver.end()
  saver.close()
  await told
  await t.rejects(saver.changed(), { code: 'stopped' })
})

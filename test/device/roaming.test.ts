// Changing networks: which one, with whose block, when a scan is worth it, and the way back when
// the chosen one is gone.

import t from 'tap'
import type { Heard } from '../../device/networks.ts'
import { createRoaming } from '../../device/roaming.ts'
import type { Block, Link } from '../../device/wpa-control.ts'
import { type Answer, sessionJson, startOperator } from './payer-double.ts'

const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'] as const
const LINK: Link = {
  ...{ isUp: true, isEap: true, isWifi: true, ssid: 'Corner', bssid: A },
  ...{ networkId: '0', idText: '' },
}
const heard = (bssid: string, ssid: string): Heard => ({ bssid, ssid, signal: -50 })
const prices = (perMegabyte: string) => ({ ...(sessionJson()['terms'] as object), perMegabyte })
const listOf = (ssid: string, bssid: string, perMegabyte: string): Answer => {
  const accessPoints = [{ ssid, bssids: [bssid], prices: prices(perMegabyte), reliability: 1 }]
  return { status: 200, body: { accessPoints } }
}

type Teardown = { teardown(f: () => Promise<void>): void }

async function rig(t: Teardown, o: { second?: Answer; blocks?: readonly Block[] } = {}) {
  const calls: string[] = []
  let nowMs = 0
  const first = await startOperator(t, () => listOf('Corner', A, '100'))
  const second = await startOperator(t, () => o.second ?? listOf('Other', B, '50'))
  const blocks = o.blocks ?? [
    { networkId: '0', idText: '' },
    { networkId: '4', idText: 'datanet:2' },
  ]
  const roaming = createRoaming({
    operators: [
      { operatorId: 1, operatorUrl: first.url },
      { operatorId: 2, operatorUrl: second.url },
    ],
    control: {
      scan: async () => void calls.push('scan'),
      heard: async () => [heard(A, 'Corner'), heard(B, 'Other')],
      blocks: async () => [...blocks],
      join: async (id, { ssid, bssid }) => void calls.push(`join ${id} ${ssid} ${bssid}`),
      restore: async () => void calls.push('restore'),
    },
    now: () => nowMs,
    pause: async (ms) => {
      nowMs += ms
    },
  })
  const pass = (ms: number): void => {
    nowMs += ms
  }
  return { roaming, calls, pass, asked: () => first.sent.length }
}

t.test('a clearly better network of another operator, with that one’s block', async (t) => {
  const { roaming, calls, pass, asked } = await rig(t)
  await roaming.consider(LINK)
  t.same(calls, ['scan', `join 4 Other ${B}`])
  await roaming.consider({ ...LINK, bssid: B })
  t.equal(asked(), 1, 'not again so soon')
  pass(300_000)
  await roaming.consider({ ...LINK, bssid: B })
  t.equal(asked(), 2)
  t.same(calls, ['scan', `join 4 Other ${B}`, 'scan'], 'it is the best now')
})

const NOT_WORTH: readonly [name: string, link: Link | undefined][] = [
  ['no link', undefined],
  ['a link that is down', { ...LINK, isUp: false }],
  ['a cable', { ...LINK, isWifi: false }],
  ['the person’s own network', { ...LINK, isEap: false }],
]

t.test('what is never asked about or scanned for', async (t) => {
  for (const [name, link] of NOT_WORTH) {
    const { roaming, calls, asked } = await rig(t)
    await roaming.consider(link)
    t.same([calls, asked()], [[], 0], name)
    t.equal(await roaming.escape(link), false, name)
  }
})

t.test('an operator that is down or publishes nothing leaves the others', async (t) => {
  for (const second of ['hang up', { status: 404, body: {} }] as const) {
    const { roaming, calls } = await rig(t, { second })
    await roaming.consider(LINK)
    t.same(calls, ['scan'])
  }
})

t.test('bad service: the best other one, and not back for ten minutes', async (t) => {
  const { roaming, calls, pass } = await rig(t, { second: listOf('Other', B, '500') })
  t.equal(await roaming.escape(LINK), false, 'nothing is known yet')
  await roaming.consider(LINK)
  t.same(calls.splice(0), ['scan'], 'this one is cheaper')
  t.equal(await roaming.escape(LINK), true)
  t.same(calls.splice(0), ['scan', `join 4 Other ${B}`])
  t.equal(await roaming.escape({ ...LINK, bssid: B }), false, 'both were bad')
  pass(600_000)
  t.equal(await roaming.escape({ ...LINK, bssid: B }), true)
  t.same(calls, ['scan', 'scan', `join 0 Corner ${A}`])
})

t.test('without a block for its operator nothing is joined', async (t) => {
  const { roaming, calls } = await rig(t, { blocks: [{ networkId: '0', idText: '' }] })
  await roaming.consider(LINK)
  t.same(calls, ['scan'])
})

t.test('the network it chose is gone: any of the profile will do', async (t) => {
  const { roaming, calls, pass } = await rig(t)
  const down = { ...LINK, isUp: false }
  await roaming.recover(down)
  pass(60_000)
  await roaming.recover(down)
  t.same(calls, [], 'it chose none')
  await roaming.consider(LINK)
  calls.splice(0)
  await roaming.recover(down)
  pass(19_000)
  await roaming.recover(down)
  await roaming.recover(LINK)
  await roaming.recover(down)
  pass(19_000)
  await roaming.recover(down)
  t.same(calls, [], 'it came in time')
  pass(1_000)
  await roaming.recover(down)
  await roaming.recover(down)
  t.same(calls, ['restore'])
})

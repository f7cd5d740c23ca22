// Which network a device joins: what operators publish against what a scan hears; and what
// wpa_supplicant prints, as values.

import t from 'tap'
import {
  blockOperator,
  blockText,
  caFileOf,
  linkOperator,
  operatorCaFile,
} from '../../device/network-block.ts'
import {
  type AccessPoint,
  betterThan,
  type Heard,
  ranked,
  readAccessPoints,
  readScan,
} from '../../device/networks.ts'
import { readBlocks, readEvent, readStatus } from '../../device/wpa-control.ts'

const [A, B, C] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'] as const
const prices = {
  ...{ perMinute: '10', perMegabyte: '100', intervalSeconds: 60, intervalMegabytes: 10 },
  ...{ missedMax: 2, graceSeconds: 0 },
}

t.test('GET /v1/access-points', async (t) => {
  const read = (entry: object) => readAccessPoints({ accessPoints: [entry] }, 3)
  t.same(read({ ssid: 'Corner', bssids: ['02-00-00-00-00-0A'], prices, reliability: 0.5 }), [
    {
      ...{ operatorId: 3, ssid: 'Corner', bssids: [A], perMinute: 10, perMegabyte: 100 },
      reliability: 0.5,
    },
  ])
  const flat = { ...prices, flat: { price: '600', windowSeconds: 3_600 } }
  t.match(read({ ssid: 'é', prices: flat }), [{ bssids: [], perMinute: 20, reliability: 1 }])
  for (const odd of [1.1, -1, 'good', null]) {
    t.match(read({ ssid: 'a', prices, reliability: odd }), [{ reliability: 1 }], String(odd))
  }
  const refused: object[] = [
    {},
    { ssid: 'a' },
    { ssid: 1, prices },
    { ssid: 'é'.repeat(17), prices },
  ]
  for (const entry of [...refused, { ssid: 'a', prices: { ...prices, perMinute: '-1' } }]) {
    t.same(read(entry), [], JSON.stringify(entry))
  }
  for (const body of [null, 'x', {}, { accessPoints: 1 }]) t.same(readAccessPoints(body, 1), [])
})

const point = (
  bssid: string,
  perMegabyte: number,
  more: Partial<AccessPoint> = {},
): AccessPoint => ({
  ...{ operatorId: 1, ssid: 'Corner', bssids: [bssid], perMinute: 0, perMegabyte, reliability: 1 },
  ...more,
})
const heard = (bssid: string, signal = -50, ssid = 'Corner'): Heard => ({ bssid, signal, ssid })
const order = (
  known: readonly AccessPoint[],
  networks: readonly Heard[],
  avoid: readonly string[] = [],
): string[] => ranked(known, networks, new Set(avoid)).map(({ bssid }) => bssid)

t.test('the best first: by price and reliability, then by signal', async (t) => {
  const both = [heard(A), heard(B)]
  t.same(order([point(A, 100), point(B, 90)], both), [B, A])
  t.same(order([point(A, 100), point(B, 90, { reliability: 0.8 })], both), [A, B], 'less reliable')
  t.same(order([point(A, 100), point(B, 90, { reliability: 0 })], both), [A, B], 'never zero')
  t.same(order([point(A, 100), point(B, 90, { perMinute: 101 })], both), [A, B], 'by the minute')
  t.same(order([point(A, 1), point(B, 1)], [heard(A, -70), heard(B, -60)]), [B, A], 'the louder')
  t.same(order([point(A, 100), point(B, 90)], both, [B]), [A], 'not one to avoid')
  t.same(order([point(A, 100), point(B, 90)], [heard(A), heard(B, -83)]), [A], 'too faint')
  t.same(order([point(A, 100)], both), [A], 'only what an operator lists')
  t.same(order([point(A, 100)], [heard(A, -50, 'Other')]), [], 'its name counts, too')
  t.same(order([point('', 100, { bssids: [] })], both), [A, B], 'any of an SSID')
  const other = ranked([point(A, 9), point(B, 5, { operatorId: 2 })], both, new Set())
  t.match(other, [
    { bssid: B, operatorId: 2 },
    { bssid: A, operatorId: 1 },
  ])
})

t.test('leaving a network that is good takes a fifth', async (t) => {
  const choices = (costHere: number, costThere: number) =>
    ranked([point(A, costHere), point(B, costThere)], [heard(A), heard(B)], new Set())
  t.equal(betterThan(A, choices(100, 81)), undefined)
  t.equal(betterThan(A, choices(100, 79))?.bssid, B)
  t.equal(betterThan(A, choices(79, 100)), undefined, 'the best already')
  t.equal(betterThan(C, choices(100, 79)), undefined, 'a network nobody published stays')
  t.equal(betterThan(A, []), undefined)
})

t.test('scan_results: only networks that ask for EAP', async (t) => {
  const text = `bssid / frequency / signal level / flags / ssid
${A}\t2412\t-43\t[WPA2-EAP-CCMP][ESS]\tCorner
${B}\t2412\t-30\t[WPA2-PSK-CCMP][ESS]\tHome
nonsense
${C}\t5180\t-80\t[WPA2-EAP-SHA256-CCMP][ESS]\tThe other, café`
  t.same(readScan(text), [heard(A, -43), heard(C, -80, 'The other, café')])
  t.same(readScan(''), [])
})

t.test('status: a link one can send over', async (t) => {
  const wifi = `bssid=${A}
freq=2412
ssid=a=b
id=2
id_str=datanet:7
key_mgmt=WPA2-EAP-SHA256
wpa_state=COMPLETED`
  t.same(readStatus(wifi), {
    ...{
      isUp: true,
      isEap: true,
      isWifi: true,
      ssid: 'a=b',
      bssid: A,
      networkId: '2',
      idText: 'datanet:7',
    },
  })
  t.match(readStatus('wpa_state=SCANNING'), { isUp: false, isEap: false, isWifi: false, bssid: '' })
  const cable = 'freq=0\nkey_mgmt=IEEE 802.1X (no WPA)\nwpa_state=COMPLETED'
  t.match(readStatus(cable), { isUp: true, isEap: true, isWifi: false })
  const KEYS: [string, boolean][] = [
    ['IEEE 802.1X (no WPA)', true],
    ['WPA2/IEEE 802.1X/EAP', true],
    ['WPA3-EAP-SUITE-B-192', true],
    ['WPA2-PSK', false],
    ['SAE', false],
    ['NONE', false],
  ]
  for (const [method, isEap] of KEYS) t.equal(readStatus(`key_mgmt=${method}`).isEap, isEap, method)
})

t.test('events, and the numbers of the blocks', async (t) => {
  const EVENTS: [string, string[]][] = [
    [`<3>CTRL-EVENT-CONNECTED - Connection to ${A} completed [id=0 id_str=]`, ['connected']],
    [`<3>CTRL-EVENT-DISCONNECTED bssid=${A} reason=2`, ['disconnected']],
    ['<3>CTRL-EVENT-EAP-FAILURE EAP authentication failed', ['disconnected']],
    ['<3>CTRL-EVENT-SCAN-RESULTS ', ['scanned']],
    ['<3>CTRL-EVENT-TERMINATING ', ['lost']],
    ['<3>CTRL-EVENT-BSS-ADDED 0 02:00:00:00:00:0a', []],
    ['> ', []],
  ]
  for (const [line, events] of EVENTS) t.same(readEvent(line), events, line)
  const list = `network id / ssid / bssid / flags\n0\tany\tany\t[CURRENT]\n12\tCorner\t${A}\t\n`
  t.same(readBlocks(list), ['0', '12'])
})

t.test('a network block names its operator', async (t) => {
  const block = 'network={\n\tssid="a"\n}\n'
  t.equal(blockOperator(block), undefined)
  t.equal(caFileOf(block), 'operator-ca.pem')
  const marked = blockText(block, 7)
  t.equal(marked, 'network={\n\tssid="a"\n\tid_str="datanet:7"\n}\n')
  t.equal(blockOperator(marked), 7)
  t.equal(caFileOf(marked), operatorCaFile(7))
  const LINKS: [string, number | undefined][] = [
    ['datanet:7', 7],
    ['datanet:07', undefined],
    ['datanet:7x', undefined],
    ['home', undefined],
    ['', undefined],
  ]
  for (const [text, operatorId] of LINKS) t.equal(linkOperator(text), operatorId, text)
})

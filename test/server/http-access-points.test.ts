import t from 'tap'
import type { NasHistory, Storage } from '../../accounting/storage.ts'
import { parseConfig } from '../../config/parse.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { buildRuntime } from '../../server/runtime.ts'
import { addressOf, certificate, rig } from './http-rig.ts'
import { metering } from './metering-rig.ts'

const secret = 's'.repeat(24)
const text = `operator: { name: Corner Wi-Fi }
clients:
  - { name: hidden, ipaddr: 192.0.2.1, secret: ${secret}, tariff: day }
  - { name: lobby, ipaddr: 192.0.2.2, secret: ${secret}, tariff: day, ssid: Corner,
      bssids: ["02:00:00:00:00:01"], location: { lat: 40.44, lon: -79.94 } }
  - { name: roof, ipaddr: 192.0.2.3, secret: ${secret}, tariff: night, ssid: Corner Roof,
      merchant: "0x${'bb'.repeat(20)}", location: { lat: 40.45, lon: -79.94 } }
  - { name: van, ipaddr: 192.0.2.4, secret: ${secret}, tariff: night, ssid: Van }
tariffs:
  day: { per_minute: "0.001", per_megabyte: "0.004", interval: 60s, interval_megabytes: 10, missed_max: 2, grace: 0s }
  night: { per_minute: "0", per_megabyte: "0.004", interval: 60s, interval_megabytes: 10, missed_max: 2, grace: 0s,
    flat: { price: "0.05", window: 1h }, free_minutes: 5 }
`
const parsed = parseConfig(text, {}, () => '')
if (!('config' in parsed)) throw new Error(JSON.stringify(parsed.problems))
const runtime = buildRuntime(parsed.config, certificate, 18, (tariff) => tariff)

async function served(
  t: { teardown(f: () => Promise<void>): void },
  histories: (sinceMs: number) => Promise<NasHistory[]> = async () => [],
  now = () => 1_030_000,
) {
  const books = await metering()
  const storage: Storage = { ...books.books.storage, histories }
  const { call } = await rig(t, {
    runtime: () => runtime,
    now,
    metering: { ...books, books: { ...books.books, storage } },
  })
  return call
}

t.test('access points with an SSID, their prices and who earns', async (t) => {
  const call = await served(t)
  const answer = await call('GET', '/v1/access-points')
  t.equal(answer.status, 200)
  const { accessPoints } = answer.json()
  t.same(accessPoints, [
    {
      ssid: 'Corner',
      bssids: ['02:00:00:00:00:01'],
      location: { lat: 40.44, lon: -79.94 },
      merchant: checksumAddress(addressOf('aa')),
      tariff: 'day',
      tariffVersion: 0,
      prices: {
        ...{ perMinute: '1000000000000000', perMegabyte: '4000000000000000' },
        ...{ intervalSeconds: 60, intervalMegabytes: 10, missedMax: 2, graceSeconds: 0 },
      },
      reliability: 1,
      history: { sessions: 0, lost: 0, disputed: 0 },
    },
    {
      ...{ ssid: 'Corner Roof', bssids: [], location: { lat: 40.45, lon: -79.94 } },
      ...{ merchant: checksumAddress(addressOf('bb')), tariff: 'night', tariffVersion: 0 },
      prices: {
        ...{ perMinute: '0', perMegabyte: '4000000000000000' },
        ...{ intervalSeconds: 60, intervalMegabytes: 10, missedMax: 2, graceSeconds: 0 },
        ...{ flat: { price: '50000000000000000', windowSeconds: 3600 }, freeMinutes: 5 },
      },
      reliability: 1,
      history: { sessions: 0, lost: 0, disputed: 0 },
    },
    {
      ...(accessPoints as unknown as object[])[1],
      ...{ ssid: 'Van', location: null, merchant: checksumAddress(addressOf('aa')) },
    },
  ])
})

t.test('around a place: 0.01 degree of latitude is 1,112 m', async (t) => {
  const call = await served(t)
  const cases: [query: string, expected: string[]][] = [
    ['lat=40.44&lon=-79.94', ['Corner', 'Corner Roof']],
    ['lat=40.44&lon=-79.94&radius=1100', ['Corner']],
    ['lat=40.44&lon=-79.94&radius=1120', ['Corner', 'Corner Roof']],
    ['lat=-40.44&lon=100&radius=20100000', ['Corner', 'Corner Roof']],
    ['lat=0&lon=0&radius=1000', []],
  ]
  for (const [query, expected] of cases) {
    const { accessPoints } = (await call('GET', `/v1/access-points?${query}`)).json()
    const found = accessPoints as unknown as { ssid: string }[]
    t.same(
      found.map(({ ssid }) => ssid),
      expected,
      query,
    )
  }
  const wrong = ['lat=1', 'radius=10', 'lat=91&lon=0', 'lat=x&lon=0', 'lat=1&lon=1&radius=0', 'a=1']
  for (const query of wrong) {
    const answer = await call('GET', `/v1/access-points?${query}`)
    t.equal(answer.status, 400, query)
    t.match(answer.json(), { error: { code: 'malformed-request' } })
  }
})

t.test('how it served the last month, asked once in ten minutes', async (t) => {
  const asked: number[] = []
  let nowMs = 40 * 86_400_000
  const call = await served(
    t,
    async (sinceMs) => {
      asked.push(sinceMs)
      return [{ nas: 'lobby', sessions: 95, lost: 9, disputed: 1 }]
    },
    () => nowMs,
  )
  const first = async () => {
    const { accessPoints } = (await call('GET', '/v1/access-points')).json()
    return (accessPoints as unknown as object[])[0]
  }
  const expected = { reliability: 0.9, history: { sessions: 95, lost: 9, disputed: 1 } }
  t.match(await first(), expected)
  nowMs += 599_999
  t.match(await first(), expected)
  t.same(asked, [10 * 86_400_000])
  nowMs += 1
  await first()
  t.equal(asked.length, 2)
})

t.test('a store that cannot be read says nothing about the networks', async (t) => {
  const call = await served(t, () => Promise.reject(new Error('locked')))
  const answer = await call('GET', '/v1/access-points')
  t.equal(answer.status, 200)
  t.match(answer.json(), { accessPoints: [{ reliability: 1 }] })
})

// What `device run` tells: one line for a person and one JSON object for a script, for each event.

import t from 'tap'
import { jsonLine, type RunEvent, sentence } from '../../device/run-events.ts'

const TOKEN = { symbol: 'DNT', decimals: 2 }
const terms = {
  ...{ perMinute: 60n, perMegabyte: 1_000n, intervalMs: 2_000, intervalMegabytes: 10 },
  ...{ missedMax: 2, graceMs: 0, flat: undefined, freeMs: 0, freeOctets: 5n },
}
const link = { ssid: 'Co "1"', bssid: '02:00:00:00:00:0a' }

const EVENTS: readonly [event: RunEvent, line: string, json: object][] = [
  [{ event: 'started', pid: 7 }, 'waiting for a session', { pid: 7 }],
  [
    { event: 'connected', operatorId: 2, ...link },
    'connected to "Co \\"1\\"", operator 2',
    { operatorId: 2, ...link },
  ],
  [
    { event: 'connected', operatorId: 2, ssid: '', bssid: '' },
    'connected, operator 2',
    { operatorId: 2, ssid: '', bssid: '' },
  ],
  [
    { event: 'report-refused', session: 'a', why: 'replayed' },
    'the operator does not take the report of session a: replayed',
    { session: 'a', why: 'replayed' },
  ],
  [{ event: 'disconnected' }, 'not connected', {}],
  [
    { event: 'session', session: 'a', tariff: 'standard', terms, startedAtMs: 1_999 },
    'session a: 0.6 DNT a minute, 10 DNT a megabyte, paid every 2 s',
    {
      ...{ session: 'a', tariff: 'standard', startedAt: 1 },
      terms: {
        ...{ perMinute: '60', perMegabyte: '1000', intervalMs: 2_000, intervalMegabytes: 10 },
        ...{ missedMax: 2, graceMs: 0, freeMs: 0, freeOctets: '5' },
      },
    },
  ],
  [
    { event: 'paid', session: 'a', amount: 150n, credited: 50n, why: 'interval' },
    'paid 0.5 DNT (interval), 1.5 DNT in all',
    { session: 'a', amount: '150', credited: '50', why: 'interval' },
  ],
  [
    { event: 'due', session: 'a', due: 5n, atMs: 61_000 },
    'behind: 0.05 DNT is due',
    { session: 'a', due: '5', at: 61 },
  ],
  [
    { event: 'debt-refused', session: 'a', why: 'above-terms' },
    'not paid: the debt of session a is above-terms',
    { session: 'a', why: 'above-terms' },
  ],
  [
    { event: 'session-over', session: 'a', due: 5n },
    'session a is over, 0.05 DNT due',
    { session: 'a', due: '5' },
  ],
  [
    { event: 'session-over', session: 'a', due: 0n },
    'session a is over',
    { session: 'a', due: '0' },
  ],
  [
    { event: 'not-signed', session: 'a' },
    'session a began before its octets were counted here: they are not signed',
    { session: 'a' },
  ],
  [
    { event: 'metering-key', scheme: 'tpm', trust: 'hardware' },
    'usage is signed by a key in the TPM, trust hardware',
    { scheme: 'tpm', trust: 'hardware' },
  ],
  [
    { event: 'metering-key', scheme: 'software', trust: 'software', why: 'no TPM' },
    'usage is signed by a key in software, trust software (no TPM)',
    { scheme: 'software', trust: 'software', why: 'no TPM' },
  ],
  [
    { event: 'stopped-paying', why: 'no-octets' },
    'stopped paying: no-octets',
    { why: 'no-octets' },
  ],
  [{ event: 'paying-again' }, 'paying again', {}],
  [
    { event: 'left', why: 'too-dear', ...link },
    'left "Co \\"1\\"": too-dear',
    { why: 'too-dear', ...link },
  ],
  [{ event: 'topped-up', amount: 100n }, 'deposited 1 DNT', { amount: '100' }],
  [{ event: 'renewed', what: 'voucher' }, 'renewed the voucher', { what: 'voucher' }],
  [
    { event: 'renewed', what: 'paths' },
    'renewed the paths in wpa_supplicant.conf',
    { what: 'paths' },
  ],
  [
    { event: 'failed', what: 'payment', message: 'no answer' },
    'payment: no answer',
    { what: 'payment', message: 'no answer' },
  ],
  [{ event: 'stopped' }, 'stopped', {}],
]

t.test('each event', async (t) => {
  for (const [event, line, json] of EVENTS) {
    t.equal(sentence(event, TOKEN), line, event.event)
    const expected = { time: 9, event: event.event, ...json }
    t.same(JSON.parse(jsonLine(event, 9_999)), expected, event.event)
  }
})

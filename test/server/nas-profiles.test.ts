import t from 'tap'
import type { NasPlace } from '../../accounting/session.ts'
import { NAS_TYPES, type NasType } from '../../config/config.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { AttributeType } from '../../radius/attribute-type.ts'
import { decodeNamed } from '../../radius/attributes.ts'
import type { Attribute } from '../../radius/packet.ts'
import { defaultCoaPort, identificationSets, rateAttributes } from '../../server/nas-profiles.ts'
import { shippedDictionary } from '../radius/support.ts'

const dictionary = shippedDictionary()
const ACCOUNT = '0x52908400098527886E0F7030069857D2E4169EE7'
const account = parseAddress(ACCOUNT)
const place: NasPlace = {
  ...{ nas: 'lobby', address: '192.0.2.10', nasIdentifier: 'ap1.example', nasPort: 7 },
  ...{ nasIpAddress: '192.0.2.11', callingStationId: '02-00-00-00-01-00' },
  ...{ calledStationId: '02-00-00-00-00-00:Corner', acctSessionId: 'C622D92BBC6CF958' },
  acctMultiSessionId: '5F2A81D0C9B3E746',
}

/** The attributes as `Name=value`, in order. */
function words(attributes: readonly Attribute[]): string[] {
  const secret = Buffer.from('not needed for any of these')
  const means = { secret, authenticator: Buffer.alloc(16) }
  return decodeNamed(dictionary, attributes, means).map(({ name, value }) => `${name}=${value}`)
}

/** Short names of the fields of each set, for the tables. */
const SHORT: Record<string, string> = {
  ...{ acctSessionId: 'session', acctMultiSessionId: 'multi', callingStationId: 'station' },
  ...{ calledStationId: 'called', nasPort: 'port', nasIdentifier: 'id', nasIpAddress: 'ip' },
  userName: 'user',
}
const shapes = (nasType: NasType, at: NasPlace = place) =>
  identificationSets(nasType, { account, place: at }).map(({ fields }) =>
    fields.map((field) => SHORT[field]).join(' '),
  )

const SHAPES: Record<NasType, string[]> = {
  hostapd: ['session station id ip multi', 'session station', 'session'],
  unifi: ['session station ip', 'session station', 'session'],
  mikrotik: ['session station id ip', 'session station', 'session', 'session user'],
  aruba: ['session station ip', 'session station', 'session'],
  cisco: ['session station ip', 'session station', 'session'],
  omada: ['session station ip', 'session station', 'session'],
  ruckus: ['session station id ip', 'session station', 'session'],
  generic: [
    'session station id ip called port',
    ...['session station id ip', 'session station', 'session', 'session user'],
  ],
}

for (const nasType of NAS_TYPES) {
  t.test(`C3 RFC 5176 §3: ${nasType}`, async (t) => {
    t.same(shapes(nasType), SHAPES[nasType])
    const sets = identificationSets(nasType, { account, place })
    for (const { attributes, fields, namesNas, namesUser } of sets) {
      t.ok(words(attributes).includes('Acct-Session-Id=C622D92BBC6CF958'), fields.join())
      t.equal(
        namesNas,
        attributes.some(({ type }) => type === 4 || type === 32),
      )
      t.equal(
        namesUser,
        attributes.some(({ type }) => type === AttributeType.userName),
      )
      // RFC 5176 §3.6, Note 1: identification only, and none of the forbidden ones.
      const allowed: number[] = [1, 4, 5, 30, 31, 32, 44, 50, 87, 89, 95]
      t.same(
        attributes.filter(({ type }) => !allowed.includes(type)),
        [],
      )
      t.equal(new Set(attributes.map(({ type }) => type)).size, attributes.length, 'none twice')
    }
    t.ok(
      sets.some((set) => !set.namesNas),
      'a way to ask without naming the NAS',
    )
  })
}

t.test('values go out octet for octet as the NAS sent them', async (t) => {
  const [first] = identificationSets('generic', { account, place })
  t.same(words(first?.attributes ?? []), [
    'Acct-Session-Id=C622D92BBC6CF958',
    'Calling-Station-Id=02-00-00-00-01-00',
    'NAS-Identifier=ap1.example',
    'NAS-IP-Address=192.0.2.11',
    'Called-Station-Id=02-00-00-00-00-00:Corner',
    'NAS-Port=7',
  ])
  for (const station of ['02:AB:cd:00:01:00', '02ab.cd00.0100', 'caf\u00e9', '\u0001\u00ff']) {
    const sets = identificationSets('hostapd', {
      account,
      place: { ...place, callingStationId: station },
    })
    const sent = sets[1]?.attributes.find(({ type }) => type === AttributeType.callingStationId)
    t.same(sent?.value, Buffer.from(station, 'latin1'))
  }
})

t.test('RFC 3162 §2.1: an IPv6 NAS is named by NAS-IPv6-Address', async (t) => {
  for (const text of ['2001:db8:0:0:0:0:0:9', '2001:db8::9']) {
    const [first] = identificationSets('cisco', {
      account,
      place: { ...place, nasIpAddress: text },
    })
    t.match(words(first?.attributes ?? []), [/^Acct/, /^Calling/, 'NAS-IPv6-Address=2001:db8::9'])
  }
})

t.test('what is not known is left out, and sets that become the same are one', async (t) => {
  const nothing: NasPlace = {
    ...{ nas: 'lobby', address: '192.0.2.10', nasIdentifier: '', nasPort: undefined },
    ...{ nasIpAddress: '', callingStationId: '', calledStationId: '', acctSessionId: '' },
    acctMultiSessionId: '',
  }
  const cases: [NasType, Partial<NasPlace>, string[]][] = [
    ['generic', {}, []],
    // A NAS alone, or an account alone, is more than one session.
    ['generic', { nasIdentifier: 'ap1', nasIpAddress: '192.0.2.11', nasPort: 1 }, []],
    ['mikrotik', { nasIdentifier: 'ap1' }, []],
    ['generic', { callingStationId: '02-00-00-00-01-00' }, ['station']],
    ['hostapd', { callingStationId: 'x', nasIdentifier: 'ap1' }, ['station id', 'station']],
    ['hostapd', { acctMultiSessionId: 'x', nasIdentifier: 'ap1' }, ['id multi']],
    ['hostapd', { acctSessionId: 'x' }, ['session']],
    ['generic', { acctSessionId: 'x' }, ['session', 'session user']],
    ['cisco', { acctSessionId: 'x', nasIpAddress: 'not an address' }, ['session']],
  ]
  for (const [nasType, known, wanted] of cases) {
    t.same(shapes(nasType, { ...nothing, ...known }), wanted, `${nasType} ${JSON.stringify(known)}`)
  }
})

t.test('without a payer there is no name to send', async (t) => {
  const sets = identificationSets('mikrotik', { account: undefined, place })
  t.equal(sets.length, 3)
  t.notOk(sets.some(({ namesUser }) => namesUser))
  const named = identificationSets('mikrotik', { account, place }).at(-1)
  t.same(words(named?.attributes ?? []), [
    'Acct-Session-Id=C622D92BBC6CF958',
    `User-Name=${ACCOUNT}`,
  ])
})

const RATES: Record<NasType, string[] | undefined> = {
  ...{ hostapd: undefined, unifi: undefined, aruba: undefined, omada: undefined },
  mikrotik: ['Mikrotik-Rate-Limit=64k/64k'],
  cisco: [
    'Airespace-Data-Bandwidth-Average-Contract=64',
    'Airespace-Data-Bandwidth-Average-Contract-Upstream=64',
  ],
  ruckus: ['WISPr-Bandwidth-Max-Up=64000', 'WISPr-Bandwidth-Max-Down=64000'],
  generic: ['WISPr-Bandwidth-Max-Up=64000', 'WISPr-Bandwidth-Max-Down=64000'],
}

t.test('rate limits by CoA, as the shipped dictionary reads them', async (t) => {
  for (const nasType of NAS_TYPES) {
    const attributes = rateAttributes(nasType, 64)
    t.same(attributes === undefined ? undefined : words(attributes), RATES[nasType], nasType)
  }
  // 32 bits hold 4.29 Gbit/s; a faster link is not a slower one by wrapping.
  t.same(words(rateAttributes('generic', 10_000_000) ?? []), [
    'WISPr-Bandwidth-Max-Up=4294967295',
    'WISPr-Bandwidth-Max-Down=4294967295',
  ])
})

t.test('C1: every make but Cisco listens at 3799', async (t) => {
  for (const nasType of NAS_TYPES) {
    t.equal(defaultCoaPort(nasType), nasType === 'cisco' ? 1700 : 3799, nasType)
  }
})

import { createRequire } from 'node:module'
import t from 'tap'
import { decodeNamed, type NamedValue } from '../../radius/attributes.ts'
import { encodeNamed } from '../../radius/attributes-encode.ts'
import { openReply, openRequest, sealReply, sealRequest } from '../../radius/authenticator.ts'
import type { Definition } from '../../radius/dictionary.ts'
import { hideUserPassword } from '../../radius/hidden.ts'
import { lenient, octets, secret, shippedDictionary, strict } from './support.ts'

// npm `radius` 1.1.4 wrote its codec from the same RFCs without us. Where it is known to be wrong
// (RFC 5176 Message-Authenticator, RFC 6929, salted values) there is nothing to agree on; see the
// RFC vectors.

type PeerAttribute = readonly [string | number, ...unknown[]]
interface PeerPacket {
  readonly code: string
  readonly identifier: number
  readonly attributes: Record<string, unknown>
}
interface Peer {
  add_dictionary(path: string): void
  attr_name_to_id(name: string, vendor?: number): string | undefined
  encode(packet: object): Buffer
  encode_response(packet: object): Buffer
  decode(packet: object): PeerPacket
  verify_response(packets: object): boolean
}
const peer = createRequire(import.meta.url)('radius') as Peer

const dictionary = shippedDictionary()
const vendorFiles = ['airespace', 'aruba', 'microsoft', 'mikrotik', 'ruckus', 'wispr']
for (const file of vendorFiles) {
  const url = new URL(`../../radius/dictionaries/dictionary.${file}`, import.meta.url)
  peer.add_dictionary(url.pathname)
}
peer.decode({ packet: Buffer.from(`0100001400${'00'.repeat(15)}`, 'hex'), secret })

const authenticator = octets(16, 'authenticator')

/** A value of the type: ours, the peer's on encoding, and what the peer decodes it to. */
function sample(definition: Definition) {
  const { type, values } = definition
  const number = type === 'integer' ? 0x00f0_1234 : 0x6553_f100
  const spare = [...values.values()].includes(number) ? 7 : number
  switch (type) {
    case 'string':
      return { ours: 'grüße 12', sent: 'grüße 12', got: 'grüße 12' }
    case 'ipaddr':
      return { ours: '192.0.2.254', sent: '192.0.2.254', got: '192.0.2.254' }
    case 'integer':
      return { ours: spare, sent: spare, got: spare }
    case 'date':
      return { ours: spare, sent: new Date(spare * 1000), got: new Date(spare * 1000) }
    case 'octets': {
      const bytes = Buffer.alloc(definition.length ?? 12, definition.name)
      return { ours: bytes, sent: bytes, got: bytes }
    }
    default:
      return undefined
  }
}

/** Its dictionaries call some octets text and the reverse: the same octets in the form wanted. */
function sameForm(got: unknown, wanted: unknown): unknown {
  if (Buffer.isBuffer(wanted) && typeof got === 'string') return Buffer.from(got)
  return typeof wanted === 'string' && Buffer.isBuffer(got) ? got.toString() : got
}

/** Attributes both know, in the clear, whose types both know. */
function shared(vendor: number | undefined): Definition[] {
  const depth = vendor === undefined ? 1 : 3
  return [...dictionary.byPath.values()].filter((definition) => {
    const { path, name, hidden } = definition
    if (path.length !== depth || (vendor !== undefined && path[1] !== vendor)) return false
    if (name === 'Message-Authenticator' || name === 'Vendor-Specific' || hidden !== 0) return false
    const known = peer.attr_name_to_id(name, vendor)
    return Number(known) === path.at(-1) && sample(definition) !== undefined
  })
}

/** RFC 5580 §4.7: octets in the peer's dictionary, a string in FreeRADIUS's. */
const octetsThere = 'Extended-Location-Policy-Rules'

const vendorNumbers = [14179, 14823, 311, 14988, 25053, 14122]

t.test('requests of the peer, read by us', async (t) => {
  for (const vendor of [undefined, ...vendorNumbers]) {
    const definitions = shared(vendor)
    t.ok(definitions.length >= 3, `${definitions.length} attributes of ${vendor ?? 'the RFCs'}`)
    for (const definition of definitions) {
      const value = sample(definition)
      const tag = definition.tagged ? 5 : undefined
      const attribute: PeerAttribute =
        tag === undefined
          ? [
              definition.name,
              definition.name === octetsThere ? Buffer.from('grüße 12') : value?.sent,
            ]
          : [definition.name, tag, value?.sent]
      const attributes =
        vendor === undefined ? [attribute] : [['Vendor-Specific', vendor, [attribute]]]
      const head = { code: 'Access-Request', identifier: 3, authenticator, secret }
      // After a tagged attribute the peer gives octets a stray tag, so no Message-Authenticator
      // there.
      const add_message_authenticator = !definition.tagged
      const packet = peer.encode({ ...head, attributes, add_message_authenticator })
      const opened = openRequest(packet, secret, definition.tagged ? lenient : strict)
      const named = decodeNamed(dictionary, opened.attributes)[0]
      const wanted = { name: definition.name, value: value?.ours }
      t.same(named, tag === undefined ? wanted : { ...wanted, tag }, definition.name)
    }
  }
})

t.test('requests of ours, read by the peer', async (t) => {
  for (const vendor of [undefined, ...vendorNumbers]) {
    for (const definition of shared(vendor)) {
      const value = sample(definition)
      if (value === undefined) throw new Error(definition.name)
      const tag = definition.tagged ? { tag: 5 } : {}
      const named: NamedValue = { name: definition.name, value: value.ours, ...tag }
      const attributes = encodeNamed(dictionary, [named])
      const packet = sealRequest({ code: 1, identifier: 3, attributes, authenticator }, secret)
      const read = peer.decode({ packet, secret }).attributes
      const inside = vendor === undefined ? read : (read['Vendor-Specific'] as typeof read)
      // The peer may have another name for the number, from an older RFC.
      const { 'Message-Authenticator': _, ...rest } = inside
      const got = Object.values(rest)[0]
      const wanted = definition.tagged ? [5, value.got] : value.got
      t.same(sameForm(got, wanted), wanted, definition.name)
    }
  }
})

t.test('words for numbers', async (t) => {
  const words: [string, string, number][] = [
    ['Service-Type', 'Framed-User', 2],
    ['Acct-Status-Type', 'Interim-Update', 3],
    ['Acct-Terminate-Cause', 'User-Request', 1],
    ['NAS-Port-Type', 'Wireless-802.11', 19],
  ]
  for (const [name, word, number] of words) {
    const head = { code: 'Access-Request', identifier: 3, authenticator, secret }
    const theirs = peer.encode({ ...head, attributes: [[name, word]] })
    const named = decodeNamed(dictionary, openRequest(theirs, secret, lenient).attributes)
    t.same(named, [{ name, value: number }])
    const attributes = encodeNamed(dictionary, [{ name, value: word }])
    const packet = sealRequest({ code: 1, identifier: 3, attributes, authenticator }, secret)
    t.equal(peer.decode({ packet, secret }).attributes[name], word)
  }
})

t.test('RFC 2865 §5.2 User-Password, lengths the peer allows', async (t) => {
  for (const length of [1, 15, 16, 17, 100, 128]) {
    const password = 'p'.repeat(length)
    const head = { code: 'Access-Request', identifier: 3, authenticator, secret }
    const theirs = peer.encode({ ...head, attributes: [['User-Password', password]] })
    const opened = openRequest(theirs, secret, lenient)
    const named = decodeNamed(dictionary, opened.attributes, { secret, authenticator })
    t.same(named, [{ name: 'User-Password', value: password }])
    const value = hideUserPassword(Buffer.from(password), authenticator, secret)
    const attributes = [{ type: 2, value }]
    const packet = sealRequest({ code: 1, identifier: 3, attributes, authenticator }, secret)
    t.equal(peer.decode({ packet, secret }).attributes['User-Password'], password)
  }
})

t.test('authenticators of accounting and of replies, both ways', async (t) => {
  const sent = [
    ['Acct-Session-Id', 'id'],
    ['Proxy-State', Buffer.from('a')],
    ['Proxy-State', Buffer.from('b')],
  ]
  const theirs = peer.encode({
    code: 'Accounting-Request',
    identifier: 9,
    secret,
    attributes: sent,
  })
  const request = openRequest(theirs, secret, strict)
  const response = sealReply(request, 5, [], secret)
  t.equal(peer.verify_response({ request: theirs, response, secret }), true)
  response[4] = response.readUInt8(4) ^ 0xff
  t.equal(peer.verify_response({ request: theirs, response, secret }), false)

  const attributes = [
    { type: 79, value: Buffer.from('0201000401', 'hex') },
    { type: 33, value: Buffer.from('a') },
  ]
  const ours = sealRequest({ code: 1, identifier: 4, attributes, authenticator }, secret)
  const opened = openRequest(ours, secret, strict)
  for (const [word, code] of [
    ['Access-Accept', 2],
    ['Access-Reject', 3],
    ['Access-Challenge', 11],
  ] as const) {
    const packet = peer.decode({ packet: ours, secret })
    const reply = peer.encode_response({
      packet,
      code: word,
      secret,
      attributes: [['Reply-Message', 'hi']],
    })
    const read = openReply(reply, secret, opened)
    t.match(read, { code, identifier: 4 })
    t.same(
      read.attributes.map(({ type }) => type),
      [18, 33, 80],
      'the peer puts it last',
    )
    const back = sealReply(opened, code, [{ type: 18, value: Buffer.from('hi') }], secret)
    t.equal(peer.verify_response({ request: ours, response: back, secret }), true)
    t.match(peer.decode({ packet: back, secret }), { code: word, identifier: 4 })
  }
})

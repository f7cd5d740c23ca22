import { readFileSync } from 'node:fs'
import t from 'tap'
import { decodeNamed, type NamedValue } from '../../radius/attributes.ts'
import { openReply, openRequest } from '../../radius/authenticator.ts'
import { decodePacket, type Packet } from '../../radius/packet.ts'
import { lenient, refusalOf, shippedDictionary } from './support.ts'

// Format: `secret TEXT` holds until the next; `packet request|reply|structure NAME` begins a
// packet; `hex` lines are its octets; then `means CODE IDENTIFIER Name=value ...` (~ for a space,
// 0x for octets) or `refused REASON`. A reply answers the last request above. `count N` ends the
// file.

const dictionary = shippedDictionary()

function show({ name, value }: NamedValue): string {
  const text = Buffer.isBuffer(value) ? `0x${value.toString('hex')}` : String(value)
  return `${name}=${text.replaceAll(' ', '~')}`
}

function describe(packet: Packet, secret: Buffer, authenticator: Buffer): string {
  const keys = { secret, authenticator }
  const named = decodeNamed(dictionary, packet.attributes, keys)
  return [packet.code, packet.identifier, ...named.map(show)].join(' ')
}

for (const file of ['rfc2865', 'rfc5176', 'rfc5997', 'radclient']) {
  t.test(`${file}.txt`, async (t) => {
    const url = new URL(`../vectors/radius/${file}.txt`, import.meta.url)
    let secret = Buffer.from('none')
    let kind = ''
    let name = ''
    let bytes = Buffer.alloc(0)
    let request: Packet | undefined
    let seen = 0
    let count: number | undefined
    const open = (): Packet => {
      if (kind === 'structure') return decodePacket(bytes)
      if (kind === 'request') return openRequest(bytes, secret, lenient)
      if (request === undefined) throw new Error(`${name}: no request above it`)
      return openReply(bytes, secret, request)
    }
    for (const line of readFileSync(url, 'utf8').split('\n')) {
      const [word = '', ...rest] = line.split(' ')
      const text = rest.join(' ')
      if (word === '' || word === '#') continue
      if (word === 'secret') secret = Buffer.from(text)
      else if (word === 'hex') {
        bytes = Buffer.concat([bytes, Buffer.from(text.replaceAll(' ', ''), 'hex')])
      } else if (word === 'packet') {
        kind = rest.shift() ?? ''
        name = rest.join(' ')
        bytes = Buffer.alloc(0)
      } else if (word === 'means') {
        seen++
        const packet = open()
        if (kind !== 'reply') request = packet
        const { authenticator } = kind === 'reply' ? (request ?? packet) : packet
        t.equal(describe(packet, secret, authenticator), text, name)
      } else if (word === 'refused') {
        seen++
        t.equal(refusalOf(open), text, name)
      } else if (word === 'count') count = Number(text)
      else t.fail(`${file}: unknown word "${word}"`)
    }
    t.equal(count, seen, 'no vector was passed over')
  })
}

import { createHmac } from 'node:crypto'
import t from 'tap'
import {
  authRule,
  openReply,
  openRequest,
  repliesTo,
  sealReply,
  sealRequest,
} from '../../radius/authenticator.ts'
import { type Attribute, Code, decodePacket } from '../../radius/packet.ts'
import {
  accessRequest,
  attribute,
  hashWith,
  lenient,
  octets,
  rawPacket,
  refusalOf,
  secret,
  signWith,
  strict,
} from './support.ts'

const zeros = Buffer.alloc(16)
const random = octets(16, 'request authenticator')
const requestCodes = Object.keys(repliesTo).map(Number)
const sealed = (code: number, attributes: readonly Attribute[] = [attribute(1, 'nemo')]) =>
  sealRequest({ code, identifier: 9, attributes, authenticator: random }, secret)

/** An Access-Request without Message-Authenticator. */
const plain = (attributes: string) => {
  const packet = rawPacket(1, Buffer.from(attributes, 'hex'))
  packet.set(random, 4)
  return packet
}

t.test('every code has a rule, every request replies', async (t) => {
  for (const code of Object.values(Code)) t.type(authRule[code], 'string', `code ${code}`)
  for (const code of Object.values(Code)) {
    t.equal(code in repliesTo, authRule[code] !== 'of-request', `code ${code}`)
  }
})

t.test(
  'requests of every code: sealed, opened, M-A first, as node:crypto computes it',
  async (t) => {
    for (const code of requestCodes) {
      const bytes = sealed(code)
      const packet = openRequest(bytes, secret, strict)
      t.match(packet, { code, identifier: 9 })
      t.same(
        packet.attributes.map(({ type }) => type),
        [80, 1],
        'X1 Message-Authenticator first',
      )
      const field = authRule[code] === 'zero' ? zeros : random
      // C1 RFC 5176 §3.4: computed over zeros, in place before the Request Authenticator is.
      t.same(signWith(bytes, 22, field, secret), bytes, `Message-Authenticator of code ${code}`)
      if (authRule[code] === 'zero') t.same(hashWith(bytes, zeros, secret), bytes, 'authenticator')
      else t.same(packet.authenticator, random)
    }
  },
)

t.test(
  'X1 B5 B6 replies: M-A first, Proxy-State echoed in order, digests as RFC 5176 §3.4',
  async (t) => {
    for (const code of requestCodes) {
      const states = [
        attribute(33, 'first'),
        attribute(1, 'nemo'),
        attribute(33, ''),
        attribute(33, 'x'),
      ]
      const request = openRequest(sealed(code, states), secret, strict)
      for (const answer of repliesTo[code] ?? []) {
        const bytes = sealReply(request, answer, [attribute(18, 'hello')], secret)
        const reply = openReply(bytes, secret, request)
        // RFC 2866 knows none, and FreeRADIUS 3.2 drops one over the request's authenticator.
        const bare = code === Code.accountingRequest && answer === Code.accountingResponse
        const types = reply.attributes.map(({ type }) => type)
        t.same(types, bare ? [18, 33, 33, 33] : [80, 18, 33, 33, 33], `${code} -> ${answer}`)
        t.same(
          reply.attributes.slice(-3).map(({ value }) => value.toString()),
          ['first', '', 'x'],
        )
        t.same(hashWith(bytes, request.authenticator, secret), bytes, 'Response Authenticator')
        if (!bare) {
          const signed = hashWith(
            signWith(bytes, 22, request.authenticator, secret),
            request.authenticator,
            secret,
          )
          t.same(signed, bytes, 'Message-Authenticator over the authenticator of the request')
        }
        t.equal(reply.identifier, 9)
      }
    }
  },
)

t.test('X2 E1 S1 a missing Message-Authenticator', async (t) => {
  const status = rawPacket(12, Buffer.alloc(0))
  const accounting = hashWith(
    rawPacket(4, Buffer.from('4f060200000428060000000102', 'hex').subarray(0, 12)),
    zeros,
    secret,
  )
  const missing = 'message-authenticator-missing'
  t.equal(
    refusalOf(() => openRequest(plain('0103ff'), secret, strict)),
    missing,
  )
  t.equal(
    refusalOf(() => openRequest(plain('0103ff'), secret, lenient)),
    'accepted',
  )
  t.equal(
    refusalOf(() => openRequest(plain('4f0602000004'), secret, lenient)),
    missing,
    'E1',
  )
  t.equal(
    refusalOf(() => openRequest(plain('4f02'), secret, lenient)),
    missing,
    'E1 EAP-Start',
  )
  t.equal(
    refusalOf(() => openRequest(status, secret, lenient)),
    missing,
    'S1 Status-Server',
  )
  t.equal(
    refusalOf(() => openRequest(accounting, secret, lenient)),
    missing,
    'E1 in any packet',
  )
  const disconnect = hashWith(rawPacket(40, Buffer.from('0103ff', 'hex')), zeros, secret)
  t.equal(
    refusalOf(() => openRequest(disconnect, secret, strict)),
    'accepted',
    'X2 Access-Requests only',
  )
})

t.test('X3 Blast-RADIUS: Proxy-State without Message-Authenticator', async (t) => {
  // The attack's collision blocks: 228 octets in Proxy-State, as CVE-2024-3596 forges them.
  const forged = plain(`0103ff21e6${octets(228, 'collision').toString('hex')}`)
  const limited = { requireMessageAuthenticator: false, limitProxyState: true }
  const required = { requireMessageAuthenticator: true, limitProxyState: false }
  t.equal(
    refusalOf(() => openRequest(forged, secret, limited)),
    'proxy-state-unprotected',
  )
  t.equal(
    refusalOf(() => openRequest(forged, secret, required)),
    'message-authenticator-missing',
  )
  t.equal(
    refusalOf(() => openRequest(forged, secret, lenient)),
    'accepted',
  )
  const honest = sealed(1, [attribute(33, octets(228, 'collision'))])
  t.equal(
    refusalOf(() => openRequest(honest, secret, limited)),
    'accepted',
  )
  // A reject turned into an accept by equal MD5: the reply's Message-Authenticator still differs.
  const request = openRequest(honest, secret, strict)
  const reject = sealReply(request, Code.accessReject, [], secret)
  const accept = Buffer.from(reject)
  accept.writeUInt8(Code.accessAccept, 0)
  const collided = hashWith(accept, request.authenticator, secret)
  t.equal(
    refusalOf(() => openReply(collided, secret, request)),
    'message-authenticator-wrong',
  )
})

t.test('X4 X5 a present Message-Authenticator counts wherever it stands', async (t) => {
  for (const attributes of ['5012', '0103ff5012', '0103ffc803eec902010301f90302fa03055012']) {
    const at = 20 + attributes.length / 2
    const packet = signWith(plain(`${attributes}${'00'.repeat(16)}21030a`), at, random, secret)
    t.equal(
      refusalOf(() => openRequest(packet, secret, strict)),
      'accepted',
      attributes,
    )
    packet[at] = packet.readUInt8(at) ^ 1
    for (const policy of [strict, lenient]) {
      t.equal(
        refusalOf(() => openRequest(packet, secret, policy)),
        'message-authenticator-wrong',
      )
    }
  }
})

t.test('E3 RFC 3579 §3.1: EAP-Message beside another way to authenticate', async (t) => {
  const eap = attribute(79, Buffer.from('0201000401', 'hex'))
  for (const type of [2, 3, 70]) {
    const bytes = sealed(1, [eap, attribute(type, octets(16, 'password'))])
    t.equal(
      refusalOf(() => openRequest(bytes, secret, strict)),
      'eap-with-password',
      `type ${type}`,
    )
  }
})

t.test('every prefix, one more octet, every flipped bit of valid packets', async (t) => {
  const whole = accessRequest(300)
  const samples = [whole, sealed(4), sealed(40), sealed(43), sealed(12)]
  for (const bytes of samples) {
    for (let length = 0; length < bytes.length; length++) {
      if (refusalOf(() => openRequest(bytes.subarray(0, length), secret, lenient)) === 'accepted') {
        t.fail(`prefix of ${length} octets accepted`)
      }
    }
    const padded = Buffer.concat([bytes, Buffer.from([7])])
    t.equal(
      refusalOf(() => openRequest(padded, secret, strict)),
      'accepted',
      'B1 padding is ignored',
    )
    padded.writeUInt16BE(padded.length, 2)
    t.not(
      refusalOf(() => openRequest(padded, secret, strict)),
      'accepted',
      'one more octet inside',
    )
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7))
      if (refusalOf(() => openRequest(flipped, secret, strict)) === 'accepted') {
        t.fail(`bit ${bit} of code ${bytes[0]} flipped, accepted`)
      }
    }
  }
  const request = openRequest(whole, secret, strict)
  for (const code of [2, 3, 11]) {
    const bytes = sealReply(request, code, [attribute(18, 'text')], secret)
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7))
      if (refusalOf(() => openReply(flipped, secret, request)) === 'accepted') {
        t.fail(`bit ${bit} of reply ${code} flipped, accepted`)
      }
    }
  }
})

t.test('replies that answer something else', async (t) => {
  const request = openRequest(accessRequest(10), secret, strict)
  const other = openRequest(sealed(1), secret, strict)
  const reply = sealReply(request, Code.accessReject, [], secret)
  t.equal(
    refusalOf(() => openReply(reply, secret, other)),
    'identifier-mismatch',
  )
  const sameIdentifier = { ...other, identifier: request.identifier }
  t.equal(
    refusalOf(() => openReply(reply, secret, sameIdentifier)),
    'message-authenticator-wrong',
  )
  t.equal(
    refusalOf(() => openReply(accessRequest(10), secret, request)),
    'code-unexpected',
  )
  t.equal(
    refusalOf(() => openRequest(reply, secret, strict)),
    'code-unexpected',
  )
  const eapWithout = hashWith(
    Buffer.from('02070018000000000000000000000000000000004f040301', 'hex'),
    request.authenticator,
    secret,
  )
  t.equal(
    refusalOf(() => openReply(eapWithout, secret, request)),
    'message-authenticator-missing',
  )
  const bare = hashWith(
    Buffer.from(`0307001400${'00'.repeat(15)}`, 'hex'),
    request.authenticator,
    secret,
  )
  t.equal(
    refusalOf(() => openReply(bare, secret, request)),
    'accepted',
    'RFC 2865 alone',
  )
  bare[10] = bare.readUInt8(10) ^ 4
  t.equal(
    refusalOf(() => openReply(bare, secret, request)),
    'authenticator-wrong',
  )
})

t.test('what cannot be sealed', async (t) => {
  const request = openRequest(sealed(1), secret, strict)
  const many = Array.from({ length: 17 }, () => attribute(26, octets(250, 'v')))
  const cases: [string, () => unknown][] = [
    ['code-unexpected', () => sealReply(request, Code.accountingResponse, [], secret)],
    ['code-unexpected', () => sealReply(request, Code.disconnectAck, [], secret)],
    ['code-unexpected', () => sealed(2)],
    ['code-unexpected', () => sealed(99)],
    ['packet-too-long', () => sealReply(request, 2, many, secret)],
    ['value-too-long', () => sealReply(request, 2, [attribute(25, octets(254, 'c'))], secret)],
    ['message-authenticator-repeated', () => sealReply(request, 2, [attribute(80, zeros)], secret)],
    ['authenticator-length', () => sealRequest({ code: 1, identifier: 1, attributes: [] }, secret)],
    [
      'authenticator-length',
      () =>
        sealRequest(
          { code: 1, identifier: 1, attributes: [], authenticator: octets(15, '') },
          secret,
        ),
    ],
  ]
  for (const [code, run] of cases) t.equal(refusalOf(run), code)
})

t.test('X8 secrets of 0 to 1025 octets', async (t) => {
  for (let length = 0; length <= 1025; length++) {
    const key = octets(length, 'secret')
    const run = () => {
      const bytes = sealRequest({ code: 4, identifier: 1, attributes: [attribute(44, 'id')] }, key)
      const request = openRequest(bytes, key, strict)
      return openReply(sealReply(request, 5, [], key), key, request)
    }
    const wanted = length === 0 || length > 1024 ? 'secret-length' : 'accepted'
    if (refusalOf(run) !== wanted) t.fail(`secret of ${length} octets: ${refusalOf(run)}`)
  }
  for (const length of [1, 63, 64, 65, 128, 1024]) {
    const key = octets(length, 'secret')
    const bytes = sealRequest(
      { code: 1, identifier: 1, attributes: [], authenticator: random },
      key,
    )
    const zeroed = Buffer.from(bytes).fill(0, 22, 38)
    t.same(
      bytes.subarray(22, 38),
      createHmac('md5', key).update(zeroed).digest(),
      `${length} octets`,
    )
  }
})

t.test('X7 no constant guess passes: digests that are no UTF-8 are told apart', async (t) => {
  // npm radius compares digests as UTF-8 text, where all of these octets become the same character.
  const bytes = sealed(1)
  const accepted: number[] = []
  for (let i = 0; i < 2_000; i++) {
    const guess = Buffer.from(bytes)
    guess.fill(0x80 + (i & 0x7f), 22, 38)
    guess.writeUInt16BE(i, 36)
    if (refusalOf(() => openRequest(guess, secret, strict)) === 'accepted') accepted.push(i)
  }
  t.same(accepted, [])
})

t.test('the packet given is never changed', async (t) => {
  const bytes = accessRequest(500)
  const before = Buffer.from(bytes)
  const request = openRequest(bytes, secret, strict)
  const reply = sealReply(request, 11, [attribute(24, 'state')], secret)
  const sent = Buffer.from(reply)
  openReply(reply, secret, decodePacket(bytes))
  t.same(bytes, before)
  t.same(reply, sent)
})

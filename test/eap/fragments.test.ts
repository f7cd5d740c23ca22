// eap/fragments.ts: RFC 5216 §3 framing, both ways, and every way a peer can lie about lengths.

import fc from 'fast-check'
import t from 'tap'
import {
  decodeFragment,
  emptyPartial,
  isAck,
  joinFragment,
  type Outgoing,
  type Partial,
  splitFragment,
} from '../../eap/fragments.ts'

const CAP = 65_536

/** Cuts as the server does; Type-Data of each packet. */
function split(message: Buffer, packetBytesMax: number): Buffer[] {
  const pieces: Buffer[] = []
  let left: Outgoing | undefined = { left: message, total: message.length }
  while (left !== undefined) {
    const cut: ReturnType<typeof splitFragment> = splitFragment(left, packetBytesMax)
    pieces.push(Buffer.concat([cut.header, cut.data]))
    left = cut.rest
  }
  return pieces
}

/** Joins until something other than 'partial' comes out. */
function join(pieces: readonly Buffer[], cap = CAP) {
  let partial: Partial = emptyPartial
  for (const [index, piece] of pieces.entries()) {
    const fragment = decodeFragment(piece)
    if (fragment === undefined) return { status: 'malformed', index }
    const joined = joinFragment(partial, fragment, cap)
    if (joined.status !== 'partial') return { ...joined, index }
    partial = joined.partial
  }
  return { status: 'partial', partial, index: pieces.length }
}

t.test('L2 RFC 9190 §2.1.9: L on the first of several fragments only', async (t) => {
  t.same(split(Buffer.from('hello'), 100), [Buffer.from('\0hello')])
  const pieces = split(Buffer.alloc(150, 7), 100)
  t.same(
    pieces.map((piece) => [piece[0], piece.length + 5]),
    [
      [0xc0, 100],
      [0x00, 66],
    ],
  )
  t.equal(pieces[0]?.readUInt32BE(1), 150)
  t.same(
    split(Buffer.alloc(300), 100).map((piece) => piece[0]),
    [0xc0, 0x40, 0x40, 0x00],
  )
  const fits = split(Buffer.alloc(94), 100)
  t.same([fits.length, fits[0]?.length], [1, 95], 'the last octet that fits needs no fragment')
  t.equal(split(Buffer.alloc(95), 100).length, 2)
})

t.test('E7: no packet above the limit, whatever the message; and it joins again', async (t) => {
  const property = fc.property(
    fc.uint8Array({ minLength: 1, maxLength: 5000 }),
    fc.integer({ min: 60, max: 1500 }),
    (bytes, max) => {
      const message = Buffer.from(bytes)
      const pieces = split(message, max)
      if (pieces.some((piece) => piece.length + 5 > max)) return false
      const joined = join(pieces)
      return 'message' in joined && joined.message.equals(message)
    },
  )
  fc.assert(property, { seed: 5216, numRuns: 300 })
  t.ok(
    split(Buffer.alloc(200), 0).length > 1,
    'an absurd limit is raised to the least there can be',
  )
})

t.test('L2 L4 RFC 5216 §3.1: what is taken', async (t) => {
  const cases: [string, string[], string][] = [
    ['one packet without L', ['00 6162'], '6162'],
    ['one packet with L', ['80 00000002 6162'], '6162'],
    ['reserved bits are ignored', ['1f 6162'], '6162'],
    ['L on the first', ['c0 00000004 6162', '00 6364'], '61626364'],
    ['L on none', ['40 6162', '00 6364'], '61626364'],
    ['L on all', ['c0 00000004 6162', '80 00000004 6364'], '61626364'],
    ['L on the last only', ['40 6162', '80 00000004 6364'], '61626364'],
    ['three', ['c0 00000003 61', '40 62', '00 63'], '616263'],
    ['an empty last fragment without L', ['40 6162', '00'], '6162'],
  ]
  for (const [name, pieces, message] of cases) {
    const joined = join(pieces.map((piece) => Buffer.from(piece.replaceAll(' ', ''), 'hex')))
    t.match(joined, { status: 'complete', message: Buffer.from(message, 'hex') }, name)
    t.equal(joined.index, pieces.length - 1)
  }
})

t.test('L4 CVE-2012-4445: what is refused, and at which fragment', async (t) => {
  const cases: [string, string[], string, number][] = [
    ['Start from the peer', ['20'], 'eap-tls-start-from-peer', 0],
    ['Start with data', ['20 6162'], 'eap-tls-start-from-peer', 0],
    ['less than declared', ['80 00000003 6162'], 'eap-tls-length-mismatch', 0],
    ['more than declared', ['80 00000001 6162'], 'eap-tls-length-exceeded', 0],
    ['data, declared 0', ['80 00000000 61'], 'eap-tls-length-exceeded', 0],
    [
      'growth past the declared length',
      ['c0 00000003 6162', '40 6364'],
      'eap-tls-length-exceeded',
      1,
    ],
    [
      'a declared length below what came',
      ['40 616263', 'c0 00000002 64'],
      'eap-tls-length-exceeded',
      1,
    ],
    [
      'the declared length changes',
      ['c0 00000004 61', '80 00000005 6263'],
      'eap-tls-length-changed',
      1,
    ],
    ['M when all is there', ['c0 00000002 6162'], 'eap-tls-length-mismatch', 0],
    ['ends early', ['c0 00000004 61', '00 62'], 'eap-tls-length-mismatch', 1],
    ['M without data', ['40'], 'eap-tls-empty-fragment', 0],
    ['M and L without data', ['c0 00000004'], 'eap-tls-empty-fragment', 0],
    ['a claim of 4 GiB', ['c0 ffffffff 61'], 'eap-tls-message-too-large', 0],
    ['a claim of 64 KiB and one', ['c0 00010001 61'], 'eap-tls-message-too-large', 0],
  ]
  for (const [name, pieces, fault, index] of cases) {
    const joined = join(pieces.map((piece) => Buffer.from(piece.replaceAll(' ', ''), 'hex')))
    t.match(joined, { status: 'fault', fault, index }, name)
  }
  for (const cut of ['', '80', '80000000', 'c0000001']) {
    t.equal(decodeFragment(Buffer.from(cut, 'hex')), undefined, `cut: ${cut}`)
  }
})

t.test('L5: 64 KiB are taken, one more is refused before it is kept', async (t) => {
  const piece = Buffer.concat([Buffer.from([0x40]), Buffer.alloc(1024)])
  const pieces = Array.from({ length: 63 }, () => piece)
  const last = (length: number) => Buffer.concat([Buffer.from([0]), Buffer.alloc(length)])
  t.match(join([...pieces, last(1024)]), { status: 'complete' })
  t.match(join([...pieces, last(1025)]), { fault: 'eap-tls-message-too-large' })
  const endless = Array.from({ length: 200 }, () => piece)
  t.match(join(endless), { fault: 'eap-tls-message-too-large', index: 64 })
})

t.test('L3: an acknowledgement is the flags octet and nothing else', async (t) => {
  const ack = (text: string) => {
    const fragment = decodeFragment(Buffer.from(text, 'hex'))
    return fragment !== undefined && isAck(fragment)
  }
  t.same(['00', '1f', '8000000000'].map(ack), [true, true, true])
  t.same(['40', '20', '0061', '8000000001', ''].map(ack), [false, false, false, false, false])
})

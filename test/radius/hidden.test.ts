import { createHash } from 'node:crypto'
import t from 'tap'
import {
  hideAscendSecret,
  hideTunnelPassword,
  hideUserPassword,
  mppeKeyAttributes,
  revealAscendSecret,
  revealTunnelPassword,
  revealUserPassword,
} from '../../radius/hidden.ts'
import { octets, refusalOf, secret } from './support.ts'

const authenticator = octets(16, 'authenticator')
const other = Buffer.from('another secret')
const salt = Buffer.from('0102', 'hex')
const text = (length: number) => Buffer.alloc(length, 'p')

t.test('RFC 2865 §5.2 User-Password: lengths 0 to 128', async (t) => {
  for (let length = 0; length <= 128; length++) {
    const hidden = hideUserPassword(text(length), authenticator, secret)
    const padded = Math.max(16, Math.ceil(length / 16) * 16)
    if (hidden.length !== padded) t.fail(`${length} octets hidden in ${hidden.length}`)
    t.same(revealUserPassword(hidden, authenticator, secret), text(length))
  }
  t.equal(
    refusalOf(() => hideUserPassword(text(129), authenticator, secret)),
    'value-too-long',
  )
  for (const length of [0, 1, 15, 17, 129, 144]) {
    const run = () => revealUserPassword(text(length), authenticator, secret)
    t.equal(refusalOf(run), 'hidden-malformed', `${length} hidden octets`)
  }
  t.equal(
    refusalOf(() => hideUserPassword(text(1), authenticator, Buffer.alloc(0))),
    'secret-length',
  )
})

t.test('RFC 2868 §3.5 Tunnel-Password: lengths, salt, the definition step by step', async (t) => {
  for (let length = 0; length <= 239; length++) {
    const hidden = hideTunnelPassword(text(length), salt, authenticator, secret)
    if (hidden.length > 253 - 1) t.fail(`${length} octets leave no room for the tag`)
    t.same(revealTunnelPassword(hidden, authenticator, secret), text(length))
  }
  const hidden = hideTunnelPassword(text(15), salt, authenticator, secret)
  t.equal(hidden.toString('hex', 0, 2), '8102', 'the top bit of the salt is set')
  const mask = createHash('md5')
    .update(Buffer.concat([secret, authenticator, hidden.subarray(0, 2)]))
    .digest()
  const plain = Buffer.concat([Buffer.from([15]), text(15)])
  t.same(hidden.subarray(2), Buffer.from(plain.map((octet, i) => octet ^ mask.readUInt8(i))))
  const long = () => hideTunnelPassword(text(240), salt, authenticator, secret)
  t.equal(refusalOf(long), 'value-too-long')
  const short = () => hideTunnelPassword(text(1), Buffer.alloc(1), authenticator, secret)
  t.equal(refusalOf(short), 'hidden-malformed')
  for (const length of [0, 1, 2, 17, 19, 33]) {
    const run = () => revealTunnelPassword(text(length), authenticator, secret)
    t.equal(refusalOf(run), 'hidden-malformed', `${length} hidden octets`)
  }
})

t.test('FR-GV: another secret never reads beyond the value', async (t) => {
  const outcomes = new Set<string>()
  for (let i = 0; i < 500; i++) {
    const hidden = hideTunnelPassword(
      octets(i % 240, `${i}`),
      octets(2, `${i}`),
      authenticator,
      secret,
    )
    const run = () => {
      const plain = revealTunnelPassword(hidden, authenticator, other)
      if (plain.length > hidden.length - 3) throw new Error(`${plain.length} of ${hidden.length}`)
    }
    outcomes.add(refusalOf(run))
  }
  t.same([...outcomes].sort(), ['accepted', 'hidden-malformed'])
})

t.test('Ascend secrets (encrypt=3)', async (t) => {
  for (let length = 0; length <= 16; length++) {
    const hidden = hideAscendSecret(text(length), authenticator, secret)
    t.equal(hidden.length, 16)
    t.same(revealAscendSecret(hidden, authenticator, secret), text(length))
  }
  t.equal(
    refusalOf(() => hideAscendSecret(text(17), authenticator, secret)),
    'value-too-long',
  )
  t.equal(
    refusalOf(() => revealAscendSecret(text(15), authenticator, secret)),
    'hidden-malformed',
  )
})

t.test('E10 RFC 2548 §2.4: MS-MPPE keys', async (t) => {
  const msk = octets(64, 'msk')
  for (const salts of ['00000000', '80018001', '00018001', '12341235', 'ffffffff', '80000001']) {
    const attributes = mppeKeyAttributes(msk, authenticator, secret, Buffer.from(salts, 'hex'))
    t.same(
      attributes.map(({ type, value }) => [type, value.length]),
      [
        [26, 56],
        [26, 56],
      ],
    )
    const [recv, send] = attributes.map(({ value }) => value)
    if (recv === undefined || send === undefined) throw new Error('two attributes')
    t.equal(recv.toString('hex', 0, 6), '000001371134', 'vendor 311, MS-MPPE-Recv-Key 17')
    t.equal(send.toString('hex', 0, 6), '000001371034', 'vendor 311, MS-MPPE-Send-Key 16')
    t.same(revealTunnelPassword(recv.subarray(6), authenticator, secret), msk.subarray(0, 32))
    t.same(revealTunnelPassword(send.subarray(6), authenticator, secret), msk.subarray(32))
    t.ok(recv.readUInt8(6) >= 0x80 && send.readUInt8(6) >= 0x80, 'top bits set')
    t.notSame(recv.subarray(6, 8), send.subarray(6, 8), `distinct salts of ${salts}`)
  }
  const short = () => mppeKeyAttributes(msk.subarray(1), authenticator, secret, Buffer.alloc(4))
  t.equal(refusalOf(short), 'value-malformed')
})

// Every doubt about a session ticket must end in a full handshake: keys, altered contents, time,
// other operators. And what is in a ticket: until when, and under which key.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { makeOperatorCertificates, renewOperatorCertificate } from '../../certs/operator.ts'
import { p256 } from './credentials.ts'
import {
  isAccept,
  kept,
  key,
  LIFETIME_SECONDS,
  login,
  older,
  type Rig,
  rig,
  START,
  VERSIONS,
  type Version,
  withoutResumption,
} from './resumption-rig.ts'
import { alterTicket, Field, fieldOf, openTicket, withField } from './tickets.ts'

/** In each the ticket is not taken, or not even read; `when` comes between the two logins. */
const DOUBTS: readonly {
  readonly name: string
  readonly second?: () => Rig
  readonly when?: (one: Rig) => void
  readonly alter?: (session: Buffer) => Buffer
  readonly justOn?: Version
  readonly secureOptions?: number
}[] = [
  { name: 'another ticket key', second: () => rig([older]) },
  {
    name: 'another operator with the same ticket keys',
    second: () => rig([key], { certificatePem: p256.cert, privateKeyPem: p256.key }),
  },
  { name: 'no keys any more', when: ({ engine }) => engine.setTicketKeys?.([]) },
  { name: 'no resumption in the configuration', second: () => withoutResumption() },
  { name: 'two rotations later', when: ({ engine }) => engine.setTicketKeys?.([older, older]) },
  {
    name: 'its time is over',
    when: (one) => {
      one.clock += LIFETIME_SECONDS
    },
  },
  {
    name: 'random octets',
    alter: (session) =>
      withField(session, Field.ticket, randomBytes(fieldOf(session, Field.ticket).length)),
  },
  { name: 'one octet', alter: (session) => withField(session, Field.ticket, Buffer.from([1])) },
  ...[0, 20, 100, -33, -1].map((at) => ({
    name: `a bit flipped at ${at}`,
    alter: (session: Buffer) => {
      const ticket = Buffer.from(fieldOf(session, Field.ticket))
      const index = (at + ticket.length) % ticket.length
      ticket.writeUInt8((ticket[index] ?? 0) ^ 1, index)
      return withField(session, Field.ticket, ticket)
    },
  })),
  {
    name: 'RFC 9190 §5.7: from a session without a certificate',
    alter: (session) =>
      alterTicket(session, key, (inside) => withField(inside, Field.peer, undefined)),
  },
  {
    name: 'of another session id context',
    alter: (session) =>
      alterTicket(session, key, (inside) =>
        withField(inside, Field.sessionContext, Buffer.from('datanet-eap-tls')),
      ),
  },
  {
    name: 'without our note of its time',
    alter: (session) =>
      alterTicket(session, key, (inside) => withField(inside, Field.note, undefined)),
  },
  ...[Buffer.alloc(0), note(2, START + 9999), note(1, START + 9999).subarray(0, 8)].map(
    (bytes) => ({
      name: `a note of other making: ${bytes.toString('hex')}`,
      alter: (session: Buffer) =>
        alterTicket(session, key, (inside) => withField(inside, Field.note, bytes)),
    }),
  ),
  {
    name: 'RFC 7627 §5.3: no extended master secret',
    justOn: '1.2',
    // SSL_OP_NO_EXTENDED_MASTER_SECRET
    secureOptions: 1,
  },
]

function note(format: number, untilSeconds: number): Buffer {
  const bytes = Buffer.alloc(9, format)
  bytes.writeBigUInt64BE(BigInt(untilSeconds), 1)
  return bytes
}

for (const version of VERSIONS) {
  for (const { name, second, when, alter, justOn, secureOptions } of DOUBTS) {
    if (justOn !== undefined && justOn !== version) continue
    t.test(`L11 TLS ${version}: a full handshake: ${name}`, async (t) => {
      const one = rig()
      const o = secureOptions === undefined ? {} : { secureOptions }
      const session = kept(await login(one, version, o))
      when?.(one)
      const again = await login(second?.() ?? one, version, {
        ...o,
        session: alter?.(session) ?? session,
      })
      isAccept(t, again, false)
    })
  }

  t.test(`TLS ${version}: control: a ticket sealed again as it was is taken`, async (t) => {
    const one = rig()
    const session = kept(await login(one, version))
    const same = alterTicket(session, key, (inside) => inside)
    isAccept(t, await login(one, version, { session: same }), true)
    const rewritten = alterTicket(session, key, (inside) =>
      withField(inside, Field.note, note(1, START + 1)),
    )
    isAccept(t, await login(one, version, { session: rewritten }), true)
  })

  t.test(`TLS ${version}: a rotation; another process with the same keys`, async (t) => {
    const one = rig([older])
    const session = kept(await login(one, version))
    one.engine.setTicketKeys?.([key, older])
    const other = rig([key, older])
    for (const taker of [one, other]) {
      const again = await login(taker, version, { session })
      isAccept(t, again, true)
      if (version === '1.2') t.equal(again.session, undefined)
      else {
        const name = fieldOf(kept(again), Field.ticket).subarray(0, 16)
        t.same(name, key.subarray(0, 16), 'the new ticket is under the new key')
      }
    }
  })

  t.test(`TLS ${version}: a renewed certificate of the same key takes its tickets`, async (t) => {
    const nowSeconds = START
    const made = makeOperatorCertificates({
      ...{ operatorName: 'Corner', nowSeconds, random: randomBytes },
    })
    const renewed = renewOperatorCertificate({ ...made, nowSeconds, random: randomBytes })
    t.not(renewed, made.certificatePem)
    const one = rig([key], { certificatePem: made.certificatePem, privateKeyPem: made.keyPem })
    const other = rig([key], { certificatePem: renewed, privateKeyPem: made.keyPem })
    const session = kept(await login(one, version))
    isAccept(t, await login(other, version, { session }), true)
    const stranger = makeOperatorCertificates({
      ...{ operatorName: 'Corner', nowSeconds, random: randomBytes },
    })
    const pems = { certificatePem: stranger.certificatePem, privateKeyPem: stranger.keyPem }
    isAccept(t, await login(rig([key], pems), version, { session }), false)
  })

  t.test(`L11 TLS ${version}: a chain of resumptions ends with the first login`, async (t) => {
    const one = rig()
    let session = kept(await login(one, version))
    const end = note(1, START + LIFETIME_SECONDS)
    for (const after of [0, 1, 20_000, LIFETIME_SECONDS - 1]) {
      one.clock = START + after
      const again = await login(one, version, { session })
      isAccept(t, again, true)
      session = again.session ?? session
      t.same(fieldOf(openTicket(fieldOf(session, Field.ticket), key), Field.note), end)
      if (version === '1.2') continue
      const hint = fieldOf(session, Field.lifetimeHint)
      t.equal(hint.readUIntBE(0, hint.length), LIFETIME_SECONDS - after, 'what the peer is told')
    }
    one.clock = START + LIFETIME_SECONDS
    const over = await login(one, version, { session })
    isAccept(t, over, false)
    isAccept(t, await login(one, version, { session: kept(over) }), true)
  })
}

t.test('RFC 9190 §2.1.2: no ticket is good for more than a week', async (t) => {
  const config = { lifetimeSeconds: 700_000, nowSeconds: () => START }
  const session = kept(await login(rig([key], { resumption: config }), '1.3'))
  t.equal(fieldOf(session, Field.lifetimeHint).readUIntBE(0, 3), 604_800)
  const inside = openTicket(fieldOf(session, Field.ticket), key)
  t.same(fieldOf(inside, Field.note), note(1, START + 604_800))
})

t.test('RFC 9190 §2.1.2: no early data in a ticket', async (t) => {
  const session = kept(await login(rig(), '1.3'))
  const maxEarlyData = 15
  t.same(fieldOf(session, maxEarlyData), Buffer.alloc(0))
})

// The two requests of a key in a TPM, over HTTP: the enrolment recorded from a TPM emulator, with
// the secret, the challenge and the clock that it was recorded with.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { accountNamed } from '../accounting/vouchers.ts'
import { octets, recorded, text, turned } from '../attestation/tpm-recorded.ts'
import { enrolmentRig, grantOf } from './enrolment-rig.ts'

const PCRS = { registers: [0, 7], digests: [Buffer.alloc(32)] }

async function rigOf(t: Parameters<typeof enrolmentRig>[0], o = recorded('rsa'), more = {}) {
  const rig = await enrolmentRig(t, {
    policies: { tpm: { ...o.policy, ...more } },
    challenge: o.expected.challenge,
    random: (length) =>
      length === 64 ? Buffer.concat([o.kept.secret, randomBytes(32)]) : randomBytes(length),
  })
  rig.world.nowMs = o.nowSeconds * 1_000
  rig.deposit('alice')
  const begin = (tpm: unknown = o.first) => rig.challenge(accountNamed('alice'), { tpm })
  const finish = (nonce: string, evidence: unknown) =>
    rig.enrol({ ...grantOf('alice', octets(o.publicKey), nonce), scheme: 'tpm', evidence })
  return { ...rig, begin, finish }
}

for (const name of ['rsa', 'ecc'] as const) {
  t.test(`the key of a TPM with an ${name} endorsement key is one in hardware`, async (t) => {
    const o = recorded(name)
    const { world, ledger, begin, finish } = await rigOf(t, o)
    const { status, nonce, expiresAt, tpm } = await begin()
    t.equal(status, 200)
    t.equal(octets(nonce).length, 32)
    t.equal(expiresAt, o.nowSeconds + 300)
    t.same(Object.keys(tpm), ['credential', 'ticket'])
    t.same(Object.keys(tpm.credential), ['idObject', 'encryptedSecret'])
    t.ok(tpm.ticket.length <= 2_048)
    t.notOk(octets(tpm.ticket).includes(o.kept.secret), 'the ticket is sealed')
    t.match(await finish(nonce, { ...o.second, ticket: tpm.ticket }), {
      ...{ status: 200, trust: 'hardware', scheme: 'tpm' },
    })
    t.match(ledger.meteringKeys(accountNamed('alice')), [{ scheme: 'tpm', trust: 'hardware' }])
    const again = await finish(nonce, { ...o.second, ticket: tpm.ticket })
    t.match(again, { status: 422, error: { code: 'challenge-mismatch' } }, 'the nonce is used up')
    t.same(world.outcomes, ['tpm enrolled', 'tpm challenge-mismatch'])
  })
}

t.test('first steps that are refused', async (t) => {
  const o = recorded('rsa')
  const { first } = o
  const der = (at: number) => [turned(first.ekCertificates[0] ?? '', at)]
  const cases: [name: string, tpm: unknown, status: number, code: string][] = [
    ['null', null, 400, 'malformed'],
    ['empty', {}, 400, 'malformed'],
    ['a field more', { ...first, more: 1 }, 400, 'malformed'],
    ['no certificate', { ...first, ekCertificates: [] }, 400, 'malformed'],
    ['seven', { ...first, ekCertificates: Array(7).fill('AAAA') }, 400, 'malformed'],
    ['a long one', { ...first, ekCertificates: ['A'.repeat(6_000)] }, 400, 'malformed'],
    ['one altered', { ...first, ekCertificates: der(-1 + 500) }, 401, 'bad-signature'],
    ['no attestation key', { ...first, akPublic: 'AAAA' }, 400, 'malformed'],
    ['the metering key', { ...first, akPublic: o.second.meteringPublic }, 422, 'weak-key'],
    ['a TPM in name only', { ekPublic: first.akPublic, akPublic: first.akPublic }, 422, 'weak-key'],
  ]
  const { world, begin, challenge } = await rigOf(t, o)
  for (const [name, tpm, status, code] of cases) {
    t.match(await begin(tpm), { status, error: { code } }, name)
    t.equal(world.outcomes.pop(), `tpm ${code}`, name)
  }
  t.match(await challenge(accountNamed('alice'), { tmp: first }), { error: { code: 'malformed' } })
  const stranger = await challenge(accountNamed('bob'), { tpm: first })
  t.match(stranger, { status: 404, error: { code: 'unknown-consumer' } })
  const other = await rigOf(t, o, { roots: [] })
  t.match(await other.begin(), { status: 422, error: { code: 'unpinned-root' } })
  const { nonce } = await other.challenge(accountNamed('alice'))
  t.equal(octets(nonce).length, 32, 'the nonce stays good for another scheme')
})

t.test('second steps that are refused', async (t) => {
  const o = recorded('rsa')
  const { begin, finish } = await rigOf(t, o)
  const { second } = o
  const cases: [name: string, evidence: (ticket: string) => unknown, code: string][] = [
    ['no ticket', () => second, 'malformed'],
    ['null', () => null, 'malformed'],
    ['text', () => 'evidence', 'malformed'],
    ['a list', () => [second], 'malformed'],
    ['an empty ticket', () => ({ ...second, ticket: '' }), 'malformed'],
    ['a short ticket', () => ({ ...second, ticket: 'AAAA' }), 'challenge-mismatch'],
    ['a ticket too long', () => ({ ...second, ticket: 'A'.repeat(2_400) }), 'malformed'],
    ['one of nobody', () => ({ ...second, ticket: 'A'.repeat(400) }), 'challenge-mismatch'],
    ['altered', (ticket) => ({ ...second, ticket: turned(ticket, 60) }), 'challenge-mismatch'],
    ['cut', (ticket) => ({ ...second, ticket: ticket.slice(0, 60) }), 'challenge-mismatch'],
    ['no secret', (ticket) => ({ ...second, secret: text(randomBytes(32)), ticket }), 'challenge-'],
    ['a field more', (ticket) => ({ ...second, ticket, kept: {} }), 'malformed'],
  ]
  for (const [name, evidence, code] of cases) {
    const { nonce, tpm } = await begin()
    const { status, error } = await finish(nonce, evidence(tpm.ticket))
    t.equal(status, code === 'malformed' ? 400 : 422, name)
    t.match(error.code, code, name)
  }
})

t.test('tickets: each of a nonce is good, whoever asked; none of another process', async (t) => {
  const o = recorded('rsa')
  const [one, other] = [await rigOf(t, o), await rigOf(t, o)]
  const first = await one.begin()
  const second = await one.begin()
  t.equal(second.nonce, first.nonce)
  t.not(second.tpm.ticket, first.tpm.ticket)
  const good = { ...o.second, ticket: first.tpm.ticket }
  t.equal((await one.finish(first.nonce, good)).status, 200, 'the second took nothing away')
  const { nonce } = await other.begin()
  t.match(await other.finish(nonce, good), { error: { code: 'challenge-mismatch' } })
})

t.test('a ticket is of one account and nonce', async (t) => {
  // Without the recorded challenge: those of the routes are used.
  const o = recorded('rsa')
  const rig = await enrolmentRig(t, { policies: { tpm: o.policy } })
  rig.world.nowMs = o.nowSeconds * 1_000
  for (const name of ['alice', 'bob']) rig.deposit(name)
  const finish = (name: string, nonce: string, ticket: string) =>
    rig.enrol({
      ...grantOf(name, octets(o.publicKey), nonce),
      ...{ scheme: 'tpm', evidence: { ...o.second, ticket } },
    })
  const begin = (name: string) => rig.challenge(accountNamed(name), { tpm: o.first })
  const [alice, bob] = [await begin('alice'), await begin('bob')]
  const message = /the ticket is not one of this nonce/
  t.match(await finish('bob', bob.nonce, alice.tpm.ticket), { error: { message } })
  const own = await finish('alice', alice.nonce, alice.tpm.ticket)
  t.match(own, { status: 422, error: { message: /has not opened the secret/ } }, 'its own opens')
  const next = await begin('alice')
  t.match(await finish('alice', next.nonce, alice.tpm.ticket), { error: { message } })
})

t.test('a quote is asked for in the first answer', async (t) => {
  const o = recorded('rsa')
  const { begin, finish } = await rigOf(t, o, { pcrs: PCRS })
  const { nonce, tpm } = await begin()
  t.same(tpm.pcrs, [0, 7])
  const answer = await finish(nonce, { ...o.second, ticket: tpm.ticket })
  t.match(answer, { status: 422, error: { code: 'weak-device' } }, 'other values in them')
})

t.test('an operator without a policy takes none, and says so at both steps', async (t) => {
  const o = recorded('rsa')
  const { world, challenge, enrol, deposit } = await enrolmentRig(t)
  deposit('alice')
  const message = 'this operator does not take tpm: it has no attestation.tpm'
  const refusal = { status: 422, error: { code: 'unsupported', message } }
  t.match(await challenge(accountNamed('alice'), { tpm: o.first }), refusal)
  const { nonce } = await challenge(accountNamed('alice'))
  const grant = grantOf('alice', octets(o.publicKey), nonce)
  t.match(await enrol({ ...grant, scheme: 'tpm', evidence: o.second }), refusal)
  t.same(world.outcomes, ['tpm unsupported', 'tpm unsupported'])
})

// A metering key in a real TPM 2.0: swtpm and Debian's tpm2-tools on one side, the device's program
// over them, and our two steps on the other. What a device could alter is altered, each with its
// own reason; several things are done that only a TPM can refuse, and it does.

import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto'
import t from 'tap'
import { verifyTpm } from '../../attestation/tpm.ts'
import {
  makeTpmCredential,
  type TpmCredential,
  type TpmPolicy,
} from '../../attestation/tpm-credential.ts'
import type { AttestationRefusal } from '../../attestation/verifier.ts'
import { type DeviceTpm, openTpm, type TpmSecondStep } from '../../device/tpm.ts'
import { run } from './server.ts'
import { type SoftwareTpm, startTpm } from './tpm-rig.ts'

const DAY_SECONDS = 86_400
const text = (octets: Buffer) => octets.toString('base64url')
const octets = (word: string) => Buffer.from(word, 'base64url')

function given(o: unknown, policy: TpmPolicy): TpmCredential {
  const made = makeTpmCredential(o, randomBytes(64), policy, Math.ceil(Date.now() / 1000))
  if (!made.ok) throw new Error(`${made.reason}: ${made.detail}`)
  return made
}

const reasonOf = (verdict: { ok: true } | { ok: false; reason: AttestationRefusal }) =>
  verdict.ok ? 'accepted' : verdict.reason

/** All of an enrolment, as it should go. */
async function enrol(device: DeviceTpm, policy: TpmPolicy, registers?: readonly number[]) {
  const first = await device.firstStep()
  const { credential, kept } = given(first, policy)
  const challenge = randomBytes(32)
  const second = await device.secondStep(credential, challenge, registers)
  return { first, credential, second, expected: { challenge, nowSeconds, kept } }
}

const endorsedPcr = (values: readonly Buffer[]) =>
  createHash('sha256').update(Buffer.concat(values)).digest()

const tpm = await startTpm(t)
// Its certificates are of now: the clock is read after they were made.
const nowSeconds = Math.ceil(Date.now() / 1000)
const policy: TpmPolicy = { roots: tpm.roots }
const device = await openTpm({ tcti: tpm.tcti, endorsement: 'rsa' })
const zeros = Buffer.alloc(32)
const pcrs = { registers: [0, 7], digests: [endorsedPcr([zeros, zeros])] }
const good = await enrol(device, policy, pcrs.registers)

t.test('RSA endorsement key: the metering key of a real TPM is accepted, and signs', async (t) => {
  const verdict = verifyTpm(good.second, good.expected, { ...policy, pcrs })
  if (!verdict.ok) throw new Error(`${verdict.reason}: ${verdict.detail}`)
  t.same(verdict.publicKey, device.meteringKey)
  t.equal(verdict.facts['manufacturer'], '00001014', "swtpm's number is no letters")
  t.match(verdict.facts['endorsementKey'], /^[0-9a-f]{64}$/)
  t.equal(verdict.facts['pcrs'], pcrs.digests[0]?.toString('hex'))
  const [x, y] = [device.meteringKey.subarray(1, 33), device.meteringKey.subarray(33)]
  const jwk = { kty: 'EC', crv: 'P-256', x: text(x), y: text(y) }
  const key = createPublicKey({ format: 'jwk', key: jwk })
  const report = Buffer.from('a report of usage')
  const signature = await device.sign(createHash('sha256').update(report).digest())
  t.equal(signature.length, 64)
  t.ok(verify('sha256', report, { key, dsaEncoding: 'ieee-p1363' }, signature))
})

t.test('the keys are made once; the same TPM is known again', async (t) => {
  const again = await openTpm({ tcti: tpm.tcti, endorsement: 'rsa' })
  t.same(again.meteringKey, device.meteringKey)
  const { second, expected } = await enrol(again, policy)
  t.equal(reasonOf(verifyTpm(second, expected, policy)), 'accepted', 'without a quote')
  t.equal(expected.kept.endorsementKey, good.expected.kept.endorsementKey)
  t.notSame(expected.kept.secret, good.expected.kept.secret)
})

t.test('P-256 endorsement key: with a certificate of its own', async (t) => {
  const other = await startTpm(t)
  await other.tool('createek', '-G', 'ecc', '-c', other.at('ek'), '-u', other.at('ek.pub'))
  await other.tool('readpublic', '-c', other.at('ek'), '-f', 'pem', '-o', other.at('ek.pem'))
  await other.tool('flushcontext', '-t')
  const ekCertificates = [await other.certify('ek.pem')]
  const ofOther = await openTpm({ tcti: other.tcti, endorsement: 'ecc', ekCertificates })
  const itsPolicy = { roots: other.roots }
  const { first, second, expected } = await enrol(ofOther, itsPolicy)
  t.equal(reasonOf(verifyTpm(second, expected, itsPolicy)), 'accepted')

  const late = nowSeconds + 31 * DAY_SECONDS
  t.equal(reasonOf(makeTpmCredential(first, randomBytes(64), itsPolicy, late)), 'expired')

  const { akPublic } = first
  const hash = expected.kept.endorsementKey
  const byHand = { ekPublic: text(other.read('ek.pub')), akPublic }
  const listed: TpmPolicy = { roots: [], endorsementKeys: new Set([hash]) }
  const { credential, kept } = given(byHand, listed)
  const challenge = randomBytes(32)
  const opened = await ofOther.secondStep(credential, challenge)
  t.equal(reasonOf(verifyTpm(opened, { challenge, nowSeconds, kept }, listed)), 'accepted')
  const unknown = makeTpmCredential(byHand, randomBytes(64), itsPolicy, nowSeconds)
  t.equal(reasonOf(unknown), 'unpinned-root', 'without a certificate, and nobody knows it')
})

t.test('P-384 endorsement key: swtpm_setup leaves one with its certificate', async (t) => {
  const name = tpm.at('ek384.der')
  await tpm.tool('nvread', '0x1c00016', '-C', 'o', '-o', name)
  const { akPublic } = good.first
  const { credential, kept } = given(
    { ekCertificates: [text(tpm.read('ek384.der'))], akPublic },
    policy,
  )
  const parts = [credential.idObject, credential.encryptedSecret].map(octets)
  const head = Buffer.from('badcc0de00000001', 'hex')
  const file = tpm.write('credential384', Buffer.concat([head, ...parts]))
  const keys = ['-c', '0x8100da7a', '-C', '0x81010016']
  await tpm.tool('activatecredential', ...keys, '-i', file, '-o', tpm.at('opened384'))
  t.same(tpm.read('opened384'), kept.secret)
})

type Altered = (second: TpmSecondStep) => unknown

/** A text of octets with one bit of it turned. */
function turned(word: string, at: number): string {
  const bytes = octets(word)
  const index = at < 0 ? bytes.length + at : at
  bytes.writeUInt8((bytes[index] ?? 0) ^ 1, index)
  return text(bytes)
}

t.test('every part altered is refused for its own reason', async (t) => {
  const { certify, quote, meteringPublic, secret } = good.second
  if (quote === undefined) throw new Error('no quote')
  const table: readonly [name: string, reason: AttestationRefusal, alter: Altered][] = [
    ['another secret', 'challenge-mismatch', (o) => ({ ...o, secret: turned(secret, 0) })],
    ['a short secret', 'malformed', (o) => ({ ...o, secret: text(octets(secret).subarray(1)) })],
    [
      'no magic',
      'malformed',
      (o) => ({ ...o, certify: { ...certify, attest: turned(certify.attest, 0) } }),
    ],
    [
      'another name certified, the signature left',
      'bad-signature',
      (o) => ({ ...o, certify: { ...certify, attest: turned(certify.attest, -1) } }),
    ],
    [
      'another clock',
      'bad-signature',
      (o) => ({ ...o, certify: { ...certify, attest: turned(certify.attest, 86) } }),
    ],
    [
      'signatures swapped',
      'bad-signature',
      (o) => ({ ...o, certify: { ...certify, signature: quote.signature } }),
    ],
    ['a quote for the certificate', 'malformed', (o) => ({ ...o, certify: quote })],
    ['a certificate for the quote', 'malformed', (o) => ({ ...o, quote: certify })],
    [
      'another quote',
      'bad-signature',
      (o) => ({ ...o, quote: { ...quote, attest: turned(quote.attest, -1) } }),
    ],
    [
      'the metering key made unrestricted on paper',
      'key-mismatch',
      (o) => ({ ...o, meteringPublic: turned(meteringPublic, 9 - 2) }),
    ],
    ['the attestation key', 'key-mismatch', (o) => ({ ...o, meteringPublic: good.first.akPublic })],
    ['no quote', 'weak-device', ({ quote: _, ...o }) => o],
    ['more', 'malformed', (o) => ({ ...o, more: '' })],
  ]
  for (const [name, reason, alter] of table) {
    const verdict = verifyTpm(alter(good.second), good.expected, { ...policy, pcrs })
    t.equal(reasonOf(verdict), reason, name)
  }
  const challenge = randomBytes(32)
  const later = verifyTpm(good.second, { ...good.expected, challenge }, policy)
  t.equal(reasonOf(later), 'challenge-mismatch', 'another nonce')
})

t.test('registers: another selection, other values, after a change', async (t) => {
  const { second, expected } = good
  const asks = (registers: readonly number[], digest: Buffer) =>
    reasonOf(verifyTpm(second, expected, { ...policy, pcrs: { registers, digests: [digest] } }))
  const digest = pcrs.digests[0] ?? zeros
  t.equal(asks([7, 0], digest), 'accepted', 'in any order')
  t.equal(asks([0, 1], digest), 'weak-device', 'other registers of the same values')
  t.equal(asks([0, 7], zeros), 'weak-device', 'other values')
  await tpm.tool('pcrextend', `7:sha256=${'ab'.repeat(32)}`)
  const changed = await enrol(device, policy, pcrs.registers)
  const verdict = verifyTpm(changed.second, changed.expected, { ...policy, pcrs })
  t.equal(reasonOf(verdict), 'weak-device', 'the device was started otherwise')
})

t.test('an endorsement that is not one', async (t) => {
  const { first } = good
  const at = (o: object, p: TpmPolicy = policy, seconds = nowSeconds) =>
    reasonOf(makeTpmCredential({ ...first, ...o }, randomBytes(64), p, seconds))
  t.equal(at({}), 'accepted')
  t.equal(at({}, { roots: [] }), 'unpinned-root')
  t.equal(at({}, policy, nowSeconds + 9000 * 365 * DAY_SECONDS), 'expired', 'made to 9999')
  t.equal(at({}, policy, nowSeconds - 2 * DAY_SECONDS), 'expired', 'not yet valid')
  t.equal(at({ ekCertificates: [] }), 'malformed')
  const [own = ''] = first.ekCertificates ?? []
  t.equal(at({ ekCertificates: [turned(own, -1)] }), 'bad-signature')
  t.equal(at({ ekCertificates: [own, own] }), 'accepted', 'the root signed the first')
  t.equal(at({ ekCertificates: [own, own] }, { roots: [] }), 'bad-chain')
  const issuer = tpm.roots[0]?.raw ?? zeros
  t.equal(at({ ekCertificates: [own, text(issuer)] }), 'accepted', 'with the root itself')
  t.equal(at({ ekCertificates: [text(issuer)] }), 'bad-chain', 'an authority is no TPM')
  const revoked = new Set([createHash('sha256').update(octets(own)).digest('hex')])
  t.equal(at({}, { ...policy, revoked }), 'revoked')
})

/** A signing key made by `tpm2_create` with these attributes; its TPM2B_PUBLIC. */
async function signingKey(o: SoftwareTpm, name: string, attributes: string): Promise<Buffer> {
  await o.tool('createprimary', '-C', 'o', '-G', 'ecc', '-g', 'sha256', '-c', o.at('parent'))
  await o.tool('flushcontext', '-t')
  const kind = ['-G', 'ecc256:ecdsa-sha256:null', '-g', 'sha256', '-a', attributes]
  const files = ['-u', o.at(`${name}.pub`), '-r', o.at(`${name}.priv`), '-c', o.at(name)]
  await o.tool('create', '-C', o.at('parent'), ...kind, ...files)
  await o.tool('flushcontext', '-t')
  return o.read(`${name}.pub`)
}

const BORN_HERE = 'fixedtpm|fixedparent|sensitivedataorigin'

t.test('an attestation key that would sign anything', async (t) => {
  const akPublic = await signingKey(tpm, 'free', `${BORN_HERE}|userwithauth|sign`)
  const { ekCertificates = [] } = good.first
  const o = { ekCertificates, akPublic: text(akPublic) }
  t.equal(reasonOf(makeTpmCredential(o, randomBytes(64), policy, nowSeconds)), 'weak-key')
  const forged = tpm.write('forged', createHash('sha256').update('forged').digest())
  const sign = ['-g', 'sha256', '-d', '-o', tpm.at('forged.sig'), forged]
  t.notOk(await tpm.works('sign', '-c', '0x8100da7a', ...sign), 'ours signs no digest of others')
})

t.test('a credential for another TPM, or for another attestation key, stays closed', async (t) => {
  const other = await startTpm(t)
  const ofOther = await openTpm({ tcti: other.tcti, endorsement: 'rsa' })
  const theirs = await ofOther.firstStep()
  const challenge = randomBytes(32)
  const mixed: TpmPolicy = { roots: [...other.roots, ...tpm.roots] }
  const { akPublic } = good.first
  const stolen = given({ ekCertificates: theirs.ekCertificates ?? [], akPublic }, mixed)
  const refusal = { name: 'DeviceError', code: 'unavailable' }
  await t.rejects(device.secondStep(stolen.credential, challenge), refusal, 'another TPM')
  await t.rejects(ofOther.secondStep(stolen.credential, challenge), refusal, 'another key')

  const { second, expected } = await enrol(ofOther, mixed)
  const { certify, meteringPublic } = good.second
  const remote = { ...second, certify, meteringPublic }
  const verdict = verifyTpm(remote, { ...expected, challenge: good.expected.challenge }, mixed)
  t.equal(reasonOf(verdict), 'bad-signature', "another TPM's certified key")
})

/** What TPM2_Certify says of the key at a handle that is usually the metering key's. */
async function certifiedInstead(context: string, area: Buffer) {
  const own = '0x8100da7b'
  await tpm.tool('evictcontrol', '-C', 'o', '-c', own)
  await tpm.tool('evictcontrol', '-C', 'o', '-c', context, own)
  await tpm.tool('flushcontext', '-t')
  const { second, expected } = await enrol(device, policy)
  return verifyTpm({ ...second, meteringPublic: text(area) }, expected, policy)
}

t.test('the metering key must be born in the TPM and sign what it is given', async (t) => {
  const pem = tpm.at('software.pem')
  const generate = ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
  t.equal((await run('openssl', [...generate, '-out', pem])).code, 0)
  await signingKey(tpm, 'born', `${BORN_HERE}|userwithauth|sign`)
  const files = ['-u', tpm.at('software.pub'), '-r', tpm.at('software.priv')]
  const kind = ['-G', 'ecc256:ecdsa-sha256', '-g', 'sha256', '-a', 'userwithauth|sign']
  await tpm.tool('import', '-C', tpm.at('parent'), ...kind, '-i', pem, ...files)
  await tpm.tool('load', '-C', tpm.at('parent'), ...files, '-c', tpm.at('software'))
  await tpm.tool('flushcontext', '-t')
  const software = await certifiedInstead(tpm.at('software'), tpm.read('software.pub'))
  t.equal(reasonOf(software), 'weak-key', 'imported from a file')
  const [born, paper] = [tpm.read('born.pub'), tpm.read('software.pub')]
  const claimed = Buffer.from(paper)
  born.copy(claimed, 6, 6, 10)
  const onPaper = await certifiedInstead(tpm.at('software'), claimed)
  t.equal(reasonOf(onPaper), 'key-mismatch', 'imported, with the attributes of one born there')
  for (const attributes of [
    `${BORN_HERE}|userwithauth|sign|restricted`,
    'sensitivedataorigin|userwithauth|sign',
  ]) {
    const made = await signingKey(tpm, 'weak', attributes)
    t.equal(reasonOf(await certifiedInstead(tpm.at('weak'), made)), 'weak-key', attributes)
  }
  const other = await certifiedInstead(tpm.at('born'), born)
  t.equal(reasonOf(other), 'accepted', 'a key like ours')
})

t.test("Debian's tpm2_certify answers no challenge: its qualifying data is fixed", async (t) => {
  const out = ['-o', tpm.at('fixed'), '-s', tpm.at('fixed.sig'), '-f', 'tss', '-g', 'sha256']
  await tpm.tool('certify', '-c', '0x8100da7b', '-C', '0x8100da7a', ...out)
  const certify = { attest: text(tpm.read('fixed')), signature: text(tpm.read('fixed.sig')) }
  const { second, expected } = await enrol(device, policy)
  const meteringPublic = text(tpm.read('born.pub'))
  const o = { ...second, certify, meteringPublic }
  t.equal(reasonOf(verifyTpm(o, expected, policy)), 'challenge-mismatch')
})

t.test('a TPM that is not there, and handles of another program', async (t) => {
  const nowhere = { tcti: `swtpm:path=${tpm.at('nobody')}`, endorsement: 'rsa' } as const
  await t.rejects(openTpm(nowhere), { name: 'DeviceError', code: 'unavailable' })
  const { PATH } = process.env
  process.env['PATH'] = tpm.at('no-programs')
  const uninstalled = { name: 'DeviceError', message: /install tpm2-tools/ }
  await t.rejects(openTpm(nowhere), uninstalled).finally(() => {
    process.env['PATH'] = PATH
  })
  await tpm.tool('evictcontrol', '-C', 'o', '-c', '0x8100da7b')
  await tpm.tool('evictcontrol', '-C', 'o', '-c', tpm.at('parent'), '0x8100da7b')
  await tpm.tool('flushcontext', '-t')
  const place = { tcti: tpm.tcti, endorsement: 'rsa' } as const
  await t.rejects(openTpm(place), { name: 'DeviceError', code: 'exists' })
})

// The two requests of a key in a TPM against the server's own routes: swtpm and tpm2-tools behind
// the device's program, an operator whose configuration names the TPM's authority, and the
// challenges that the server itself makes.

import { hash, randomBytes, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { challengeOf } from '../../attestation/challenge.ts'
import { openTpm, type TpmFirstStep } from '../../device/tpm.ts'
import { openTpmKey } from '../../device/tpm-key.ts'
import { checkConfig } from '../../server/config-source.ts'
import { accountNamed, domain } from '../accounting/vouchers.ts'
import { certificates } from '../attestation/tpm-recorded.ts'
import { enrolmentRig, grantOf } from '../server/enrolment-rig.ts'
import { startTpm } from './tpm-rig.ts'

// SHA-256 of 64 zero octets: registers 0 and 7 of a TPM that nothing was measured in.
const ZEROS = 'f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b'

const tpm = await startTpm(t)
const device = await openTpm({ tcti: tpm.tcti, endorsement: 'rsa' })
const root = tpm.write('root.pem', Buffer.from(tpm.roots.map(String).join('\n')))

/** The server's side with these lines of `attestation.tpm`. */
async function operator(test: Parameters<typeof enrolmentRig>[0], lines: string) {
  const text = `operator: { name: Corner Wi-Fi }
tariffs: { standard: { per_minute: "1", per_megabyte: "1" } }
attestation: { tpm: { ${lines} } }
`
  const read = checkConfig(text, join(root, '../datanet.yaml'), {})
  if ('problems' in read) throw new Error(JSON.stringify(read.problems))
  const rig = await enrolmentRig(test, { policies: read.policies })
  // Its certificates are of now.
  rig.world.nowMs = Date.now() + 1_000
  rig.deposit('alice')
  return rig
}

async function enrol({ challenge, enrol: finish }: Awaited<ReturnType<typeof operator>>) {
  const begun = await challenge(accountNamed('alice'), { tpm: await device.firstStep() })
  if (begun.status !== 200) return begun
  const nonce = Buffer.from(begun.nonce, 'base64url')
  const { ticket, credential, pcrs } = begun.tpm
  const asked = challengeOf(nonce, accountNamed('alice'), domain.operator)
  const evidence = { ticket, ...(await device.secondStep(credential, asked, pcrs)) }
  return finish({
    ...grantOf('alice', device.meteringKey, begun.nonce),
    ...{ scheme: 'tpm', evidence },
  })
}

t.test('the key of a TPM whose authority the operator names is one in hardware', async (t) => {
  const rig = await operator(t, 'roots: [root.pem]')
  t.match(await enrol(rig), { status: 200, trust: 'hardware', scheme: 'tpm' })
  t.match(await enrol(rig), { status: 200 }, 'and again')
  const publicKey = device.meteringKey.toString('base64url')
  t.match(rig.ledger.meteringKeys(accountNamed('alice')), [{ publicKey, trust: 'hardware' }])
  t.equal(rig.ledger.meteringKeys(accountNamed('alice')).length, 1, 'the same one in its place')
})

t.test('registers are quoted where the operator asks for them', async (t) => {
  const pcrs = (digest: string) =>
    `roots: [root.pem], pcrs: { registers: [0, 7], digests: ["${digest}"] }`
  t.match(await enrol(await operator(t, pcrs(ZEROS))), { status: 200, trust: 'hardware' })
  const other = await enrol(await operator(t, pcrs(randomBytes(32).toString('hex'))))
  t.match(other, { status: 422, error: { code: 'weak-device' } })
})

t.test('without its authority, or with its certificate revoked, it is refused', async (t) => {
  const unknown = await enrol(await operator(t, ''))
  t.match(unknown, { status: 422, error: { code: 'unpinned-root' } })
  const { ekCertificates = [] } = await device.firstStep()
  const sha256 = hash('sha256', Buffer.from(ekCertificates[0] ?? '', 'base64url'))
  const revoked = await enrol(await operator(t, `roots: [root.pem], revoked: ["${sha256}"]`))
  t.match(revoked, { status: 422, error: { code: 'revoked' } })
})

t.test('EK Credential Profile §2.2.1.5: issuers in its memory lead to the root', async (t) => {
  tpm.write('anchor.pem', Buffer.from(tpm.anchor))
  const isolated = await enrol(await operator(t, 'roots: [anchor.pem]'))
  t.match(isolated, { status: 422, error: { code: 'unpinned-root' } })
  t.match(isolated.error.message, /"CN=swtpm-localca"/, 'who is missing')
  t.match(isolated.error.message, /under attestation\.tpm\.roots$/, 'and where it goes')
  const [issuer] = tpm.roots
  if (issuer === undefined) throw new Error('no issuer')
  const [stranger = Buffer.alloc(0)] = certificates('st-ecc.pem').slice(1)
  const anchor = new X509Certificate(tpm.anchor).raw
  // Upside down, with one that is none of its own, over two indices, filled up.
  const middle = 100
  const parts = [stranger, anchor, issuer.raw.subarray(0, middle)]
  await tpm.burn('0x1c00100', Buffer.concat(parts))
  await tpm.burn('0x1c00101', Buffer.concat([issuer.raw.subarray(middle), Buffer.alloc(40, 255)]))
  const { ekCertificates = [] } = await device.firstStep()
  const sent = ekCertificates.map((text) => Buffer.from(text, 'base64url'))
  t.same(sent.slice(1), [issuer.raw, anchor])
  const rig = await operator(t, 'roots: [anchor.pem]')
  t.match(await enrol(rig), { status: 200, trust: 'hardware', scheme: 'tpm' })
})

t.test('without a certificate it shows its endorsement key, which an operator lists', async (t) => {
  await tpm.tool('nvundefine', '0x1c00002', '-C', 'p')
  const unlisted = await enrol(await operator(t, 'roots: [root.pem]'))
  t.match(unlisted, { status: 422, error: { code: 'unpinned-root' } })
  const says = /^endorsement key ([0-9a-f]{64}) .*list it under attestation\.tpm\.endorsement_keys$/
  const [, digest] = says.exec(unlisted.error.message) ?? []
  const rig = await operator(t, `endorsement_keys: ["${digest}"]`)
  t.match(await enrol(rig), { status: 200, trust: 'hardware', scheme: 'tpm' })
})

t.test('device run shows the endorsement key that its maker has certified', async (t) => {
  const shown = async () => {
    const key = await openTpmKey(tpm.tcti)
    t.equal(key.scheme, 'tpm')
    const { tpm: first } = (await key.introduction()) as { tpm: TpmFirstStep }
    return first
  }
  const { ekPublic = '', ekCertificates } = await shown()
  t.ok(Buffer.from(ekPublic, 'base64url').length > 256, 'none: the RSA one itself')
  t.equal(ekCertificates, undefined)
  await tpm.tool('createek', '-G', 'ecc', '-c', tpm.at('ek'), '-u', tpm.at('ek.pub'))
  await tpm.tool('readpublic', '-c', tpm.at('ek'), '-f', 'pem', '-o', tpm.at('ek.pem'))
  await tpm.tool('flushcontext', '-t')
  const der = await tpm.certify('ek.pem')
  await tpm.burn('0x1c0000a', Buffer.concat([der, Buffer.alloc(100, 255)]))
  const certified = await shown()
  t.equal(certified.ekCertificates?.[0], der.toString('base64url'), 'the P-256 one')
  t.equal(certified.ekCertificates?.length, 3, 'with its issuers')
  await tpm.burn('0x1c00002', Buffer.alloc(100, 255))
  t.same(await shown(), certified, 'memory for another that holds none')
  await tpm.tool('nvundefine', '0x1c0000a', '-C', 'p')
  t.same(Object.keys(await shown()), ['ekPublic', 'akPublic'], 'no certificate that can be read')
})

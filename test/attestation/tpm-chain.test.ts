// Chains of endorsement certificates: two of STMicroelectronics' TPMs to the pinned authorities,
// and the same broken in every way that has a reason.

import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { TPM_VENDOR_ROOTS } from '../../attestation/roots/tpm.ts'
import { TPM_VENDOR_INTERMEDIATES } from '../../attestation/roots/tpm-intermediates.ts'
import { type ChainPolicy, endorsedBy, readTpmRoots } from '../../attestation/tpm-chain.ts'
import { makeTpmCredential } from '../../attestation/tpm-credential.ts'
import { extension, keyOf, madeChain, NOW, rootOf, tlv, usual } from './made-chain.ts'
import { certificates, octets, recorded, text } from './tpm-recorded.ts'

const in2020 = Date.UTC(2020, 0, 1) / 1000
const files = TPM_VENDOR_ROOTS.map((pem, at) => ({ name: `${at}`, content: Buffer.from(pem) }))
const { roots } = readTpmRoots(files)
const [rsaEk, rsaIssuer] = certificates('st-rsa.pem') as [Buffer, Buffer]
const [eccEk, eccIssuer] = certificates('st-ecc.pem') as [Buffer, Buffer]

const reason = (chain: Buffer[], policy: ChainPolicy = { roots }, now = in2020) => {
  const found = endorsedBy(chain, policy, now)
  return found instanceof X509Certificate ? 'accepted' : found.reason
}
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

const intermediates = TPM_VENDOR_INTERMEDIATES.map((pem) => new X509Certificate(pem))

t.test('pinned authorities are what their comments say', async (t) => {
  for (const [file, pinned] of [
    ['tpm.ts', roots],
    ['tpm-intermediates.ts', intermediates],
  ] as const) {
    const source = new URL(`../../attestation/roots/${file}`, import.meta.url)
    const comments = readFileSync(source, 'utf8').match(/^\/\/ SHA-256 [0-9a-f]{64}$/gm) ?? []
    const hashes = pinned.map(({ raw }) => `// SHA-256 ${sha256(raw)}`)
    t.same(comments.toSorted(), hashes.toSorted())
  }
  for (const one of intermediates) {
    t.ok(one.ca && roots.some((root) => one.checkIssued(root) && one.verify(root.publicKey)))
  }
  t.equal(roots.length, TPM_VENDOR_ROOTS.length)
  for (const root of roots) t.ok(root.ca && root.validToDate.getTime() > Date.UTC(2035, 0, 1))
})

t.test("endorsement certificates of STMicroelectronics' TPMs, RSA and P-256", async (t) => {
  t.equal(reason([rsaEk, rsaIssuer]), 'accepted')
  t.equal(reason([eccEk, eccIssuer]), 'accepted')
  const { akPublic } = recorded('rsa').first
  for (const chain of [
    [rsaEk, rsaIssuer],
    [eccEk, eccIssuer],
  ]) {
    const evidence = { ekCertificates: chain.map(text), akPublic }
    const made = makeTpmCredential(evidence, Buffer.alloc(64, 7), { roots }, in2020)
    if (!made.ok) throw new Error(made.detail)
    t.equal(made.kept.manufacturer, 'STM', 'of critical names, as the profile has them')
  }
  const pinned = { roots: [new X509Certificate(rsaIssuer)] }
  t.equal(reason([rsaEk], pinned), 'accepted', 'an intermediate may be pinned')
  t.equal(reason([rsaEk, rsaIssuer], pinned), 'accepted', 'and come along')
  const builtIn = { roots: [...roots, ...intermediates] }
  for (const ek of [rsaEk, eccEk]) t.equal(reason([ek], builtIn), 'accepted', 'built in')
})

t.test('chains that are refused', async (t) => {
  const root = roots.find(({ subject }) => subject.includes('STM TPM EK Root CA'))?.raw
  if (root === undefined) throw new Error('no root')
  const altered = (der: Buffer, at: number) => {
    const copy = Buffer.from(der)
    copy.writeUInt8((copy.at(at) ?? 0) ^ 1, at < 0 ? copy.length + at : at)
    return copy
  }
  const table: readonly [name: string, reason: string, Buffer[], number?][] = [
    ['with the root', 'accepted', [rsaEk, rsaIssuer, root]],
    ['nothing', 'malformed', []],
    ['no issuer', 'unpinned-root', [rsaEk]],
    ['the issuer of others', 'bad-chain', [rsaEk, eccIssuer]],
    ['an authority for a TPM', 'bad-chain', [rsaIssuer]],
    ['the root for a TPM', 'bad-chain', [root]],
    ['a TPM for an issuer', 'bad-chain', [rsaEk, eccEk]],
    ['more than leads to the root', 'accepted', [rsaEk, rsaIssuer, root, eccIssuer]],
    ['one astray', 'bad-chain', [rsaEk, eccIssuer, rsaIssuer]],
    ['octets after it', 'malformed', [Buffer.concat([rsaEk, Buffer.of(0xff)]), rsaIssuer]],
    ['its signature', 'bad-signature', [altered(rsaEk, -1), rsaIssuer]],
    ["its issuer's signature", 'bad-signature', [rsaEk, altered(rsaIssuer, -1)]],
    ['after 2028', 'expired', [rsaEk, rsaIssuer], Date.UTC(2029, 0, 1) / 1000],
    ['before 2018', 'expired', [rsaEk, rsaIssuer], Date.UTC(2017, 0, 1) / 1000],
  ]
  for (const [name, wanted, chain, now] of table) {
    t.equal(reason(chain, { roots }, now ?? in2020), wanted, name)
  }
  t.equal(reason([rsaEk, rsaIssuer], { roots: [] }), 'unpinned-root')
  for (const der of [rsaEk, rsaIssuer, root]) {
    const revoked = new Set([sha256(der)])
    t.equal(reason([rsaEk, rsaIssuer], { roots, revoked }), 'revoked')
  }
  const found = endorsedBy([rsaEk], { roots }, in2020)
  t.match(found, {
    detail: /issuer "C=CH, .*CN=STM TPM EK Intermediate CA 05" .* under attestation\.tpm\.roots$/,
  })
})

t.test(
  'certificates that a pinned root did sign, and that are not what they should be',
  async (t) => {
    const file = new URL('../vectors/attestation/tpm/broken.json', import.meta.url)
    const made = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
    const der = (name: string) => octets(made[name] ?? '')
    const policy = { roots: [new X509Certificate(der('root'))] }
    const now = Date.UTC(2026, 11, 1) / 1000
    const table: readonly [names: string[], reason: string, now?: number][] = [
      [['good'], 'accepted'],
      [['authority'], 'bad-chain'],
      [['purposeless'], 'bad-chain'],
      [['sha1'], 'bad-chain'],
      [['underLeaf', 'inter'], 'bad-chain'],
      [['good'], 'expired', now + 60 * 86_400],
    ]
    for (const [names, wanted, at] of table) {
      t.equal(reason(names.map(der), policy, at ?? now), wanted, `${names} at ${at ?? now}`)
    }
  },
)

t.test(
  'RFC 5280 §4.2.1.9: what a device sends is bound by what its issuers may have',
  async (t) => {
    const purpose = tlv('30', tlv('06', Buffer.from('6781050801', 'hex')))
    const ek = { extensions: [extension('551d25', purpose)] }
    const authority = (length: string) =>
      extension('551d13', tlv('30', Buffer.from(`0101ff${length}`, 'hex')), true)
    const below = { name: 'Below', key: keyOf('below'), extensions: [authority('')] }
    const of = (length: string, isLong: boolean, extensions = [authority(length)]) => {
      const [leaf, middle, top] = usual(ek, { extensions })
      if (leaf === undefined || middle === undefined || top === undefined) throw new Error('few')
      return madeChain(leaf, ...(isLong ? [below] : []), middle, top)
    }
    const signs = (bits: string) => extension('551d0f', Buffer.from(`0302${bits}`, 'hex'), true)
    const table: readonly [name: string, reason: string, Buffer[]][] = [
      ['none below, none', 'accepted', of('020100', false)],
      ['none below, one', 'bad-chain', of('020100', true)],
      ['one below, one', 'accepted', of('020101', true)],
      ['any below, one', 'accepted', of('', true)],
      ['an issuer that may not sign', 'bad-chain', of('', false, [authority(''), signs('0780')])],
      ['an issuer that may', 'accepted', of('', false, [authority(''), signs('0204')])],
      ['a length that is none', 'bad-chain', of('0200', false)],
    ]
    for (const [name, wanted, chain] of table) {
      t.equal(reason(chain.slice(0, -1), { roots: [rootOf(chain)] }, NOW), wanted, name)
    }
    t.equal(reason(of('', true).slice(0, -1), { roots }, NOW), 'unpinned-root')
    const named = of('', false)
    const found = endorsedBy(named.slice(0, 1), { roots: [] }, NOW)
    t.match(found, { detail: /^the issuer "CN=Middle" is not pinned here/ })
  },
)

t.test('a name out of a certificate is shown as printable ASCII', async (t) => {
  const [leaf, middle, top] = usual(
    { extensions: [extension('551d25', tlv('30', tlv('06', Buffer.from('6781050801', 'hex'))))] },
    { name: `\u001b[2J\u009bä"x"` },
  )
  if (leaf === undefined || middle === undefined || top === undefined) throw new Error('few')
  const [ek = Buffer.alloc(0)] = madeChain(leaf, middle, top)
  const found = endorsedBy([ek], { roots: [] }, NOW)
  const detail = found instanceof X509Certificate ? '' : found.detail
  t.match(detail, /^the issuer "CN=[ !#-~]+" is not pinned here: the operator/)
  t.notMatch(detail, /[^ -~]/)
})

t.test('files of an operator: PEM of one or many, DER, and what is neither', async (t) => {
  const pem = (der: Buffer) => new X509Certificate(der).toString()
  const both = Buffer.from(`a note\n${pem(rsaIssuer)}${pem(eccIssuer)}`)
  const found = readTpmRoots([
    { name: 'both.pem', content: both },
    { name: 'one.cer', content: rsaIssuer },
    { name: 'a-tpm.pem', content: Buffer.from(pem(rsaEk)) },
    { name: 'note.txt', content: Buffer.from('nothing') },
    { name: 'empty', content: Buffer.alloc(0) },
  ])
  t.equal(found.roots.length, 3)
  t.same(found.wrong, ['a-tpm.pem', 'note.txt', 'empty'])
})

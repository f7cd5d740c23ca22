// The first step of a TPM's enrolment: which endorsement keys and attestation keys get a
// credential, and that whoever has the endorsement key opens it, for that name alone.

import {
  constants,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
} from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { makeTpmCredential, type TpmPolicy } from '../../attestation/tpm-credential.ts'
import { OBJECT, readTpm2bPublic } from '../../attestation/tpm-structures.ts'
import { octets, recorded, text, turned } from './tpm-recorded.ts'

const rsa = recorded('rsa')
const ecc = recorded('ecc')
const RANDOM = Buffer.from(Array.from({ length: 64 }, (_, at) => at))
const DAY_SECONDS = 86_400

const u16 = (value: number) => Buffer.of(value >> 8, value & 0xff)
const u32 = (value: number) =>
  Buffer.of(value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255)
const sized = (bytes: Buffer) => Buffer.concat([u16(bytes.length), bytes])

const BORN_HERE = OBJECT.fixedTpm | OBJECT.fixedParent | OBJECT.sensitiveDataOrigin
const STORAGE = BORN_HERE | OBJECT.adminWithPolicy | OBJECT.restricted | OBJECT.decrypt

/** TPM2B_PUBLIC of an endorsement key as the templates L-1, L-2 and H-3 have it. */
function endorsementArea(key: KeyObject, attributes = STORAGE): Buffer {
  const { n, x, y, crv } = key.export({ format: 'jwk' })
  const is384 = crv === 'P-384'
  const aes = Buffer.concat([u16(6), u16(is384 ? 256 : 128), u16(0x43)])
  const head = (type: number) =>
    Buffer.concat([
      ...[u16(type), u16(is384 ? 12 : 11), u32(attributes)],
      ...[sized(Buffer.alloc(is384 ? 48 : 32, 1)), aes, u16(0x10)],
    ])
  if (n !== undefined) {
    return sized(Buffer.concat([head(1), u16(2048), u32(0), sized(octets(n))]))
  }
  const point = [sized(octets(x ?? '')), sized(octets(y ?? ''))]
  return sized(Buffer.concat([head(0x23), u16(is384 ? 4 : 3), u16(0x10), ...point]))
}

function kdfa(hash: string, key: Buffer, use: string, context: Buffer, bits: number): Buffer {
  const input = [u32(1), Buffer.from(`${use}\0`), context, u32(bits)]
  return createHmac(hash, key)
    .update(Buffer.concat(input))
    .digest()
    .subarray(0, bits / 8)
}

/** The seed as a TPM finds it. */
function seedOf(privateKey: KeyObject, encrypted: Buffer, hash: string): Buffer {
  const wrapped = encrypted.subarray(2)
  const label = Buffer.from('IDENTITY\0')
  if (privateKey.asymmetricKeyType === 'rsa') {
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    return privateDecrypt({ key: privateKey, padding, oaepHash: hash, oaepLabel: label }, wrapped)
  }
  const length = wrapped.readUInt16BE()
  const x = wrapped.subarray(2, 2 + length)
  const y = wrapped.subarray(4 + length)
  const { crv = '', x: ours = '' } = privateKey.export({ format: 'jwk' })
  const key = { kty: 'EC', crv, x: text(x), y: text(y) }
  const publicKey = createPublicKey({ format: 'jwk', key })
  const z = diffieHellman({ privateKey, publicKey })
  return createHash(hash)
    .update(Buffer.concat([u32(1), z, label, x, octets(ours)]))
    .digest()
}

/** TPM2_ActivateCredential (Part 3 §12.5); undefined where the TPM says TPM_RC_INTEGRITY. */
function activate(
  privateKey: KeyObject,
  o: { idObject: string; encryptedSecret: string },
  name: Buffer,
): Buffer | undefined {
  const is384 = privateKey.asymmetricKeyDetails?.namedCurve === 'secp384r1'
  const [hash, aesBits, macBits] = is384
    ? (['sha384', 256, 384] as const)
    : (['sha256', 128, 256] as const)
  const seed = seedOf(privateKey, octets(o.encryptedSecret), hash)
  const body = octets(o.idObject).subarray(2)
  const mac = body.subarray(2, 2 + macBits / 8)
  const identity = body.subarray(2 + macBits / 8)
  const macKey = kdfa(hash, seed, 'INTEGRITY', Buffer.alloc(0), macBits)
  if (!createHmac(hash, macKey).update(identity).update(name).digest().equals(mac)) return undefined
  const key = kdfa(hash, seed, 'STORAGE', name, aesBits)
  const cipher = createDecipheriv(`aes-${aesBits}-cfb`, key, Buffer.alloc(16))
  return Buffer.concat([cipher.update(identity), cipher.final()]).subarray(2)
}

const reason = (evidence: unknown, policy: TpmPolicy = rsa.policy, now = rsa.nowSeconds) => {
  const made = makeTpmCredential(evidence, RANDOM, policy, now)
  return made.ok ? 'accepted' : made.reason
}

const KEYS = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
}
const listed = (key: KeyObject): TpmPolicy => {
  const spki = key.export({ format: 'der', type: 'spki' })
  return { roots: [], endorsementKeys: new Set([createHash('sha256').update(spki).digest('hex')]) }
}
const { akPublic } = rsa.first
const name = readTpm2bPublic(octets(akPublic))?.name ?? Buffer.alloc(0)

t.test('TPM 2.0 Part 1 §24: only the endorsement key opens, only for that name', async (t) => {
  for (const [kind, { publicKey, privateKey }] of Object.entries(KEYS)) {
    const ekPublic = text(endorsementArea(publicKey))
    const made = makeTpmCredential({ ekPublic, akPublic }, RANDOM, listed(publicKey), 0)
    if (!made.ok) throw new Error(`${kind}: ${made.detail}`)
    t.same(made.kept.secret, RANDOM.subarray(0, 32), kind)
    t.same(activate(privateKey, made.credential, name), made.kept.secret, kind)
    const other = Buffer.from(name)
    other.writeUInt8((other[5] ?? 0) ^ 1, 5)
    t.equal(activate(privateKey, made.credential, other), undefined, `${kind}: another name`)
    t.equal(reason({ ekPublic, akPublic }), 'unpinned-root', `${kind}: not listed`)
    const signs = text(endorsementArea(publicKey, STORAGE | OBJECT.sign))
    t.equal(reason({ ekPublic: signs, akPublic }, listed(publicKey)), 'weak-key', `${kind} signs`)
    const moves = text(endorsementArea(publicKey, STORAGE & ~OBJECT.fixedTpm))
    t.equal(reason({ ekPublic: moves, akPublic }, listed(publicKey)), 'weak-key', `${kind} moves`)
  }
})

t.test('TPM 2.0: recorded endorsement certificates', async (t) => {
  for (const o of [rsa, ecc]) {
    const made = makeTpmCredential(o.first, RANDOM, o.policy, o.nowSeconds)
    if (!made.ok) throw new Error(made.detail)
    t.same({ ...made.kept, secret: o.kept.secret }, o.kept)
    t.equal(reason(o.first, { roots: [] }, o.nowSeconds), 'unpinned-root')
    t.equal(reason(o.first, o.policy, o.nowSeconds - 30 * DAY_SECONDS), 'expired')
  }
  t.equal(reason(rsa.first, ecc.policy), 'unpinned-root', 'another authority of that name')
  t.equal(reason(ecc.first, ecc.policy, ecc.nowSeconds + 31 * DAY_SECONDS), 'expired')
  const wrong: [unknown, string][] = [
    [{ ...rsa.first, ekPublic: akPublic }, 'malformed'],
    [{ akPublic }, 'malformed'],
    [{ ekCertificates: [], akPublic }, 'malformed'],
    [{ ekCertificates: Array(7).fill(rsa.first.ekCertificates[0]), akPublic }, 'malformed'],
    [{ ...rsa.first, akPublic: rsa.first.ekCertificates[0] }, 'malformed'],
    [{ ...rsa.first, akPublic: rsa.second.meteringPublic }, 'weak-key'],
    [{ ...rsa.first, akPublic: text(endorsementArea(KEYS['P-256'].publicKey)) }, 'weak-key'],
    [{ ekPublic: akPublic, akPublic }, 'weak-key'],
    [null, 'malformed'],
  ]
  for (const [evidence, wanted] of wrong) t.equal(reason(evidence), wanted)
  t.throws(() => makeTpmCredential(rsa.first, RANDOM.subarray(1), rsa.policy, 0), RangeError)
})

t.test('TPM 2.0: every octet of the first step altered', async (t) => {
  const [certificate = ''] = ecc.first.ekCertificates
  const seen = new Map<string, number>()
  for (let at = 0; at < octets(certificate).length; at++) {
    const ekCertificates = [turned(certificate, at)]
    const found = reason({ ...ecc.first, ekCertificates }, ecc.policy, ecc.nowSeconds)
    seen.set(found, (seen.get(found) ?? 0) + 1)
  }
  const allowed = ['bad-chain', 'bad-signature', 'expired', 'malformed', 'unpinned-root']
  t.same([...seen.keys()].sort(), allowed, JSON.stringify([...seen]))
  for (let at = 0; at < octets(akPublic).length; at++) {
    const area = turned(akPublic, at)
    const made = makeTpmCredential(
      { ...rsa.first, akPublic: area },
      RANDOM,
      rsa.policy,
      rsa.nowSeconds,
    )
    // What is left is another name, for which no TPM opens the credential.
    const renamed = made.ok && !readTpm2bPublic(made.kept.akPublic)?.name.equals(name)
    t.ok(renamed || !made.ok, `octet ${at}`)
  }
})

t.test('TPM 2.0: garbage in the first step is refused, not thrown at', async (t) => {
  const word = fc.uint8Array({ maxLength: 200 }).map((o) => Buffer.from(o).toString('base64url'))
  const certificate = fc.oneof(word, fc.constantFrom(...rsa.first.ekCertificates))
  const o = fc.oneof(
    fc.record({ ekCertificates: fc.array(certificate, { maxLength: 7 }), akPublic: word }),
    fc.record({ ekPublic: word, akPublic: fc.oneof(word, fc.constant(akPublic)) }),
    fc.anything(),
  )
  fc.assert(
    fc.property(o, (value) => reason(value) !== 'accepted'),
    { numRuns: 500, seed: 22 },
  )
  const offCurve = createECDH('prime256v1').generateKeys()
  offCurve.writeUInt8((offCurve[64] ?? 0) ^ 1, 64)
  const area = octets(akPublic)
  offCurve.copy(area, area.length - 66, 1, 33)
  offCurve.copy(area, area.length - 32, 33)
  t.equal(reason({ ...rsa.first, akPublic: text(area) }), 'malformed', 'a point off the curve')
})

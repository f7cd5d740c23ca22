// Writes a .p12 file: key, certificate and CA under one password, for people who tap a file to
// install it. PBE with 3DES and an HMAC-SHA1 seal (RFC 7292 appendix B and C): the one form that
// OpenSSL 1 to 3, Android, Windows before 2019 and Apple's importers all read; Apple's refuse an
// HMAC-SHA256 seal. The password must not also protect the wallet: this file is far cheaper to
// guess at than a keystore.

import { createCipheriv, createHmac, createPrivateKey, hash } from 'node:crypto'
import pbe from 'node-forge/lib/pbe.js'
import util from 'node-forge/lib/util.js'
import {
  bmpString,
  CertificateError,
  context,
  contextBytes,
  type DerNode,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  setOf,
  toDer,
} from '../der.ts'
import { pemBlock } from '../x509.ts'

const DATA = '1.2.840.113549.1.7.1'
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6'
const SHROUDED_KEY_BAG = '1.2.840.113549.1.12.10.1.2'
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3'
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1'
const FRIENDLY_NAME = '1.2.840.113549.1.9.20'
const LOCAL_KEY_ID = '1.2.840.113549.1.9.21'
const PBE_SHA1_3DES = '1.2.840.113549.1.12.1.3'
const SHA1 = '1.3.14.3.2.26'

// Each guess costs this many hashes; importers on phones stay well under a second.
const ITERATIONS = 20_000
// What OpenSSL writes; some versions of Apple's importer refuse 16.
const SALT_BYTES = 8
const SHA1_BYTES = 20
/** RFC 7292 appendix B.3: what a derived value is for. */
const Purpose = { key: 1, iv: 2, mac: 3 } as const

/** RFC 7292 appendix B.2 with SHA-1. */
function deriveBytes(password: string, salt: Buffer, purpose: number, length: number): Buffer {
  const saltBuffer = util.createBuffer(salt.toString('latin1'))
  const bytes = pbe.generatePkcs12Key(password, saltBuffer, purpose, ITERATIONS, length)
  return Buffer.from(bytes.getBytes(), 'latin1')
}

function encrypted(plain: Buffer, password: string, salt: Buffer): [DerNode, Buffer] {
  const key = deriveBytes(password, salt, Purpose.key, 24)
  const iv = deriveBytes(password, salt, Purpose.iv, 8)
  const cipher = createCipheriv('des-ede3-cbc', key, iv)
  const parameters = sequence(octetString(salt), iterations())
  const algorithm = sequence(oid(PBE_SHA1_3DES), parameters)
  return [algorithm, Buffer.concat([cipher.update(plain), cipher.final()])]
}

const iterations = (): DerNode =>
  integer(Buffer.from(ITERATIONS.toString(16).padStart(8, '0'), 'hex'))

const attribute = (id: string, value: DerNode): DerNode => sequence(oid(id), setOf(value))

const certificateBag = (der: Buffer, ...attributes: DerNode[]): DerNode =>
  sequence(
    oid(CERTIFICATE_BAG),
    context(0, sequence(oid(X509_CERTIFICATE), context(0, octetString(der)))),
    ...(attributes.length === 0 ? [] : [setOf(...attributes)]),
  )

export interface Pkcs12Input {
  /** PKCS#8, SEC 1 or any other PEM that node:crypto reads. */
  readonly keyPem: string
  readonly certificatePem: string
  /** The operator's CA, installed along with the identity; absent: the identity alone. */
  readonly caCertificatePem?: string
  /** Shown in certificate stores. */
  readonly name: string
  /**
   * May be empty, which Android's Passpoint import demands; then the file is as secret as the key.
   */
  readonly password: string
  /** `random(n)` gives n unpredictable bytes. */
  readonly random: (length: number) => Buffer
}

/** The .p12 file; throws CertificateError where a PEM holds no certificate. */
export function pkcs12(o: Pkcs12Input): Buffer {
  const certificate = derOf(o.certificatePem)
  const key = createPrivateKey(o.keyPem).export({ type: 'pkcs8', format: 'der' })
  const attributes = (): DerNode[] => [
    attribute(FRIENDLY_NAME, bmpString(o.name)),
    attribute(LOCAL_KEY_ID, octetString(hash('sha1', certificate, 'buffer'))),
  ]
  const bags = [certificateBag(certificate, ...attributes())]
  if (o.caCertificatePem !== undefined) bags.push(certificateBag(derOf(o.caCertificatePem)))
  const [certsAlgorithm, certs] = encrypted(
    toDer(sequence(...bags)),
    o.password,
    o.random(SALT_BYTES),
  )
  const [keyAlgorithm, shroudedKey] = encrypted(key, o.password, o.random(SALT_BYTES))
  const encryptedData = sequence(
    integer(Buffer.from([0])),
    sequence(oid(DATA), certsAlgorithm, contextBytes(0, certs)),
  )
  const keyBag = sequence(
    oid(SHROUDED_KEY_BAG),
    context(0, sequence(keyAlgorithm, octetString(shroudedKey))),
    setOf(...attributes()),
  )
  const safe = toDer(
    sequence(
      sequence(oid(ENCRYPTED_DATA), context(0, encryptedData)),
      sequence(oid(DATA), context(0, octetString(toDer(sequence(keyBag))))),
    ),
  )
  const salt = o.random(SALT_BYTES)
  const macKey = deriveBytes(o.password, salt, Purpose.mac, SHA1_BYTES)
  const mac = createHmac('sha1', macKey).update(safe).digest()
  return toDer(
    sequence(
      integer(Buffer.from([3])),
      sequence(oid(DATA), context(0, octetString(safe))),
      sequence(
        sequence(sequence(oid(SHA1), nullValue()), octetString(mac)),
        octetString(salt),
        iterations(),
      ),
    ),
  )
}

function derOf(pem: string): Buffer {
  const der = pemBlock(pem, 'CERTIFICATE')
  if (der === undefined) throw new CertificateError('no CERTIFICATE in PEM')
  return der
}

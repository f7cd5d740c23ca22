// Everything a new device's DIR holds, as bytes: keystore, TLS key, certificate, device.json,
// profiles. Time, randomness and the password are arguments; writes nothing. Called by `device
// create`.

import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { isAbsolute, join } from 'node:path'
import { deriveDeviceKey, makeBoundCertificate, makeDirectCertificate } from '../certs/device.ts'
import { realmOf } from '../certs/operator.ts'
import { mobileconfig } from '../certs/profiles/mobileconfig.ts'
import { passpoint } from '../certs/profiles/passpoint.ts'
import { pkcs12 } from '../certs/profiles/pkcs12.ts'
import { windowsWlanXml } from '../certs/profiles/windows.ts'
import { wpaSupplicantConf } from '../certs/profiles/wpa_supplicant.ts'
import { isRoot } from '../certs/server-chain.ts'
import { sha256 } from '../certs/x509.ts'
import { accountOf } from '../ethereum/signature.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { DeviceError } from './error.ts'
import { type DeviceFile, deviceJson, type FolderFile } from './folder.ts'
import { sealAccount } from './keystore.ts'
import { CA_FILE } from './network-block.ts'
import type { ProvenOperator } from './operator.ts'
import { voucherUriOf } from './renewal.ts'
import { EMPTY_BOOK, signedFor } from './voucher-book.ts'
import { VOUCHERS_FILE, vouchersText } from './vouchers-file.ts'

/**
 * 30 days in all (product rule), of which ten minutes lie in the past for clocks that run
 * behind.
 */
const VALIDITY_SECONDS = 30 * 86_400
const BACKDATE_SECONDS = 600
const SERIAL_BYTES = 16
// IEEE 802.11: an SSID is at most 32 octets.
const SSID_BYTES_MAX = 32
// OpenSSL offers no secp256k1 unless told, and wpa_supplicant has no setting of its own for it.
// X25519 and P-256 stay for the key exchange.
const OPENSSL_CONF = `# For the program that joins with key.pem: OPENSSL_CONF=THIS_FILE
openssl_conf = datanet
[datanet]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Groups = X25519:P-256:secp256k1
`

/** A TLS key that lives elsewhere: its file, and what the file holds in PEM. */
export interface KeyElsewhere {
  readonly path: string
  readonly pem: string
}

/** What a new device is made of. */
export interface Enrolment {
  readonly name: string
  readonly kind: 'bound' | 'direct'
  readonly operator: ProvenOperator
  /** Where DIR will be, absolute: wpa_supplicant.conf names its files by full paths. */
  readonly directory: string
  readonly accountKey: Buffer
  readonly password: string
  readonly nowSeconds: number
  readonly random: (length: number) => Buffer
  /** The network the profiles join; absent: the operator's name, and any in wpa_supplicant.conf. */
  readonly ssid?: string
  readonly key?: KeyElsewhere
  /** Paid to the operator by the certificate itself at the first join; base units, bound only. */
  readonly prepay?: bigint
  readonly scryptCost?: number
}

/** A device that is not on disk yet. */
export interface EnrolledDevice {
  readonly device: DeviceFile
  readonly notAfter: number
  readonly ssid: string
  readonly files: readonly FolderFile[]
  /** Profiles that can't hold what this operator's certificate needs, in words for the person. */
  readonly leftOut: string | undefined
}

interface TlsIdentity {
  readonly certificatePem: string
  /** Absent where the key lives elsewhere. */
  readonly keyPem?: string
  readonly keyPath: string
}

/** 32 random bytes that are a valid account key. */
export function newAccountKey(random: (length: number) => Buffer): Buffer {
  for (;;) {
    const candidate = random(32)
    try {
      accountOf(candidate)
      return candidate
    } catch {
      // Outside 1..n-1, once in 2^128: draw again.
    }
  }
}

/**
 * Makes the whole content of DIR. Throws DeviceError 'usage' for a key file or SSID that cannot
 * be used.
 */
export async function enrolDevice(enrolment: Enrolment): Promise<EnrolledDevice> {
  const { name, kind, operator, accountKey } = enrolment
  const ssid = enrolment.ssid ?? shortened(operator.name)
  if (Buffer.byteLength(ssid) > SSID_BYTES_MAX) {
    throw new DeviceError('usage', `an SSID is at most ${SSID_BYTES_MAX} bytes`)
  }
  const notBefore = enrolment.nowSeconds - BACKDATE_SECONDS
  const notAfter = notBefore + VALIDITY_SECONDS
  const tls = makeIdentity(enrolment, notBefore, notAfter)
  const rootPem = rootOf(operator)
  const device: DeviceFile = {
    version: 1,
    name,
    kind,
    account: accountOf(accountKey),
    operatorUrl: operator.url,
    operatorId: operator.operatorId,
    operatorName: operator.name,
    operatorAccount: operator.account,
    serverName: operator.serverName,
    serverSpkiSha256: operator.serverSpkiSha256,
    contract: operator.contract,
    chainId: operator.chainId,
    rpc: operator.rpc,
    token: operator.token,
    privateKey: tls.keyPath,
  }
  const wallet = await sealAccount(accountKey, enrolment.password, enrolment.scryptCost)
  const files: FolderFile[] = [
    { name: '.gitignore', content: '*\n' },
    { name: 'wallet.json', content: wallet },
    { name: 'cert.pem', content: tls.certificatePem },
    ...(rootPem === undefined ? [] : [{ name: CA_FILE, content: rootPem }]),
    { name: 'wpa_supplicant.conf', content: supplicantConf(enrolment, tls) },
    { name: 'device.json', content: deviceJson(device) },
    ...profiles(enrolment, tls, ssid),
    ...signedBook(enrolment),
  ]
  if (tls.keyPem !== undefined) files.push({ name: 'key.pem', content: tls.keyPem })
  if (kind === 'direct') files.push({ name: 'openssl.cnf', content: OPENSSL_CONF })
  return { device, notAfter, ssid, files, leftOut: leftOut(operator) }
}

function makeIdentity(enrolment: Enrolment, notBefore: number, notAfter: number): TlsIdentity {
  const { name, accountKey, operator, key } = enrolment
  const serial = enrolment.random(SERIAL_BYTES)
  if (enrolment.kind === 'direct') {
    const made = makeDirectCertificate({ accountKey, name, notBefore, notAfter, serial })
    return { ...made, keyPath: 'key.pem' }
  }
  const { contract } = operator
  const chainId = BigInt(operator.chainId)
  const carried = { ...prepaidUri(enrolment), serial }
  const bound = { accountKey, chainId, contract, name, notBefore, notAfter, ...carried }
  if (key === undefined) {
    const keyPem = deriveDeviceKey({ accountKey, chainId, contract, name })
    const publicKey = publicPemOf(keyPem)
    const certificatePem = makeBoundCertificate({ ...bound, publicKey, signingKeyPem: keyPem })
    return { certificatePem, keyPem, keyPath: 'key.pem' }
  }
  try {
    const isPrivate = key.pem.includes('PRIVATE KEY')
    const publicKey = isPrivate ? publicPemOf(key.pem) : key.pem
    const signing = isPrivate ? { signingKeyPem: key.pem } : {}
    const certificatePem = makeBoundCertificate({ ...bound, publicKey, ...signing })
    return { certificatePem, keyPath: isPrivate ? key.path : 'key.pem' }
  } catch (error) {
    const kinds = 'a P-256 private key, public key or certificate request in PEM'
    throw new DeviceError('usage', `${key.path} is not ${kinds}`, error)
  }
}

/** The voucher a new certificate carries. */
function prepaidUri({ operator, accountKey, prepay }: Enrolment): { voucherUri?: string } {
  if (prepay === undefined) return {}
  const { operatorId, chainId, contract } = operator
  const domain = payPlaceDomain(chainId, contract)
  const to = { operatorId, account: accountOf(accountKey), accountKey, domain }
  return { voucherUri: voucherUriOf(to, prepay) }
}

/** What was signed stands in the book from the start, or the payer would sign it again. */
function signedBook({ operator, prepay }: Enrolment): FolderFile[] {
  if (prepay === undefined) return []
  const book = signedFor(EMPTY_BOOK, prepay)
  return [{ name: VOUCHERS_FILE, content: vouchersText(new Map([[operator.operatorId, book]])) }]
}

const publicPemOf = (keyPem: string): string =>
  createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'pem' }).toString()

function supplicantConf(
  { kind, operator, directory, ssid }: Enrolment,
  { keyPath }: TlsIdentity,
): string {
  const { serverName } = operator
  return wpaSupplicantConf({
    kind,
    realm: realmOf(operator.name),
    ...(rootOf(operator) === undefined
      ? {
          certificateSha256: sha256(new X509Certificate(operator.certificates[0]).raw).toString(
            'hex',
          ),
        }
      : { caPath: join(directory, CA_FILE), serverName }),
    certificatePath: join(directory, 'cert.pem'),
    keyPath: isAbsolute(keyPath) ? keyPath : join(directory, keyPath),
    ...(ssid === undefined ? {} : { ssid }),
  })
}

/** Files a person can tap. Those that carry the key need it here, and a curve phones know. */
function profiles(enrolment: Enrolment, tls: TlsIdentity, ssid: string): FolderFile[] {
  const { name, operator, random, password } = enrolment
  const { certificatePem, keyPem } = tls
  const { name: operatorName, serverName } = operator
  const realm = realmOf(operatorName)
  const [leafPem, caPem] = operator.certificates
  const rootPem = rootOf(operator)
  const files: FolderFile[] = []
  if (rootPem !== undefined) {
    const windows = windowsWlanXml({ ssid, serverName, caCertificatePem: rootPem })
    files.push({ name: `${name}-windows.xml`, content: windows })
  }
  if (enrolment.kind === 'direct' || keyPem === undefined) return files
  const identity = { keyPem, certificatePem, name, random }
  const withCa = caPem === undefined ? {} : { caCertificatePem: caPem }
  const sealed = pkcs12({ ...identity, ...withCa, password })
  const shown = { operatorName, realm }
  const anchorPem = caPem ?? leafPem
  const apple = mobileconfig({ ...shown, anchorPem, name, serverName, ssid, pkcs12: sealed })
  files.push(
    { name: `${name}.p12`, content: sealed },
    { name: `${name}.mobileconfig`, content: apple },
  )
  if (rootPem !== undefined) {
    // Android reads a Passpoint file's .p12 with an empty password and one entry only.
    const open = pkcs12({ ...identity, password: '' })
    const ca = { caCertificatePem: rootPem }
    const android = passpoint({ ...shown, ...ca, certificatePem, pkcs12: open })
    files.push({ name: `${name}-passpoint.config`, content: android })
  }
  return files
}

/**
 * The CA where it is a root. wpa_supplicant (with OpenSSL) and Windows end a chain at nothing else,
 * and Android's import takes no leaf in its place; only Apple's profiles may.
 */
function rootOf({ certificates: [, caPem] }: ProvenOperator): string | undefined {
  return caPem !== undefined && isRoot(caPem) ? caPem : undefined
}

function leftOut(operator: ProvenOperator): string | undefined {
  if (rootOf(operator) !== undefined) return undefined
  return `the operator's certificate comes without a root CA: wpa_supplicant.conf pins it whole \
(make the device anew when it is renewed), and Windows and Android get no profile`
}

/** As much of a text as an SSID holds, never half a character. */
function shortened(text: string): string {
  let result = ''
  for (const character of text) {
    if (Buffer.byteLength(result + character) > SSID_BYTES_MAX) break
    result += character
  }
  return result
}

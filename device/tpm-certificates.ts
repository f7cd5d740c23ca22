// The certificates in a TPM's own memory: the endorsement key's, and those of its issuers where the
// maker has put them there too. Owns where they lie and the path from one to the next; judges none
// of them (the operator does). Bounded, whatever the memory holds. Called by tpm.ts.

import { X509Certificate } from 'node:crypto'
import { CERTIFICATE_OCTETS_MAX, CHAIN_CERTIFICATES_MAX } from '../attestation/tpm-chain.ts'
import { DeviceError } from './error.ts'
import type { TpmTools } from './tpm-tools.ts'

// TCG EK Credential Profile §2.2.1.4: the endorsement key's. §2.2.1.5: its issuers', one after the
// other; who has more than fits goes on in the next index, amid a certificate too.
const CERTIFICATE_INDEX = { rsa: 0x1c00002, ecc: 0x1c0000a }
const CHAIN_FROM = 0x1c00100
const CHAIN_TO = 0x1c001ff
/** An index holds some 2 KB: room for two chains as long as an operator takes them. */
const CHAIN_INDEXES_MAX = 24

/** The NV indices that are defined, in ascending order. */
async function indexes(tools: TpmTools): Promise<readonly number[]> {
  const listed = await tools.run('getcap', 'handles-nv-index')
  return (listed.match(/0x[0-9a-f]{7,8}\b/gi) ?? []).map(Number).toSorted((a, b) => a - b)
}

async function contentOf(tools: TpmTools, index: number): Promise<Buffer> {
  const file = tools.path('nv')
  await tools.run('nvread', `0x${index.toString(16)}`, '-C', 'o', '-o', file)
  return tools.read('nv')
}

/** How long the DER is that begins here; undefined where none does, or it is cut. */
function lengthAt(octets: Buffer, at: number): number | undefined {
  const isLong = octets.length >= at + 4 && octets.readUInt16BE(at) === 0x3082
  const length = isLong ? 4 + octets.readUInt16BE(at + 2) : Number.POSITIVE_INFINITY
  return at + length <= octets.length ? length : undefined
}

function certificateOf(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

/** Every certificate in memory that holds one after the other, filled up with 0x00 or 0xff. */
export function certificatesIn(octets: Buffer): X509Certificate[] {
  const found: X509Certificate[] = []
  let at = 0
  while (at < octets.length) {
    const length = lengthAt(octets, at)
    const isFilling = octets[at] === 0x00 || octets[at] === 0xff
    if (length === undefined && !isFilling) break
    const read = certificateOf(octets.subarray(at, at + (length ?? 0)))
    if (read !== undefined && read.raw.length <= CERTIFICATE_OCTETS_MAX) found.push(read)
    at += length ?? 1
  }
  return found
}

function signedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

/**
 * `first`, then whoever of `pool` signed it, and so on: as many as an operator reads. What of the
 * pool leads nowhere stays away.
 */
export function pathOf(first: Buffer, pool: readonly X509Certificate[]): Buffer[] {
  const path = [first]
  let last = certificateOf(first)
  while (last !== undefined && path.length < CHAIN_CERTIFICATES_MAX) {
    const below: X509Certificate = last
    last = pool.find((one) => signedBy(below, one) && !path.some((der) => der.equals(one.raw)))
    if (last !== undefined) path.push(last.raw)
  }
  return path
}

async function issuers(tools: TpmTools, defined: readonly number[]): Promise<X509Certificate[]> {
  const theirs = defined.filter((index) => index >= CHAIN_FROM && index <= CHAIN_TO)
  try {
    const parts: Buffer[] = []
    for (const index of theirs.slice(0, CHAIN_INDEXES_MAX)) {
      parts.push(await contentOf(tools, index))
    }
    return certificatesIn(Buffer.concat(parts))
  } catch (error) {
    // Memory that may not be read: the operator may know the issuer all the same.
    if (error instanceof DeviceError) return []
    throw error
  }
}

/**
 * DER, from the endorsement key's upwards; undefined where the TPM holds none for it. Throws
 * DeviceError 'unavailable' where it holds one that cannot be read.
 */
export async function ownCertificates(
  tools: TpmTools,
  kind: 'rsa' | 'ecc',
): Promise<readonly Buffer[] | undefined> {
  const defined = await indexes(tools)
  if (!defined.includes(CERTIFICATE_INDEX[kind])) return undefined
  const octets = await contentOf(tools, CERTIFICATE_INDEX[kind])
  // The memory may be longer than the certificate in it.
  const length = lengthAt(octets, 0)
  if (length === undefined) {
    throw new DeviceError('unavailable', "the TPM's endorsement certificate cannot be read")
  }
  return pathOf(octets.subarray(0, length), await issuers(tools, defined))
}

// The enrolments recorded from a real TPM emulator (test/vectors/attestation/tpm), as values.
// Called by the tests of TPM evidence.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { TpmExpected } from '../../attestation/tpm.ts'
import type { TpmPolicy } from '../../attestation/tpm-credential.ts'

const folder = new URL('../vectors/attestation/tpm/', import.meta.url)

export const octets = (text: string) => Buffer.from(text, 'base64url')
export const text = (bytes: Buffer) => bytes.toString('base64url')

interface Signed {
  readonly attest: string
  readonly signature: string
}

export interface Recorded {
  readonly nowSeconds: number
  readonly root: string
  readonly first: { readonly ekCertificates: readonly string[]; readonly akPublic: string }
  readonly kept: Record<'secret' | 'akPublic' | 'endorsementKey' | 'manufacturer', string>
  readonly challenge: string
  readonly second: {
    readonly secret: string
    readonly meteringPublic: string
    readonly certify: Signed
    readonly quote: Signed
  }
  readonly publicKey: string
  readonly signed: { readonly digest: string; readonly signature: string }
}

export function recorded(name: 'rsa' | 'ecc') {
  const o = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Recorded
  const { secret, akPublic, endorsementKey, manufacturer } = o.kept
  const kept = {
    secret: octets(secret),
    akPublic: octets(akPublic),
    endorsementKey,
    manufacturer,
  }
  const policy: TpmPolicy = { roots: [new X509Certificate(octets(o.root))] }
  const expected: TpmExpected = { challenge: octets(o.challenge), nowSeconds: o.nowSeconds, kept }
  return { ...o, kept, policy, expected }
}

/** DER of the certificates of a PEM file, in order. */
export function certificates(name: string): Buffer[] {
  const blocks = readFileSync(new URL(name, folder), 'utf8').split('-----END CERTIFICATE-----')
  const found = blocks.map((block) => Buffer.from(block.replace(/-----.*-----/, ''), 'base64'))
  return found.filter((der) => der.length > 0)
}

/** `text` with bits of one octet turned. */
export function turned(word: string, at: number, bits = 1): string {
  const bytes = octets(word)
  bytes.writeUInt8((bytes[at] ?? 0) ^ bits, at)
  return text(bytes)
}

// The section `attestation`: one part for each scheme of evidence for metering keys, with what its
// verifier has to know. Judges each value alone; the files it names are read by the server. Called
// by schema.ts and parse.ts.

import { z } from 'zod'
import type { AttestationConfig } from './config.ts'
import { fileName, integer, rejection, section, text } from './grammar.ts'

// Far above any operator's; each entry is compared with what one request brings.
const ENTRIES_MAX = 1000

function list<Item extends z.ZodType>(item: Item, what: string, from = 0) {
  const rule = `must be a list of ${from} to ${ENTRIES_MAX} ${what}`
  const error = (issue: { readonly input?: unknown }) => rejection(issue.input, rule)
  return z.array(item, { error }).min(from, { error }).max(ENTRIES_MAX, { error })
}

/** As sha256sum, openssl and keytool print it. */
const sha256 = text('must be a SHA-256: 64 hex digits in quotes', (input) => {
  const digits = input.replaceAll(':', '').toLowerCase()
  return /^[0-9a-f]{64}$/.test(digits) ? digits : undefined
})

const tpm = section({
  roots: list(fileName, 'files').default([]),
  endorsement_keys: list(sha256, 'SHA-256 of keys').default([]),
  revoked: list(sha256, 'SHA-256 of certificates').default([]),
  pcrs: section({
    // PC Client Platform TPM Profile §4.6.2: a bank has 24 registers.
    registers: list(integer(0, 23), 'numbers of registers', 1),
    digests: list(sha256, 'SHA-256', 1),
  }).optional(),
})

export const attestation = section({ tpm: tpm.optional() })

type Parsed = z.output<typeof attestation>

/** Keyed as Config is. */
export function attestationConfig(parsed: Parsed): AttestationConfig {
  return { ...(parsed.tpm !== undefined && { tpm: tpmConfig(parsed.tpm) }) }
}

function tpmConfig(parsed: NonNullable<Parsed['tpm']>): NonNullable<AttestationConfig['tpm']> {
  const { roots, endorsement_keys: endorsementKeys, revoked, pcrs } = parsed
  return { roots, endorsementKeys, revoked, ...(pcrs !== undefined && { pcrs }) }
}

// From the configuration's section `attestation` to what the verifiers judge by: reads the files it
// names. Owns nothing; every problem is told at once, with its key, its file and what to do. Called
// by config-source.ts at start and at each reload, and by `datanet check`.

import { readFileSync, statSync } from 'node:fs'
import { TPM_VENDOR_ROOTS } from '../attestation/roots/tpm.ts'
import { readTpmRoots } from '../attestation/tpm-chain.ts'
import type { TpmPolicy } from '../attestation/tpm-credential.ts'
import type { AttestationConfig, Finding } from '../config/config.ts'
import type { Policies } from './attestation.ts'

/** Google's list of revoked certificates has 100 KB, all TPM makers' roots together 1 MB. */
const FILE_BYTES_MAX = 8 * 1024 * 1024

interface Reading {
  /** Where a path of the configuration leads. */
  readonly at: (path: string) => string
  readonly report: (path: Finding['path'], message: string) => void
}

/** The file's octets; undefined where it can't be read, which is reported. */
function contentOf(file: string, key: Finding['path'], o: Reading): Buffer | undefined {
  const path = o.at(file)
  try {
    const facts = statSync(path)
    if (!facts.isFile()) throw new Error('it is no file')
    if (facts.size > FILE_BYTES_MAX) throw new Error(`more than ${FILE_BYTES_MAX} octets`)
    return readFileSync(path)
  } catch (error) {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const why = isAbsent ? 'does not exist' : `can't be read (${textOf(error)})`
    o.report(key, `names ${path}, which ${why}; put it there or correct the path`)
    return undefined
  }
}

const textOf = (error: unknown): string =>
  error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error)

const builtIn = readTpmRoots(
  TPM_VENDOR_ROOTS.map((pem) => ({ name: 'built in', content: Buffer.from(pem) })),
)

function tpmPolicy(config: NonNullable<AttestationConfig['tpm']>, o: Reading): TpmPolicy {
  const roots = config.roots.flatMap((file, index) => {
    const key = ['attestation', 'tpm', 'roots', index]
    const content = contentOf(file, key, o)
    if (content === undefined) return []
    const read = readTpmRoots([{ name: file, content }])
    if (read.wrong.length > 0) {
      const what = 'is not all certificates of authorities (PEM, one or many, or one in DER)'
      o.report(key, `names ${o.at(file)}, which ${what}; take out what is something else`)
    }
    return read.roots
  })
  const { endorsementKeys, revoked, pcrs } = config
  const digests = pcrs?.digests.map((digest) => Buffer.from(digest, 'hex')) ?? []
  return {
    roots: [...builtIn.roots, ...roots],
    endorsementKeys: new Set(endorsementKeys),
    revoked: new Set(revoked),
    ...(pcrs !== undefined && { pcrs: { registers: pcrs.registers, digests } }),
  }
}

/** With any problem the policies are not to be used. `at` makes a path of the file absolute. */
export function readPolicies(
  config: AttestationConfig,
  at: (path: string) => string,
): { readonly policies: Policies; readonly problems: readonly Finding[] } {
  const problems: Finding[] = []
  const report: Reading['report'] = (path, message) => void problems.push({ path, message })
  const { tpm } = config
  const policies = { ...(tpm !== undefined && { tpm: tpmPolicy(tpm, { at, report }) }) }
  return { policies, problems }
}

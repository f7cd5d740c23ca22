// Where the configuration comes from: a file, which the first start writes where it is the default
// one. Called by main.ts at start and by reload.ts.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config, ConfigProblem, EapConfig } from '../config/config.ts'
import { defaultConfigText } from '../config/default.ts'
import { parseConfig } from '../config/parse.ts'
import { newSecret } from '../config/secret.ts'
import type { Policies } from './attestation.ts'
import { readPolicies } from './attestation-files.ts'
import { writeDurably } from './data.ts'

/** A configuration that is in order, with the policies that its files hold. */
export type ReadConfig =
  | {
      readonly config: Config
      readonly warnings: readonly ConfigProblem[]
      readonly policies: Policies
    }
  | { readonly problems: readonly ConfigProblem[] }

/**
 * Checks a text, and the files of evidence that it names; every problem at once, with its line.
 * `path` is where the text is from: files are named from there.
 */
export function checkConfig(
  text: string,
  path: string,
  env: Readonly<Record<string, string | undefined>>,
  nowSeconds = Math.floor(Date.now() / 1_000),
): ReadConfig {
  // A service manager starts us anywhere.
  const at = (name: string): string => resolve(dirname(resolve(path)), name)
  const read = parseConfig(text, env, (name) => readFileSync(at(name), 'utf8'))
  if ('problems' in read) return read
  const { attestation } = read.config
  const { policies, problems, warnings } = readPolicies(attestation, at, nowSeconds)
  if (problems.length > 0) return { problems: read.placed(problems) }
  const { certificate, ticketKeys } = read.config.eap
  const eap: EapConfig = {
    ...read.config.eap,
    ...(certificate !== 'auto' && {
      certificate: {
        cert: at(certificate.cert),
        key: at(certificate.key),
        ocsp: certificate.ocsp && at(certificate.ocsp),
      },
    }),
    ...(ticketKeys !== 'auto' && { ticketKeys: at(ticketKeys) }),
  }
  return {
    config: { ...read.config, eap },
    warnings: [...read.warnings, ...read.placed(warnings)],
    policies,
  }
}

/**
 * The file of data/ where there is none. For a start alone: while a server runs, a file that is not
 * there is an editor's or a mistake, and a new one would forget every access point.
 */
export function writeFirstConfig(path: string, random: (length: number) => Buffer): void {
  if (existsSync(path)) return
  writeDurably(path, defaultConfigText({ secret: newSecret(random(32)) }), 0o600)
}

/** Reads and checks it. */
export function readConfig(path: string): ReadConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    return { problems: [{ path: '', line: 0, message: unreadable(error) }] }
  }
  return checkConfig(text, path, process.env)
}

function unreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'does not exist; name the configuration with --config'
  if (code === 'EISDIR') return 'is a folder; name the configuration file in it with --config'
  return `can't be read (${code ?? String(error)}); let this user read it`
}

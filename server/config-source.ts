// Where the configuration comes from: a file, which the first start writes when it is the default
// one. Called by main.ts at start and by reload.ts.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { ConfigResult, EapConfig } from '../config/config.ts'
import { defaultConfigText } from '../config/default.ts'
import { parseConfig } from '../config/parse.ts'
import { newSecret } from '../config/secret.ts'
import { writeDurably } from './data.ts'

export interface ConfigSource {
  readonly path: string
  /** The file in data/ that the first start writes; any other one must exist. */
  readonly isDefault: boolean
}

/** Reads and checks it; every problem at once, with its line. */
export function readConfig(source: ConfigSource, random: (length: number) => Buffer): ConfigResult {
  if (source.isDefault && !existsSync(source.path)) {
    writeDurably(source.path, defaultConfigText({ secret: newSecret(random(32)) }), 0o600)
  }
  let text: string
  try {
    text = readFileSync(source.path, 'utf8')
  } catch (error) {
    return { problems: [{ path: '', line: 0, message: unreadable(error) }] }
  }
  // Files are named from where the configuration lies: a service manager starts us anywhere.
  const folder = dirname(resolve(source.path))
  const at = (path: string): string => resolve(folder, path)
  const read = parseConfig(text, process.env, (path) => readFileSync(at(path), 'utf8'))
  if ('problems' in read) return read
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
  return { ...read, config: { ...read.config, eap } }
}

function unreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'does not exist; name the configuration with --config'
  if (code === 'EISDIR') return 'is a folder; name the configuration file in it with --config'
  return `can't be read (${code ?? String(error)}); let this user read it`
}

// Where the configuration comes from: a file, which the first start writes when it is the default
// one. Called by main.ts at start and by reload.ts.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { ConfigResult } from '../config/config.ts'
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
    const message = error instanceof Error ? error.message : String(error)
    return { problems: [{ path: '', line: 0, message: `can't be read: ${message}` }] }
  }
  const folder = dirname(resolve(source.path))
  return parseConfig(text, process.env, (path) => readFileSync(resolve(folder, path), 'utf8'))
}

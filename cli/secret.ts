// `datanet secret`: one fresh shared secret on stdout, nothing else, so that it can be captured.

import { randomBytes } from 'node:crypto'
import { newSecret } from '../config/secret.ts'
import { readArguments } from './arguments.ts'
import { Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet secret [--json]

Prints a new shared secret for an access point. Type it into the access point and into
"secret" of its client entry; "datanet client add" does both halves of that in one step.

  --json   {"secret": "…"}
`

/** Prints one secret made of fresh randomness. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'secret',
    positionals: [],
    options: { json: { type: 'boolean' } },
  })
  const secret = newSecret(randomBytes(32))
  terminal.out(flags.json === true ? JSON.stringify({ secret }) : secret)
  return Exit.ok
}

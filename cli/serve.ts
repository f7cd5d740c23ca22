// `datanet serve`: reads two flags and hands over to the server, which owns everything from there.

import { readArguments } from './arguments.ts'
import { dataDirectory } from './data.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet serve [--config FILE] [--data DIR]

Runs the operator: RADIUS and EAP-TLS for access points, the HTTP side for devices, and the
embedded chain where the configuration asks for it. Prints what to do next when it is ready;
logs are JSON on stderr. Stop it with Ctrl-C or SIGTERM; SIGHUP or "datanet reload" reads
clients and certificates again.

  --config FILE   configuration (default: DATA/datanet.yaml, written at the first start)
  --data DIR      where keys, chain and ledger lie (default: $DATANET_DATA or ./data)

Exit codes: 64 usage, 69 unavailable, 77 permission, 78 configuration.
`

/** Runs the server until it is told to stop; the result is its exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'serve',
    positionals: [],
    options: { config: { type: 'string' }, data: { type: 'string' } },
  })
  const { serve } = await import('../server/main.ts')
  return serve({ configPath: flags.config, dataDir: dataDirectory(flags.data, terminal) })
}

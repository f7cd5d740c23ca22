// `datanet chain status`: what the running server knows of its chain, from its own HTTP side. It
// never opens the chain's files: those belong to the server while it runs.

import { refusalOf } from '../device/http.ts'
import { readArguments } from './arguments.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet chain status [--data DIR] [--config FILE] [--json]

Asks the server that runs from DIR for its chain: contract, token, the last block it has seen,
the last block that survives a power cut, and when the node was last heard.

  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          the answer of GET /v1/chain/status as it is

Exit codes: 69 when no server answers or its chain is stale, 77 when the token is not accepted.
`

/** Prints the chain's state; exit code 69 where the server's view of it is stale. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'chain status',
    positionals: [],
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const { dataDir, url } = await findServer(flags, terminal)
  const answer = await ask(dataDir, url)
  const status = answer as Readonly<Record<string, unknown>>
  if (flags.json === true) terminal.out(JSON.stringify(status))
  else for (const line of describe(status)) terminal.out(line)
  return status['stale'] === true ? Exit.unavailable : Exit.ok
}

async function ask(dataDir: string, url: string): Promise<object> {
  const answer = await askServer({ dataDir, url, path: '/v1/chain/status' }, {})
  const { status, body } = answer
  if (status === 200 && typeof body === 'object' && body !== null) return body
  throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
}

function describe(status: Readonly<Record<string, unknown>>): string[] {
  const shown = (key: string): string => {
    const value = status[key]
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value ?? 'unknown')
    return text.replace(/\p{C}+/gu, ' ')
  }
  const heardAt = status['heardAt']
  const heard = typeof heardAt === 'number' ? new Date(heardAt * 1000).toISOString() : 'never'
  const state = status['connected'] === true ? 'connected' : 'not connected'
  const age = status['stale'] === true ? ', stale: unknown accounts are refused' : ''
  return [
    `chain      ${shown('chainId')} at ${shown('rpc')}: ${state}${age}`,
    `contract   ${shown('contract')}, operator ${shown('operatorId')}`,
    `token      ${tokenText(status['token']) ?? shown('token')}`,
    `block      ${shown('block')}, durable ${shown('durableBlock')}`,
    `heard      ${heard}`,
  ]
}

function tokenText(value: unknown): string | undefined {
  const token = (value ?? {}) as { symbol?: unknown; address?: unknown; decimals?: unknown }
  const { symbol, address, decimals } = token
  if (typeof symbol !== 'string' || typeof address !== 'string') return undefined
  return `${symbol} ${address}, ${Number(decimals)} decimals`.replace(/\p{C}+/gu, ' ')
}

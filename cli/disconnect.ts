// `datanet disconnect`: puts one session off through the running server.

import { z } from 'zod'
import { refusalOf } from '../device/http.ts'
import { readArguments } from './arguments.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet disconnect SESSION [--data DIR] [--config FILE] [--json]

Puts one session off: the server sends its access point a Disconnect-Request (RFC 5176) and says how
that was answered. The device may join again, unless it owes. datanet sessions lists the sessions.

  SESSION         its id, 32 hex digits
  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          {"session", "result"}

Exit codes: 64 for no such session, 69 when no server answers or the access point does not put it
off, 77 when the token is not accepted.
`

const disconnectAnswer = z.object({ session: z.string(), result: z.string() })
/** The access point put it off, or had no such session any more. */
const DONE = ['ack', 'nak-503']

/** Disconnects; exit code 69 where the NAS did not do it. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: 'disconnect',
    positionals: ['SESSION'],
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const id = words.SESSION.toLowerCase()
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new CommandError(Exit.usage, 'SESSION is 32 hex digits; datanet sessions lists them')
  }
  const { dataDir, url } = await findServer(flags, terminal)
  const path = `/v1/sessions/${id}/disconnect`
  const answer = await askServer({ dataDir, url, path }, { method: 'POST' })
  const parsed = disconnectAnswer.safeParse(answer.body)
  if (answer.status !== 200 || !parsed.success) {
    const code = answer.status === 404 ? Exit.usage : Exit.unavailable
    throw new CommandError(code, `the server at ${url}: ${refusalOf(answer)}`)
  }
  const { result } = parsed.data
  if (flags.json === true) terminal.out(JSON.stringify(parsed.data))
  else terminal.out(`${id}: ${result}`)
  return DONE.includes(result) ? Exit.ok : Exit.unavailable
}

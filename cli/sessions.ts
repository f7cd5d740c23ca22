// `datanet sessions`: the sessions of the running server, from its own HTTP side.

import { z } from 'zod'
import { wholeTokens } from '../accounting/tariff.ts'
import { refusalOf } from '../device/http.ts'
import { readArguments } from './arguments.ts'
import { columns, printable } from './columns.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet sessions [--all] [--limit N] [--data DIR] [--config FILE] [--json]

Lists the open sessions of the server that runs from DIR, and those that are over and still owe:
who pays, where, how long, what is owed and paid. MB is the volume that is charged for; SIGNED what
the device has signed of its own count, and with what kind of key (its scheme, hardware or
software). "disputed" beside the state: the two meters disagree (datanet ledger --disputes).

  --all           also those that are over and paid, newest first
  --limit N       at most this many, 1 to 1000 (default: 100)
  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          GET /v1/sessions as it answers: {"sessions": [...]}, amounts in base units

Exit codes: 69 when no server answers, 77 when the token is not accepted.
`

const octets = z.string().regex(/^\d+$/)
const sessionsAnswer = z.object({
  token: z.object({ symbol: z.string(), decimals: z.int() }),
  sessions: z.array(
    z.object({
      id: z.string(),
      account: z.string().nullable(),
      client: z.string(),
      state: z.string(),
      startedAt: z.int(),
      endedAt: z.int().nullable(),
      owed: z.string().regex(/^\d+$/),
      paid: z.string().regex(/^\d+$/),
      disputed: z.boolean(),
      ratedOctets: octets,
      attested: z
        .object({
          ...{ trust: z.string(), scheme: z.string().nullable() },
          ...{ inputOctets: octets, outputOctets: octets },
        })
        .nullable(),
    }),
  ),
})
type Listed = z.infer<typeof sessionsAnswer>['sessions'][number]

/** Prints one line a session. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'sessions',
    positionals: [],
    options: {
      ...{ config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
      ...{ all: { type: 'boolean' }, limit: { type: 'string' } },
    },
  })
  const limit = Number(flags.limit ?? '100')
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new CommandError(Exit.usage, '--limit takes a whole number from 1 to 1000')
  }
  const { dataDir, url } = await findServer(flags, terminal)
  const path = `/v1/sessions?limit=${limit}${flags.all === true ? '&all=true' : ''}`
  const answer = await askServer({ dataDir, url, path }, {})
  const parsed = sessionsAnswer.safeParse(answer.body)
  if (answer.status !== 200 || !parsed.success) {
    throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
  }
  if (flags.json === true) terminal.out(JSON.stringify(answer.body))
  else for (const line of table(parsed.data)) terminal.out(line)
  return Exit.ok
}

function table({ token, sessions }: z.infer<typeof sessionsAnswer>): string[] {
  if (sessions.length === 0) return ['no sessions']
  const head = ['SESSION', 'ACCOUNT', 'CLIENT', 'STATE', 'MINUTES', 'MB', 'OWED', 'PAID', 'SIGNED']
  const rows = sessions.map((session) => row(session, token.decimals))
  return [...columns([head, ...rows]), `amounts in ${printable(token.symbol)}`]
}

function row(session: Listed, decimals: number): string[] {
  const endedAt = session.endedAt ?? Date.now() / 1000
  return [
    session.id,
    session.account ?? '-',
    session.client,
    session.disputed ? `${session.state}, disputed` : session.state,
    Math.max(0, (endedAt - session.startedAt) / 60).toFixed(1),
    megabytes(session.ratedOctets),
    wholeTokens(BigInt(session.owed), decimals),
    wholeTokens(BigInt(session.paid), decimals),
    signedBy(session.attested),
  ]
}

const megabytes = (...octets: string[]): string =>
  (octets.reduce((sum, text) => sum + Number(text), 0) / 1e6).toFixed(1)

function signedBy(attested: Listed['attested']): string {
  if (attested === null) return '-'
  const { scheme, trust, inputOctets, outputOctets } = attested
  const key = scheme === null || scheme === trust ? trust : `${scheme} (${trust})`
  return printable(`${megabytes(inputOctets, outputOctets)} MB, ${key}`)
}

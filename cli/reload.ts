// `datanet reload`: tells the server that runs from DIR to read its configuration again. Changes
// nothing itself; what the server objects to is printed as `check` prints it.

import { z } from 'zod'
import { type JsonAnswer, refusalOf } from '../device/http.ts'
import { readArguments } from './arguments.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet reload [--data DIR] [--config FILE] [--json]

Tells the server that runs from DIR to read its configuration and its certificate again. With any
problem the old ones stay in force. Sockets, chain and storage need a restart instead: a warning
names what was changed of them.

  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          {"reloaded", "problems": [{"path", "line", "message"}], "warnings": [...]}

Exit codes: 69 when no server answers, 77 when the token is not accepted, 78 when the
configuration has problems.
`

const problem = z.object({ path: z.string(), line: z.int(), message: z.string() })
const refusedAnswer = z.object({ problems: z.array(problem).min(1) })
const takenAnswer = z.object({ warnings: z.array(problem).default([]) })
type Problem = z.infer<typeof problem>

/** Reloads; exit code 78 where the server keeps the old configuration. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'reload',
    positionals: [],
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const { dataDir, configFile, url } = await findServer(flags, terminal)
  const answer = await askServer({ dataDir, url, path: '/v1/reload' }, { method: 'POST' })
  const { problems, warnings } = outcomeOf(answer, url)
  const reloaded = problems.length === 0
  if (flags.json === true) terminal.out(JSON.stringify({ reloaded, problems, warnings }))
  else {
    if (reloaded) terminal.out('reloaded')
    for (const one of problems) terminal.err(located(configFile, one))
    for (const one of warnings) terminal.err(`${located(configFile, one)} (warning)`)
  }
  if (!reloaded) terminal.err('datanet: not reloaded: the old configuration stays in force')
  return reloaded ? Exit.ok : Exit.configuration
}

function outcomeOf(
  answer: JsonAnswer,
  url: string,
): { readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] } {
  const { status, body } = answer
  const taken = takenAnswer.safeParse(body)
  if (status === 200 && taken.success) return { problems: [], warnings: taken.data.warnings }
  const refused = refusedAnswer.safeParse(body)
  if (status === 422 && refused.success) return { problems: refused.data.problems, warnings: [] }
  throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
}

/** As `check` says it; the server gives line 0 where the problem is not one of the file's text. */
function located(file: string, { path, line, message }: Problem): string {
  const place = line > 0 ? `${file}:${line}: ` : `${file}: `
  return `${place}${path === '' ? '' : `${path}: `}${message}`.replace(/\p{C}+/gu, ' ')
}

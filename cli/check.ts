// `datanet check`: every problem of a configuration at once, in the FILE:line form editors jump to.
// Reads files only; starts nothing.

import { relative } from 'node:path'
import type { ConfigProblem } from '../config/config.ts'
import { checkConfig } from '../server/config-source.ts'
import { readArguments } from './arguments.ts'
import { configPath, dataDirectory, readConfigText } from './data.ts'
import { Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet check [--config FILE] [--data DIR] [--json]

Reads a configuration as the server would and prints every problem as
FILE:line: path: what is allowed. Secrets given as \${NAME} must be in the environment.

  --config FILE   what to check (default: DATA/datanet.yaml)
  --data DIR      the data directory (default: $DATANET_DATA or ./data)
  --json          {"file", "ok", "problems": [{"path", "line", "message"}], "warnings": [...]}

Exit codes: 0 when the server would take it, 78 otherwise.
`

/** Checks one file; exit code 78 where the server would refuse it. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'check',
    positionals: [],
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const path = configPath(flags.config, dataDirectory(flags.data, terminal))
  const file = flags.config ?? shortest(path)
  const text = await readConfigText(path)
  const result = checkConfig(text, path, terminal.env)
  const problems = 'problems' in result ? result.problems : []
  const warnings = 'warnings' in result ? result.warnings : []
  const ok = problems.length === 0
  if (flags.json === true) {
    terminal.out(JSON.stringify({ file, ok, problems, warnings }))
  } else {
    for (const problem of problems) terminal.err(located(file, problem))
    for (const warning of warnings) terminal.err(`${located(file, warning)} (warning)`)
    if (ok) terminal.out(`${file}: OK`)
  }
  return ok ? Exit.ok : Exit.configuration
}

const located = (file: string, { line, path, message }: ConfigProblem): string =>
  `${file}:${line}: ${path === '' ? '' : `${path}: `}${message}`

const shortest = (path: string): string => {
  const near = relative('', path)
  return near.startsWith('..') ? path : near
}

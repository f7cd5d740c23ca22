// The program `datanet`: this process's words and streams handed to the table of verbs. Running is
// all it does, on import too, since cli/datanet.mjs imports it; tests use dispatch.ts.

import { runCommand } from './dispatch.ts'
import { processTerminal } from './terminal.ts'

const code = await runCommand(process.argv.slice(2), processTerminal())
// Output that could not be written has set it already.
process.exitCode ||= code

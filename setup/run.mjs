// `node setup/run.mjs FILE …`: installs what is missing, then runs a file of the project on the
// project's own Node. For npm scripts that need neither the server nor other programs.

import { resolve } from 'node:path'
import { installPackages } from './install.mjs'
import { finish, INNER_NODE, ROOT, runForeground, SetupError } from './processes.mjs'

await finish(async () => {
  const [file, ...rest] = process.argv.slice(2)
  if (file === undefined) throw new SetupError('usage: node setup/run.mjs FILE [ARGUMENT …]', 64)
  await installPackages()
  return runForeground(INNER_NODE, [resolve(ROOT, file), ...rest])
})

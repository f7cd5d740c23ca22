// `npm run bench:NAME`: installs what is missing, the programs we are measured against included,
// then runs bench/NAME.ts on the project's own Node. Words after `--` go to it.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from './install.mjs'
import { installPeers } from './peers.mjs'
import { finish, INNER_NODE, ROOT, runForeground, SetupError } from './processes.mjs'

await finish(async () => {
  const [name = '', ...rest] = process.argv.slice(2)
  const file = join(ROOT, 'bench', `${name}.ts`)
  if (!/^[a-z0-9-]+$/.test(name) || !existsSync(file)) {
    throw new SetupError(`there is no benchmark "${name}" in bench/`, 64)
  }
  await installPackages()
  await installPeers()
  return runForeground(INNER_NODE, [file, ...rest])
})

// `npm start`: installs what is missing, then is the server: its output, its signals, its exit
// code. Words after `npm start --` go to `datanet serve`.

import { join } from 'node:path'
import { installPackages } from './install.mjs'
import { finish, INNER_NODE, ROOT, runForeground } from './processes.mjs'

await finish(async () => {
  await installPackages()
  const args = [join(ROOT, 'cli', 'main.ts'), 'serve', ...process.argv.slice(2)]
  const endWithParent = process.env.npm_lifecycle_event === 'start'
  return runForeground(INNER_NODE, args, { endWithParent })
})

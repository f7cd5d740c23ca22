// Runs each test file as a program of its own and prints their TAP as one stream. Instead of `tap
// run`, which loads its process tracer (for coverage, which is off) into each: 0.15 s of CPU a
// file. `node setup/tap-files.mjs JOBS FILE …`; called by tap.mjs.

import { join } from 'node:path'
import t from 'tap'
import { ROOT } from './processes.mjs'

/** A file may say less with t.setTimeout, and no more; those of test/long take many minutes. */
const TIMEOUT_SECONDS = 180
const LONG_TIMEOUT_SECONDS = 3 * 3600
const LONG = 'test/long/'

const [jobs = '1', ...files] = process.argv.slice(2)
t.jobs = Number(jobs)
t.setTimeout(0)
for (const file of files) {
  const seconds = file.startsWith(LONG) ? LONG_TIMEOUT_SECONDS : TIMEOUT_SECONDS
  const env = {
    ...{ ...process.env, TAP_TIMEOUT: String(seconds) },
    // Node keeps what it compiled, types taken off: half the CPU of a short file.
    NODE_COMPILE_CACHE: join(ROOT, '.cache', 'compile'),
  }
  t.spawn(process.execPath, ['--enable-source-maps', file], {
    ...{ cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'], name: file },
    ...{ timeout: seconds * 1000, buffered: t.jobs > 1 },
  })
}

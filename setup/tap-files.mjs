// Runs test files as programs and prints their TAP as one stream. Instead of `tap run`, which loads
// its process tracer (for coverage, which is off) into each: 0.15 s of CPU a file. Each file is a
// program of its own, or files joined by commas are one together (tap-group.mjs).
// `node setup/tap-files.mjs JOBS FILE[,FILE …] …`; called by tap.mjs.

import { join } from 'node:path'
import t from 'tap'
import { ROOT } from './processes.mjs'

/** A file may say less with t.setTimeout, and no more; those of test/long take many minutes. */
const TIMEOUT_SECONDS = 180
const LONG_TIMEOUT_SECONDS = 3 * 3600
const LONG = 'test/long/'

const [jobs = '1', ...words] = process.argv.slice(2)
t.jobs = Number(jobs)
t.setTimeout(0)
for (const [index, word] of words.entries()) {
  const files = word.split(',')
  const isGroup = files.length > 1
  const seconds = word.startsWith(LONG) ? LONG_TIMEOUT_SECONDS : TIMEOUT_SECONDS
  const env = {
    ...{ ...process.env, TAP_TIMEOUT: String(seconds) },
    // Node keeps what it compiled, types taken off: half the CPU of a short file.
    NODE_COMPILE_CACHE: join(ROOT, '.cache', 'compile'),
    ...(isGroup && { DATANET_TEST_FILES: files.join(' ') }),
  }
  const program = isGroup ? ['setup/tap-group.mjs', `group-${index}`] : [word]
  const name = isGroup ? `${files.length} files, ${files[0]} to ${files.at(-1)}` : word
  t.spawn(process.execPath, ['--enable-source-maps', ...program], {
    ...{ cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'], name },
    ...{ timeout: seconds * 1000, buffered: t.jobs > 1 },
  })
}

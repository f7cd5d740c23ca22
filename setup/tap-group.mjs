// Runs several test files in one program, one after the other: of a file that needs a tenth of a
// second, starting a program and loading tap is the larger part. A comment says where each begins.
// Its argument only names the group: tap makes folders for tests of it. Called by tap-files.mjs.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { ROOT } from './processes.mjs'

const files = (process.env.DATANET_TEST_FILES ?? '').split(' ')
for (const file of files) {
  t.comment(`file ${file}`)
  await import(pathToFileURL(join(ROOT, file)).href)
}

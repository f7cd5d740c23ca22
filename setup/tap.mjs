// Runs test files under tap and says what came of them: a line per file or group of files, failures
// in full, and last of all
// `N passed, N failed, N skipped`. What is counted is assertions (TAP test points that hold no
// others), as tap itself counts; a test without any assertion is a failure. Runs on the project's
// own Node, for test.mjs.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Parser } from 'tap-parser'
import { stringify } from 'yaml'
import { finish, isProgram, ROOT } from './processes.mjs'

/** Files at once. */
const JOBS = 2
/** And beside them, of those that wait. */
const WAITING_JOBS = 3
/**
 * A test file with this comment near its top spends most of its time waiting for real seconds to
 * pass: it runs beside those that need the processor.
 */
const WAITS = /^\/\/ Mostly waits: \S/m

/** @typedef {{ passed: number, failed: number, skipped: number }} Tally */

/** Folders whose files need a program of their own; of the others this many share one. */
const ALONE = /^test\/(interop|chain-live|sim|setup|long)\/|^test\/[^/]+$/
const GROUP_FILES = 12

/** Files whose comments are shown: what a long run did is what it is run for. */
const TELLING = /^test\/long\//
/** tap's own comments. */
const FORM = /^# (Subtest: |time=|\{)/

function indent(text) {
  return text.replace(/^(?=.)/gm, '    ')
}

function describe(result, why) {
  const { source, tapCaught, ...shown } = result.diag ?? {}
  const details = Object.keys(shown).length > 0 ? indent(stringify(shown)) : ''
  return `\nFAILED ${result.fullname}${why}\n${details}\n`
}

/** Reads one run's TAP to its end. `write` gets the progress and failures as text. */
export function readTap(stream, write) {
  const tally = { passed: 0, failed: 0, skipped: 0 }
  const withoutAssertions = new Set()
  const parser = new Parser({ name: '' })
  const watch = (parent) => {
    parent.on('extra', (text) => write(text))
    parent.on('child', (child) => {
      watch(child)
      if (TELLING.test(child.fullname)) {
        child.on('comment', (text) => {
          if (!FORM.test(text)) write(text.replace(/^# /, '     '))
        })
      }
      child.on('complete', ({ count }) => {
        if (count === 0) withoutAssertions.add(child.fullname)
      })
    })
  }
  watch(parser)
  /** Of several files in one program (tap-group.mjs) each must hold a test. */
  const watchFiles = (program) => {
    let file
    let tests = 0
    const end = () => {
      const fullname = `${program.fullname} > ${file}`
      if (file !== undefined && tests === 0) fail({ fullname }, ': no test is in it')
    }
    program.on('assert', () => {
      tests += 1
    })
    program.on('comment', (text) => {
      const next = /^# file (\S+)/.exec(text)?.[1]
      if (next === undefined) return
      end()
      file = next
      tests = 0
    })
    program.on('complete', end)
  }
  parser.on('child', watchFiles)
  const failedFiles = new Set()
  const fail = (result, why = '') => {
    tally.failed += 1
    failedFiles.add(result.fullname.split(' > ')[0])
    write(describe(result, why))
  }
  parser.on('pass', (result) => {
    if (withoutAssertions.has(result.fullname)) fail(result, ': no assertion was made')
    else tally.passed += 1
  })
  parser.on('fail', (result) => fail(result))
  for (const kind of ['skip', 'todo']) {
    parser.on(kind, (result) => {
      tally.skipped += 1
      write(`\nSKIPPED ${result.fullname}: ${result[kind] === true ? kind : result[kind]}\n`)
    })
  }
  let before = 0
  const notOk = []
  parser.on('assert', (result) => {
    const { ok, name, time, skip } = result
    if (!ok) notOk.push(result)
    const count = tally.passed + tally.failed + tally.skipped - before
    before += count
    const seconds = ((time ?? 0) / 1000).toFixed(1)
    const word = ok && !skip ? 'ok  ' : 'FAIL'
    write(`${word} ${String(count).padStart(6)} ${seconds.padStart(6)} s  ${name}\n`)
  })
  return new Promise((resolve, reject) => {
    stream.on('error', reject)
    parser.on('complete', () => {
      // A plan that was not kept has no assertion of its own that failed.
      for (const result of notOk) {
        if (!failedFiles.has(result.name)) fail(result, ': its plan was not kept')
      }
      resolve(tally)
    })
    stream.pipe(parser)
  })
}

/** The line every run ends with. */
export function summary(tally) {
  return `${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`
}

/** Nothing failed, nothing was left out, and something ran. */
export function isSuccess(tally) {
  return tally.failed === 0 && tally.skipped === 0 && tally.passed > 0
}

/** Words for tap-files.mjs: groups of neighbours, joined by commas, and the other files. */
function grouped(files) {
  const alone = files.filter((file) => ALONE.test(file))
  const together = files.filter((file) => !ALONE.test(file))
  const groups = []
  for (let at = 0; at < together.length; at += GROUP_FILES) {
    groups.push(together.slice(at, at + GROUP_FILES).join(','))
  }
  return [...groups, ...alone]
}

async function runFiles(files, jobs, write) {
  const program = join(ROOT, 'setup', 'tap-files.mjs')
  const child = spawn(process.execPath, [program, String(jobs), ...grouped(files)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = new Promise((resolve) => child.on('close', resolve))
  const tally = await readTap(child.stdout, write)
  const code = await closed
  if (code !== 0 && tally.failed === 0 && tally.skipped === 0) {
    tally.failed = 1
    write(`\nFAILED: the test runner ended with code ${code}\n`)
  }
  return tally
}

async function main(words) {
  const write = (text) => process.stdout.write(text)
  const files = words.filter((word) => !word.startsWith('--'))
  const waiting = files.filter((file) =>
    WAITS.test(readFileSync(join(ROOT, file), 'utf8').slice(0, 1000)),
  )
  const computing = files.filter((file) => !waiting.includes(file))
  const total = { passed: 0, failed: 0, skipped: 0 }
  const lanes = [
    { group: computing, jobs: JOBS },
    { group: waiting, jobs: WAITING_JOBS },
  ].filter(({ group }) => group.length > 0)
  const runs = lanes.map(({ group, jobs }) => runFiles(group, jobs, write))
  for (const tally of await Promise.all(runs)) {
    for (const key of Object.keys(total)) total[key] += tally[key]
  }
  if (words.includes('--checks-failed')) {
    write('\nFAILED: types or style (see the top)\n')
    total.failed += 1
  }
  if (files.length === 0) write('\nno test file matches\n')
  write(`\n${summary(total)}\n`)
  return isSuccess(total) ? 0 : 1
}

if (isProgram(import.meta.url)) {
  await finish(() => main(process.argv.slice(2)))
}

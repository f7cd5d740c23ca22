// The native engine compiled for AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer:
// its conformance suite, the fuzz run and whole handshakes, in a Node whose allocator is watched
// too, so that OpenSSL's writes and leaks count as well as ours. Copies with one mistake each prove
// that such runs notice it. Without a compiler that has the sanitizers this file fails.

import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COMPILER = process.env['CC'] ?? 'cc'
const FLAGS =
  '-O1 -g -Wno-error -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
const ROUNDS = 6000

/** Node's own, once per process: what OpenSSL sets up, and V8's side of an addon's handle. */
const SUPPRESSIONS = 'leak:ossl_load_builtin_compressions\nleak:napi_create_external\n'

t.setTimeout(170_000)

/** The run-time libraries of the sanitizers, which must be there before anything else. */
function libraries(): string {
  const paths = ['libasan.so', 'libubsan.so'].map((name) => {
    const { stdout } = spawnSync(COMPILER, [`-print-file-name=${name}`], { encoding: 'utf8' })
    return (stdout ?? '').trim()
  })
  if (!paths.every(isAbsolute)) throw new Error(`${COMPILER} has no sanitizers: ${paths}`)
  return paths.join(':')
}

const directory = t.testdir({ 'leaks.txt': SUPPRESSIONS })
const suppressions = join(directory, 'leaks.txt')
/** A test that we start is nobody's child to its runner, and prints its own summary. */
const ours = Object.entries(process.env).filter(([name]) => !name.includes('TAP'))
const environment = (leaks: boolean): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(ours),
  LD_PRELOAD: libraries(),
  // Freed memory is held back for a while, to be caught in use: less of it than the tests that look
  // at resident memory allow.
  ASAN_OPTIONS: [
    `detect_leaks=${leaks ? 1 : 0}`,
    'detect_stack_use_after_return=1:strict_memcmp=1:quarantine_size_mb=32',
  ].join(':'),
  LSAN_OPTIONS: `suppressions=${suppressions}:print_suppressions=0:max_leaks=3`,
  UBSAN_OPTIONS: 'print_stacktrace=1',
})

/** A text of the source and what stands there instead. */
type Mistake = readonly [before: string, after: string]

/**
 * Compiles as setup/native.mjs does, in a project of its own, with more flags; returns the file.
 * The compiler itself is not watched, nor asked to leave no memory behind.
 */
function compile(mistake?: Mistake): string {
  const root = mkdtempSync(join(directory, 'project-'))
  cpSync(join(ROOT, 'setup'), join(root, 'setup'), { recursive: true })
  cpSync(join(ROOT, 'eap', 'native'), join(root, 'eap', 'native'), { recursive: true })
  if (mistake !== undefined) makeMistake(join(root, 'eap', 'native'), mistake)
  const modules = join(root, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  symlinkSync(process.execPath, join(modules, '.bin', 'node'))
  symlinkSync(join(ROOT, 'node_modules', 'node'), join(modules, 'node'))
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n')
  const script = `#!/bin/sh\nunset LD_PRELOAD\nexec ${COMPILER} "$@" ${FLAGS}\n`
  writeFileSync(join(root, 'compiler'), script, { mode: 0o755 })
  const env = { ...environment(false), CC: join(root, 'compiler') }
  const call = "import('./setup/native.mjs').then((m) => m.buildNativeEngine())"
  const built = spawnSync(process.execPath, ['-e', call], { cwd: root, env, encoding: 'utf8' })
  const folder = join(modules, '.datanet')
  const [file] = built.stderr === '' ? readdirSync(folder) : []
  if (file === undefined) throw new Error(`not compiled: ${built.stderr}`)
  return join(folder, file)
}

function makeMistake(folder: string, [before, after]: Mistake): void {
  const name = readdirSync(folder).find((name) =>
    readFileSync(join(folder, name), 'utf8').includes(before),
  )
  if (name === undefined) throw new Error(`the source has no ${before}`)
  const text = readFileSync(join(folder, name), 'utf8')
  writeFileSync(
    join(folder, name),
    text.replace(before, () => after),
  )
}

/** Runs a program of ours over that addon; everything it printed, and its exit code. */
function run(file: string, ...words: string[]): { code: number | null; output: string } {
  const env = { ...environment(true), DATANET_TEST_ENGINE: file }
  // The conformance suite may run in the project's folder at this moment, with its own files.
  const options = { cwd: directory, env, encoding: 'utf8', maxBuffer: 1 << 26 } as const
  const [program = '', ...others] = words
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, program), ...others],
    options,
  )
  return { code: status, output: `${stdout}${stderr}` }
}

const PROGRAM = 'test/sim/engine-program.ts'
const COMPLAINT = /ERROR: (?:Address|Leak)Sanitizer.*|runtime error:.*/

t.test('conformance, fuzz and handshakes leave nothing to say to a sanitizer', async (t) => {
  const file = compile()
  const watched = readFileSync(file, 'latin1')
  for (const symbol of ['__asan_init', '__ubsan_handle_']) t.ok(watched.includes(symbol), symbol)
  const runs: [string, string[], RegExp][] = [
    ['conformance', ['test/eap/native.test.ts'], /^# \{ total: [5-9]\d\d,/m],
    ['resumption', ['test/eap/resumption.test.ts'], /^# \{ total: 2\d\d,/m],
    ['tickets', ['test/eap/tickets.test.ts'], /^# \{ total: 5\d\d,/m],
    ['stapling', ['test/eap/native-ocsp.test.ts'], /^# \{ total: 3\d,/m],
    ['fuzz', [PROGRAM, 'fuzz', 'sanitizers', String(ROUNDS)], /"feed":\d{5}/],
    ['handshakes', [PROGRAM, 'handshakes', '300'], /"established":300,/],
  ]
  for (const [name, words, done] of runs) {
    const { code, output } = run(file, ...words)
    t.equal(code, 0, name, code === 0 ? {} : { output: output.slice(-3000) })
    t.ok(done.test(output), `${name} ran to its end`)
    t.equal(COMPLAINT.exec(output)?.[0], undefined, name)
  }
})

t.test('one mistake in a copy of the source is noticed by the same runs', async (t) => {
  const fuzz = ['fuzz', 'sanitizers', '400']
  const handshakes = ['handshakes', '3']
  const mistakes: [name: string, mistake: Mistake, words: string[], complaint: RegExp][] = [
    [
      'a buffer on the stack one octet short, overrun inside of OpenSSL',
      ['randoms[2 * SSL3_RANDOM_SIZE]', 'randoms[2 * SSL3_RANDOM_SIZE - 1]'],
      handshakes,
      /AddressSanitizer: stack-buffer-overflow/,
    ],
    [
      'one octet read behind a flight',
      ['= step(c, data, length);', '= step(c, data, length + 1);'],
      fuzz,
      /AddressSanitizer: heap-buffer-overflow/,
    ],
    [
      'a conversation read after it was freed',
      ['SSL_free(c->ssl);', 'SSL_free(c->ssl); (void)*(volatile char *)c->ssl;'],
      handshakes,
      /AddressSanitizer: heap-use-after-free/,
    ],
    [
      'freed twice',
      ['  free(data);', '  free(data); free(data);'],
      handshakes,
      /AddressSanitizer: attempting double-free/,
    ],
    [
      'a number from JavaScript that overflows',
      ['if (field == CODE)', 'if (field == CODE || field + c->status == -5)'],
      fuzz,
      /runtime error: signed integer overflow/,
    ],
    [
      'a conversation that is never freed',
      ['  free(data);', ''],
      handshakes,
      /LeakSanitizer.*memory leaks/,
    ],
    [
      'a certificate that is never freed',
      ['OPENSSL_free(der);', ''],
      handshakes,
      /LeakSanitizer.*memory leaks/,
    ],
  ]
  for (const [name, mistake, words, complaint] of mistakes) {
    const { code, output } = run(compile(mistake), PROGRAM, ...words)
    t.not(code, 0, name)
    t.match(COMPLAINT.exec(output)?.[0], complaint, name)
  }
})

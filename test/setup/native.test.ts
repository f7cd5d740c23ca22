// setup/native.mjs as the install step calls it, in a project with stand-in compilers: what is
// built once, what is never run again, and that nothing about it can fail a set-up.

import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const SOURCE = fileURLToPath(new URL('../..', import.meta.url))
const FALLBACK = /^the native TLS engine was not built \(.+\); the node:tls engine is used\n$/
const ENGINE = /^engine-[0-9a-f]{16}\.node$/

interface Project {
  readonly root: string
  /** Runs the build with a compiler that is this shell script, or with the machine's own. */
  build(compiler?: string, environment?: NodeJS.ProcessEnv): SpawnSyncReturns<string>
  built(): string[]
}

function project(t: Tap): Project {
  const root = t.testdir({})
  cpSync(join(SOURCE, 'setup'), join(root, 'setup'), { recursive: true })
  cpSync(join(SOURCE, 'eap', 'native'), join(root, 'eap', 'native'), { recursive: true })
  mkdirSync(join(root, 'node_modules', '.bin'), { recursive: true })
  symlinkSync(process.execPath, join(root, 'node_modules', '.bin', 'node'))
  mkdirSync(join(root, 'node_modules', 'node'))
  const version = process.version.slice(1)
  writeFileSync(join(root, 'node_modules', 'node', 'package.json'), JSON.stringify({ version }))
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n')
  const script = "import('./setup/native.mjs').then((m) => m.buildNativeEngine())"
  const folder = join(root, 'node_modules', '.datanet')
  return {
    root,
    build(compiler, environment = {}) {
      const env = { ...process.env, ...environment }
      if (compiler !== undefined) {
        env['CC'] = join(root, 'compiler')
        writeFileSync(env['CC'], `#!/bin/sh\n${compiler}\n`)
        chmodSync(env['CC'], 0o755)
      }
      return spawnSync(process.execPath, ['-e', script], { cwd: root, env, encoding: 'utf8' })
    },
    built: () => (existsSync(folder) ? readdirSync(folder) : []),
  }
}

type Tap = Pick<typeof t, 'testdir'>

t.test('it is built once, and what the sources made before it is removed', async (t) => {
  const p = project(t)
  const first = p.build()
  t.same([first.status, first.stderr, first.stdout], [0, '', ''])
  const [name = ''] = p.built()
  t.match(name, ENGINE)
  t.equal(p.built().length, 1, 'no temporary file is left')
  const again = p.build('exit 1')
  t.same([again.status, again.stderr], [0, ''], 'no compiler is run when it is there')
  const source = join(p.root, 'eap', 'native', 'engine.c')
  writeFileSync(source, `${readFileSync(source, 'utf8')}/* changed */\n`)
  t.equal(p.build().stderr, '')
  t.match(p.built(), [ENGINE])
  t.not(p.built()[0], name)
})

t.test('without a compiler, or with a bad one: one line, no error, nothing left', async (t) => {
  const p = project(t)
  const cases: readonly [string, RegExp, string | undefined, NodeJS.ProcessEnv][] = [
    ['none', /there is no C compiler/, undefined, { CC: '/nonexistent/cc' }],
    ['one that fails', /error: no such header/, 'echo "x.c:1: error: no such header"; exit 1', {}],
    ['one that says nothing', /no reason given/, 'exit 1', {}],
    ['one that makes no library', /Node does not load it/, 'exit 0', {}],
    ['one that is killed', /failed/, 'kill -9 $$', {}],
    [
      'a library that Node lacks symbols for',
      /Node does not load it: Error: .*undefined symbol/,
      `for word; do [ "$last" = -o ] && out=$word; last=$word; done
       echo 'extern int no_such_function(void); int f(void) { return no_such_function(); }' |
         cc -shared -fPIC -x c -o "$out" -`,
      {},
    ],
    [
      'a library that crashes',
      /Node does not load it: it ends the process/,
      `for word; do [ "$last" = -o ] && out=$word; last=$word; done
       echo '__attribute__((constructor)) static void f(void) { *(volatile int *)0 = 1; }' |
         cc -shared -fPIC -x c -o "$out" -`,
      {},
    ],
  ]
  for (const [name, reason, compiler, environment] of cases) {
    const result = p.build(compiler, environment)
    t.equal(result.status, 0, name)
    t.match(result.stderr, FALLBACK, name)
    t.match(result.stderr, reason, name)
    t.same(p.built(), [], name)
  }
})

t.test('without the source there is nothing to do', async (t) => {
  const p = project(t)
  writeFileSync(join(p.root, 'node_modules', 'node', 'package.json'), '{')
  t.match(p.build('exit 1').stderr, FALLBACK, 'a broken manifest is only a reason')
  const empty = project(t)
  cpSync(join(empty.root, 'setup'), join(empty.root, 'bare', 'setup'), { recursive: true })
  const script = "import('./setup/native.mjs').then((m) => m.buildNativeEngine())"
  const cwd = join(empty.root, 'bare')
  const result = spawnSync(process.execPath, ['-e', script], { cwd, encoding: 'utf8' })
  t.same([result.status, result.stderr], [0, ''])
})

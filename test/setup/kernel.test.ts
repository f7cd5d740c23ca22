// How the kernel of the simulated access point is got: once, from whatever apt knows, and in words
// that help where apt knows nothing. apt is played by two scripts here.

import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const KERNEL = fileURLToPath(new URL('../../setup/kernel.mjs', import.meta.url))
const NAME = 'linux-image-6.1.0-56-amd64'
const DEB = `${NAME}_6.1.192-2_amd64.deb`

const KNOWS = `echo "linux-image-amd64"; echo "  Depends: ${NAME}"`
const GETS = `echo whole > ${DEB}`

interface Machine {
  readonly cache: string
  readonly env: NodeJS.ProcessEnv
  get(): SpawnSyncReturns<string>
  /** What apt-get was asked for so far. */
  asked(): string[]
}

/**
 * A machine with this apt: shell texts, run in the current folder. `$FACTS` is a folder for what
 * one call leaves to the next.
 */
function machine(t: Tap, apt: { depends: string; update: string; download: string }): Machine {
  const root = t.testdir({ bin: {}, facts: {} })
  const script = (name: string, text: string) =>
    writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  script('apt-cache', apt.depends)
  const log = join(root, 'facts', 'asked')
  script(
    'apt-get',
    `for word; do case $word in
      update) echo update >> ${log}; ${apt.update};;
      download) echo download >> ${log}; ${apt.download};;
    esac; done`,
  )
  const env = {
    ...process.env,
    PATH: `${join(root, 'bin')}:${process.env['PATH']}`,
    XDG_CACHE_HOME: join(root, 'cache'),
    FACTS: join(root, 'facts'),
  }
  return {
    cache: join(root, 'cache', 'datanet'),
    env,
    get: () => spawnSync(process.execPath, [KERNEL], { env, encoding: 'utf8' }),
    asked: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []),
  }
}

type Tap = Pick<typeof t, 'testdir'>

t.test('downloaded once; after that neither apt nor a network is needed', async (t) => {
  const m = machine(t, { depends: KNOWS, update: 'exit 1', download: GETS })
  const first = m.get()
  t.same([first.status, first.stdout], [0, `${join(m.cache, DEB)}\n`])
  t.match(first.stderr, `downloading Debian's ${NAME}`)
  const again = m.get()
  t.same([again.status, again.stdout, again.stderr], [0, first.stdout, ''])
  t.same(m.asked(), ['download'])
  t.same(readdirSync(m.cache), [DEB])
})

const MENDED: readonly [name: string, depends: string, download: string, asked: string[]][] = [
  [
    'without package lists',
    `if [ -e $FACTS/updated ]; then ${KNOWS}; fi`,
    GETS,
    ['update', 'download'],
  ],
  [
    'with lists that name a version which is gone',
    KNOWS,
    `[ -e $FACTS/updated ] || { echo 404 Not Found; exit 100; }; ${GETS}`,
    ['download', 'update', 'download'],
  ],
]

for (const [name, depends, download, asked] of MENDED) {
  t.test(`${name}: apt-get update, and it is got`, async (t) => {
    const m = machine(t, { depends, update: 'touch $FACTS/updated', download })
    const { status, stdout } = m.get()
    t.same([status, stdout], [0, `${join(m.cache, DEB)}\n`])
    t.same(m.asked(), asked)
  })
}

const REFUSED: readonly [name: string, depends: string, download: string, says: RegExp][] = [
  ['no lists and no network', 'echo N: no such package', GETS, /apt knows no linux-image-amd64/],
  ['a download that fails', KNOWS, `echo half > ${DEB}; echo 404; exit 100`, /404/],
  ['a download that leaves nothing', KNOWS, 'exit 0', /left no package/],
  [
    'a kernel without radios',
    `echo "Depends: ${NAME.replace('-amd', '-cloud-amd')}"`,
    GETS,
    /apt knows no/,
  ],
]

for (const [name, depends, download, says] of REFUSED) {
  t.test(`${name}: exit 69, what to do, and nothing in the cache`, async (t) => {
    const m = machine(t, {
      depends,
      update: 'echo Temporary failure resolving; exit 100',
      download,
    })
    const { status, stdout, stderr } = m.get()
    t.same([status, stdout], [69, ''])
    t.match(stderr, says)
    t.match(stderr, /Make "apt-get update" work, or put linux-image-\S+\.deb into \S+datanet/)
    t.same(readdirSync(m.cache), [])
  })
}

t.test('what was put into the cache by hand is taken, a cloud kernel is not', async (t) => {
  const m = machine(t, { depends: 'exit 1', update: 'exit 1', download: 'exit 1' })
  mkdirSync(m.cache, { recursive: true })
  writeFileSync(join(m.cache, 'linux-image-6.1.0-53-cloud-amd64_6.1.187-1_amd64.deb'), '')
  t.equal(m.get().status, 69)
  const newer = 'linux-image-6.12.48+deb13-amd64_6.12.48-1_amd64.deb'
  writeFileSync(join(m.cache, newer), '')
  const asked = m.asked().length
  t.same(m.get().stdout, `${join(m.cache, newer)}\n`)
  t.equal(m.asked().length, asked)
})

t.test('two runs at once: both have it, whole', async (t) => {
  const m = machine(t, { depends: KNOWS, update: '', download: `sleep 0.2; ${GETS}` })
  const ends = [1, 2].map(
    () =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, [KERNEL], { env: m.env, stdio: 'ignore' })
        child.once('close', resolve)
      }),
  )
  t.same(await Promise.all(ends), [0, 0])
  t.same(readdirSync(m.cache), [DEB])
  t.equal(readFileSync(join(m.cache, DEB), 'utf8'), 'whole\n')
})

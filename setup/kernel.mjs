// Debian's kernel package, out of which the tests make a simulated access point
// (test/interop/hwsim/): downloaded and checked by apt, never installed. It is kept among the
// user's caches, so that a fresh clone on the same machine needs no network for it. Called by
// peers.mjs; as a program it prints the package's path.

import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { capture, findCommand, finish, isProgram, SetupError } from './processes.mjs'

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'datanet')
/** The package that depends on the newest of its kind. */
const LATEST = 'linux-image-amd64'
/** 6.1.0-56 and 6.12.48+deb13 alike; those named -cloud- and -rt- have no simulated radio. */
const NAME = /^linux-image-\d[\w.+]*(?:-\d+)?-amd64$/

const say = (line) => process.stderr.write(`${line}\n`)

function cached() {
  const files = readdirSync(CACHE).filter((file) => {
    const [name = ''] = file.split('_')
    return file.endsWith('.deb') && NAME.test(name)
  })
  return files
    .sort()
    .map((file) => join(CACHE, file))
    .at(-1)
}

const apt = (command, words, options) =>
  capture(command, ['-q', '-o', 'Acquire::http::Timeout=60', ...words], {
    env: { ...process.env, LC_ALL: 'C' },
    ...options,
  })

/** Why it failed, in apt's words; undefined: the package is in the cache. */
async function download() {
  const { output } = await apt('apt-cache', ['depends', LATEST])
  const name = /Depends: (\S+)/.exec(output)?.[1] ?? ''
  if (!NAME.test(name)) return `apt knows no ${LATEST}: ${output.trim()}`
  say(`downloading Debian's ${name} (70 MB), once`)
  const work = mkdtempSync(join(CACHE, '.downloading-'))
  try {
    const { code, output: words } = await apt('apt-get', ['download', name], { cwd: work })
    if (code !== 0) return words.trim()
    // Whole or not there at all; another run may have been quicker.
    for (const file of readdirSync(work)) renameSync(join(work, file), join(CACHE, file))
    return undefined
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * The path of the package, downloaded where the cache has none. Throws SetupError with what to do
 * where it can't be had.
 */
export async function kernelPackage() {
  const fails = (why) =>
    new SetupError(
      `${why}\nthe simulated access point needs Debian's kernel as a file. Make ` +
        `"apt-get update" work, or put linux-image-VERSION-amd64_….deb into ${CACHE}`,
    )
  if (process.arch !== 'x64') throw new SetupError('the simulated access point needs x86-64')
  mkdirSync(CACHE, { recursive: true })
  if (cached() === undefined) {
    if (findCommand('apt-get') === undefined) throw fails('there is no apt-get')
    const first = await download()
    if (first !== undefined) {
      // No lists, or lists that name a version which has been replaced since.
      say('apt-get update')
      const { code, output } = await apt('apt-get', ['update'])
      const second = await download()
      if (second !== undefined) throw fails(code === 0 ? second : `${output.trim()}\n${second}`)
    }
  }
  const path = cached()
  if (path === undefined) throw fails('apt-get download left no package')
  return path
}

if (isProgram(import.meta.url)) {
  await finish(async () => {
    process.stdout.write(`${await kernelPackage()}\n`)
    return 0
  })
}

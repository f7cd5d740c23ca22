// The guest's disk in memory: busybox, hostapd, wpa_supplicant, iw, what they are linked with and
// the kernel's modules, as one archive. Built from what is installed on this machine and kept in
// the cache until that changes. Called by guest.ts.

import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { root } from '../server.ts'
import { cpio, type Entry } from './cpio.ts'
import { kernel, moduleBytes } from './kernel.ts'
import { captureBytes, PATH } from './processes.ts'

const CACHE = join(root, '.cache', 'hwsim')
const here = (file: string) => readFileSync(fileURLToPath(new URL(file, import.meta.url)))
const PROGRAMS = ['busybox', 'hostapd', 'hostapd_cli', 'wpa_supplicant', 'wpa_cli', 'iw']
const FOLDERS = ['bin', 'sbin', 'proc', 'sys', 'dev', 'run', 'tmp', 'modules', 'scenario']

/** Paths of what the emulator starts. */
export interface Image {
  readonly kernel: string
  readonly root: string
}

function find(program: string): string {
  for (const folder of PATH.split(delimiter)) {
    const path = join(folder, program)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder.
    }
  }
  throw new Error(`${program} is not installed`)
}

/** The libraries of a program and the loader itself, by the paths it will look for. */
async function librariesOf(program: string): Promise<string[]> {
  const { out } = await captureBytes('ldd', [program])
  return [...out.toString().matchAll(/(?:^|\s)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '')
}

/** What is taken from this machine: path in the guest, path here. */
async function taken(): Promise<Map<string, string>> {
  const all = new Map<string, string>()
  for (const program of PROGRAMS) {
    const path = find(program)
    all.set(program === 'busybox' ? 'bin/busybox' : `sbin/${program}`, path)
    for (const library of await librariesOf(path)) all.set(library.slice(1), library)
  }
  return all
}

/** Every folder on the way to a path, outermost first. */
function foldersTo(path: string): string[] {
  const steps = dirname(path).split('/')
  return steps.map((_, index) => steps.slice(0, index + 1).join('/')).filter((step) => step !== '.')
}

/** Kernel and archive, built where the cache has none for what is installed now. */
export async function image(say: (line: string) => void): Promise<Image> {
  const { version, elf, modules } = await kernel(CACHE, say)
  const fromHere = await taken()
  const contents = new Map([...fromHere].map(([to, from]) => [to, readFileSync(from)]))
  const init = here('./init')
  const hash = createHash('sha256').update(version).update(init)
  for (const file of ['./image.ts', './cpio.ts']) hash.update(here(file))
  for (const [to, bytes] of contents) hash.update(to).update(bytes)
  const path = join(CACHE, `root-${hash.digest('hex').slice(0, 16)}.cpio.gz`)
  if (existsSync(path)) return { kernel: elf, root: path }
  say('building the guest from the programs installed here')

  const entries = new Map<string, Entry>()
  const add = (to: string, bytes: Uint8Array, executable = true) => {
    for (const folder of foldersTo(to)) entries.set(folder, { path: folder, kind: 'folder' })
    entries.set(to, { path: to, kind: 'file', bytes, executable })
  }
  for (const folder of FOLDERS) entries.set(folder, { path: folder, kind: 'folder' })
  for (const [to, bytes] of contents) add(to, bytes)
  const unpackedName = (module: string) => basename(module).replace(/\.(xz|zst)$/, '')
  for (const module of modules) {
    add(`modules/${unpackedName(module)}`, await moduleBytes(module), false)
  }
  add('modules/order', Buffer.from(`${modules.map(unpackedName).join('\n')}\n`), false)
  add('init', init)

  const isOld = (name: string) => /^root-[0-9a-f]+\.cpio\.gz$/.test(name)
  for (const old of readdirSync(CACHE).filter(isOld)) rmSync(join(CACHE, old), { force: true })
  const part = `${path}.part-${process.pid}`
  writeFileSync(part, gzipSync(cpio([...entries.values()]), { level: 6 }))
  renameSync(part, path)
  return { kernel: elf, root: path }
}

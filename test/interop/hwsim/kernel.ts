// Debian's kernel as files: the uncompressed kernel and the modules a simulated radio needs, out of
// the package that setup/kernel.mjs keeps. Unpacked once a checkout, never installed. Called by
// image.ts.

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { constants, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { root } from '../server.ts'
import { captureBytes, must } from './processes.ts'

/**
 * What the guest needs, least first: the network card, random numbers, the ciphers the radio asks
 * for by name (there is no modprobe in the guest to find them), and the radio.
 */
const WANTED = ['virtio_pci', 'virtio_net', 'virtio-rng', 'ctr', 'ccm', 'cmac', 'gcm']
const RADIO = 'mac80211_hwsim'
/** The parts of the package that hold them; the rest of its 400 MB stays packed. */
const PARTS = [
  'boot/vmlinuz-*',
  ...['crypto', 'drivers/char/hw_random', 'drivers/net/virtio*'].map(inTree),
]
  .concat(['drivers/net/net_failover*', 'drivers/net/wireless/*hwsim*'].map(inTree))
  .concat(['drivers/virtio', 'lib/crypto', 'net/core', 'net/mac80211'].map(inTree))
  .concat(['net/rfkill', 'net/wireless'].map(inTree))

function inTree(part: string): string {
  return `lib/modules/*/kernel/${part}`
}

export interface Kernel {
  readonly version: string
  /** Path of the kernel as an ELF file, ready to be started without unpacking itself. */
  readonly elf: string
  /** Paths of the modules in the order they are loaded. */
  readonly modules: readonly string[]
}

const files = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/**
 * The kernel, unpacked into a folder of `cache` where it is not yet. Where there is no package, it
 * throws with what setup/kernel.mjs says is to be done.
 */
export async function kernel(cache: string, say: (line: string) => void): Promise<Kernel> {
  const path = (await must(process.execPath, [join(root, 'setup', 'kernel.mjs')])).toString().trim()
  // What is unpacked is this file's choice: another choice is another folder.
  const recipe = readFileSync(fileURLToPath(import.meta.url))
  const hash = createHash('sha256').update(recipe).update(basename(path)).digest('hex')
  const version = `linux-${hash.slice(0, 16)}`
  const folder = join(cache, version)
  mkdirSync(cache, { recursive: true })
  if (!existsSync(folder)) {
    say(`unpacking ${basename(path)}`)
    await unpack(path, folder)
    const isOld = (name: string) => /^linux-[0-9a-f]+$/.test(name) && name !== version
    for (const old of readdirSync(cache).filter(isOld)) rmSync(join(cache, old), FOLDER)
  }
  return { version, elf: join(folder, 'vmlinux'), modules: await inOrder(files(folder)) }
}

const FOLDER = { recursive: true, force: true }

/** Complete or not there at all: another run may be at the same thing. */
async function unpack(deb: string, folder: string): Promise<void> {
  const work = `${folder}.part-${process.pid}`
  mkdirSync(work)
  try {
    const members = PARTS.map((part) => `./${part}`)
    const pipe = 'dpkg-deb --fsys-tarfile "$0" | tar -x --wildcards "$@"'
    await must('bash', ['-o', 'pipefail', '-c', pipe, deb, ...members], { cwd: work })
    const image = files(join(work, 'boot')).find((file) => file.includes('vmlinuz-')) ?? ''
    writeFileSync(join(work, 'vmlinux'), await unpacked(readFileSync(image)))
    rmSync(join(work, 'boot'), FOLDER)
    if (!existsSync(folder)) renameSync(work, folder)
  } finally {
    rmSync(work, FOLDER)
  }
}

/**
 * The ELF file inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset,
 * payload_length). An emulated processor needs six seconds to unpack what takes us half of one.
 */
async function unpacked(image: Buffer): Promise<Buffer> {
  const start = ((image[0x1f1] || 4) + 1) * 512 + image.readUInt32LE(0x248)
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c))
  const magic = payload.toString('latin1', 0, 6)
  let elf: Buffer
  if (magic === '\xfd7zXZ\0') elf = (await captureBytes('xz', ['-dc'], { input: payload })).out
  else if (magic.startsWith('\x28\xb5\x2f\xfd')) elf = zstdDecompressSync(payload, FIRST)
  else if (magic.startsWith('\x1f\x8b')) elf = gunzipSync(payload, FIRST)
  else throw new Error(`a kernel packed in an unknown way: ${payload.toString('hex', 0, 6)}`)
  if (elf.toString('latin1', 0, 4) !== '\x7fELF') throw new Error('no ELF file in the kernel image')
  return elf
}

/** The length of the unpacked kernel follows the payload: no fault of the archive. */
const FIRST = { finishFlush: constants.Z_SYNC_FLUSH }

/** The wanted modules, each after those it names in its `depends=` (MODULE_INFO). */
async function inOrder(paths: readonly string[]): Promise<string[]> {
  const nameOf = (path: string) =>
    basename(path)
      .replace(/\.ko(\.xz|\.zst)?$/, '')
      .replaceAll('-', '_')
  const byName = new Map(
    paths.filter((p) => /\.ko(\.|$)/.test(p)).map((path) => [nameOf(path), path]),
  )
  const ordered: string[] = []
  const visit = async (name: string): Promise<void> => {
    const path = byName.get(name.replaceAll('-', '_'))
    if (path === undefined || ordered.includes(path)) return
    const text = (await moduleBytes(path)).toString('latin1')
    const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? ''
    for (const one of depends.split(',').filter((word) => word !== '')) await visit(one)
    ordered.push(path)
  }
  for (const name of [...WANTED, RADIO]) await visit(name)
  if (!ordered.some((path) => nameOf(path) === RADIO)) throw new Error(`no module ${RADIO}`)
  return ordered
}

/** A module as the kernel takes it; newer Debian packs them. */
export async function moduleBytes(path: string): Promise<Buffer> {
  if (path.endsWith('.xz')) return (await captureBytes('xz', ['-dc', path])).out
  return path.endsWith('.zst') ? zstdDecompressSync(readFileSync(path)) : readFileSync(path)
}

// DIR, the folder of one device: written whole or not at all, never over anything, read back
// strictly. Owns its file names and their modes. Called by the cli's device verbs.

import { constants } from 'node:fs'
import { access, lstat, mkdir, mkdtemp, open, readFile, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type DeviceFile, deviceJson, FieldError, readDeviceValue } from './device-file.ts'
import { DeviceError } from './error.ts'

export { type DeviceFile, deviceJson }

/** One file of DIR; 0o600 unless `mode` says otherwise. */
export interface FolderFile {
  readonly name: string
  readonly content: string | Uint8Array
  readonly mode?: number
}

// device.json is half a KB, a keystore too, a certificate 1 KB: 64 KB is far from any of them.
const FILE_BYTES_MAX = 64 * 1024

/**
 * Reads one text file of DIR. Throws DeviceError 'usage' where DIR holds none, 'permission',
 * 'damaged' where it is too long.
 */
export async function readFolderFile(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  try {
    const content = await readFile(path, 'utf8')
    if (content.length <= FILE_BYTES_MAX) return content
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const way = 'give the DIR that `npx datanet device create` wrote'
      throw new DeviceError('usage', `${path} does not exist; ${way}`, error)
    }
    throw new DeviceError('permission', `${path} cannot be read (${code})`, error)
  }
  throw new DeviceError('damaged', `${path} is too long to be what device create wrote`)
}

/**
 * device.json of DIR. Throws DeviceError as `readFolderFile`, and 'damaged' where a field is
 * wrong.
 */
export async function readDevice(directory: string): Promise<DeviceFile> {
  const text = await readFolderFile(directory, 'device.json')
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new DeviceError('damaged', `${join(directory, 'device.json')} is not JSON`, error)
  }
  try {
    return readDeviceValue(json)
  } catch (error) {
    if (!(error instanceof FieldError)) throw error
    const problem = `${join(directory, 'device.json')}: ${error.message} is malformed`
    throw new DeviceError('damaged', problem, error)
  }
}

/**
 * Throws DeviceError 'exists' where something of any kind has this path, 'unavailable' where its
 * parent is no folder, 'permission' where nothing may be made there.
 */
export async function refuseExisting(directory: string): Promise<void> {
  const present = await lstat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw noPlace(directory, error)
  })
  if (present !== undefined) throw existing(directory)
  await access(dirname(directory), constants.W_OK | constants.X_OK).catch((error) => {
    throw noPlace(directory, error)
  })
}

function noPlace(directory: string, error: NodeJS.ErrnoException): DeviceError {
  const parent = dirname(directory)
  const way = 'or choose another with --out'
  if (error.code === 'ENOENT') {
    return new DeviceError('unavailable', `there is no folder ${parent}: make it, ${way}`, error)
  }
  if (error.code === 'ENOTDIR') {
    return new DeviceError(
      'unavailable',
      `${parent} is not a folder: choose another with --out`,
      error,
    )
  }
  const problem = `nothing can be made in ${parent} (${error.code}): allow it, ${way}`
  return new DeviceError('permission', problem, error)
}

const existing = (directory: string): DeviceError =>
  new DeviceError('exists', `${directory} exists already; remove it or choose another with --out`)

/**
 * Makes DIR (mode 0700) with all of `files`, durably, in one step: the files are written beside
 * it and
 * renamed into place, so a failure or a power cut leaves DIR whole or absent. Throws DeviceError
 * as `refuseExisting`.
 */
export async function writeFolder(directory: string, files: readonly FolderFile[]): Promise<void> {
  await refuseExisting(directory)
  const parent = dirname(directory)
  const temporary = await mkdtemp(join(parent, `.${basename(directory)}.new-`))
  try {
    for (const file of files) await writeSynced(join(temporary, file.name), file)
    await syncDirectory(temporary)
    // rename() replaces an empty directory, even somebody else's: this mkdir makes sure it is ours.
    await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? existing(directory) : error
    })
    await rename(temporary, directory).catch(async (error) => {
      await rmdir(directory)
      throw error
    })
    await syncDirectory(parent)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

async function writeSynced(path: string, { content, mode }: FolderFile): Promise<void> {
  const { O_CREAT, O_EXCL, O_WRONLY } = constants
  const file = await open(path, O_CREAT | O_EXCL | O_WRONLY, mode ?? 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

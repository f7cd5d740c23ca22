// Whether wpa_supplicant.conf still names the files of its own folder: its paths are absolute, so a
// folder that was moved has a profile that finds nothing. Reads only; mending is the person's.

import { realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { realmOf } from '../certs/operator.ts'
import { wpaSupplicantConf } from '../certs/profiles/wpa_supplicant.ts'
import type { DeviceFile } from './folder.ts'
import { CA_FILE } from './network-block.ts'

/** One setting that names a file elsewhere. */
export interface MovedPath {
  readonly setting: string
  /** What the file says now. */
  readonly named: string
  /** The whole setting as it has to be, `setting=value`, without whitespace around it. */
  readonly line: string
}

const SETTING = /^\s*(ca_cert|client_cert|private_key)=(.+?)\s*$/gm

/**
 * The settings of a profile that name a file of this name in another folder. What the person has
 * pointed at a file of another name, a token or a hash is left alone. One network block at a time.
 */
export async function movedPaths(
  conf: string,
  device: DeviceFile,
  directory: string,
  caFile = CA_FILE,
): Promise<MovedPath[]> {
  const moved: MovedPath[] = []
  const wanted = settingsOf(profileFor(device, directory, caFile))
  for (const [setting, value] of settingsOf(conf)) {
    const due = wanted.get(setting)
    if (due === undefined || due === value) continue
    const [named, here] = [textOf(value), textOf(due)]
    if (basename(named) !== basename(here) || (await isSameFile(named, here))) continue
    moved.push({ setting, named, line: `${setting}=${due}` })
  }
  return moved
}

function profileFor(device: DeviceFile, directory: string, caFile: string): string {
  const { kind, operatorName, serverName, privateKey } = device
  // A key that lives elsewhere did not move with the folder.
  const keyPath = privateKey === 'key.pem' ? join(directory, privateKey) : '/'
  return wpaSupplicantConf({
    ...{ kind, serverName, keyPath },
    realm: realmOf(operatorName),
    caPath: join(directory, caFile),
    certificatePath: join(directory, 'cert.pem'),
  })
}

function settingsOf(conf: string): Map<string, string> {
  return new Map([...conf.matchAll(SETTING)].map(([, name = '', value = '']) => [name, value]))
}

/** wpa_supplicant's two spellings of a string: in quotes, or as hex where quotes would not do. */
function textOf(value: string): string {
  if (value.startsWith('"')) return value.replace(/^"|"$/g, '')
  return /^([0-9a-f]{2})+$/i.test(value) ? Buffer.from(value, 'hex').toString('utf8') : value
}

/** The same file by two names, as through a symbolic link, is no reason to say anything. */
async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all(
    [one, other].map((path) => realpath(path).catch(() => undefined)),
  )
  return a !== undefined && a === b
}

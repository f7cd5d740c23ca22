// The account key of a DIR: out of wallet.json with its password, or out of key.pem where the
// account's key is the TLS key. Refuses a key of another account. Called by the cli's device verbs.

import { createPrivateKey } from 'node:crypto'
import { accountOf } from '../ethereum/signature.ts'
import type { DeviceFile } from './device-file.ts'
import { DeviceError } from './error.ts'
import { readFolderFile } from './folder.ts'
import { openAccount } from './keystore.ts'

/** 32 bytes. `password` is asked only where one is needed. */
export async function readAccountKey(
  directory: string,
  device: DeviceFile,
  password: () => Promise<string>,
): Promise<Buffer> {
  const isDirect = device.kind === 'direct'
  const key = isDirect
    ? rawKey(await readFolderFile(directory, device.privateKey))
    : await openAccount(await readFolderFile(directory, 'wallet.json'), await password())
  if (accountOf(key) !== device.account) {
    const file = isDirect ? device.privateKey : 'wallet.json'
    throw new DeviceError('damaged', `${file} of ${directory} is another account's`)
  }
  return key
}

function rawKey(pem: string): Buffer {
  try {
    const { d } = createPrivateKey(pem).export({ format: 'jwk' })
    return Buffer.from(d ?? '', 'base64url')
  } catch (error) {
    throw new DeviceError('damaged', 'key.pem is no private key', error)
  }
}

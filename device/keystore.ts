// The account of a device: 32 random bytes, kept as an encrypted keystore (Web3 Secret Storage v3)
// that any wallet program opens. Refuses empty passwords. Called by the cli's device verbs.

import { decryptKeystoreJson, encryptKeystoreJson, isKeystoreJson } from 'ethers'
import { checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { DeviceError } from './error.ts'

/** scrypt's cost; 2^17 is the format's usual choice, about a second. Tests take less. */
export const SCRYPT_COST = 131_072

/** The keystore text of a 32-byte account key under a password. */
export async function sealAccount(
  accountKey: Uint8Array,
  password: string,
  cost: number = SCRYPT_COST,
): Promise<string> {
  if (password === '') throw new DeviceError('permission', 'an empty password protects nothing')
  const privateKey = `0x${Buffer.from(accountKey).toString('hex')}`
  const address = checksumAddress(accountOf(accountKey))
  const options = { scrypt: { N: cost } }
  return `${await encryptKeystoreJson({ address, privateKey }, password, options)}\n`
}

/**
 * The 32-byte account key of a keystore. Throws DeviceError 'permission' on a wrong password,
 * 'damaged' on no keystore.
 */
export async function openAccount(keystore: string, password: string): Promise<Buffer> {
  if (!isKeystoreJson(keystore)) {
    throw new DeviceError('damaged', 'wallet.json is not an encrypted keystore')
  }
  try {
    const { privateKey } = await decryptKeystoreJson(keystore, password)
    return Buffer.from(privateKey.slice(2), 'hex')
  } catch (error) {
    const wrong = error instanceof Error && error.message.includes('incorrect password')
    if (wrong) throw new DeviceError('permission', 'wrong password for wallet.json')
    throw new DeviceError('damaged', 'wallet.json is not an encrypted keystore', error)
  }
}

// The account of a device: 32 random bytes, kept as an encrypted keystore (Web3 Secret Storage v3)
// that any wallet program opens. Refuses empty passwords. Opens its own form without a chain
// library, since that is a third of a payer's memory. Called by the cli's device verbs.

import { createDecipheriv, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { checksumAddress } from '../ethereum/address.ts'
import { keccak256 } from '../ethereum/keccak.ts'
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
  const { encryptKeystoreJson } = await import('ethers')
  return `${await encryptKeystoreJson({ address, privateKey }, password, options)}\n`
}

/**
 * The 32-byte account key of a keystore. Throws DeviceError 'permission' on a wrong password,
 * 'damaged' on no keystore.
 */
export async function openAccount(keystore: string, password: string): Promise<Buffer> {
  const sealed = readSealed(keystore)
  if (sealed === undefined) return openOther(keystore, password)
  const { iv, ciphertext, mac, salt, n, r, p } = sealed
  // The format: half of the derived key checks the text, half opens it.
  const options = { N: n, r, p, maxmem: SCRYPT_BYTES_MAX }
  const derived = await deriveScrypt(password.normalize('NFKC'), salt, KEY_BYTES, options)
  const found = keccak256(Buffer.concat([derived.subarray(16), ciphertext]))
  if (!timingSafeEqual(found, mac)) throw wrongPassword()
  const decipher = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), iv)
  return Buffer.concat([decipher.update(ciphertext), decipher.final()])
}

/** What opens without a chain library: the form this program writes. */
interface Sealed {
  readonly iv: Buffer
  readonly ciphertext: Buffer
  readonly mac: Buffer
  readonly salt: Buffer
  readonly n: number
  readonly r: number
  readonly p: number
}

const KEY_BYTES = 32
/** 128 N r bytes: room for N = 2^18, twice the usual cost. */
const SCRYPT_BYTES_MAX = 300 * 1024 * 1024
const deriveScrypt = promisify<
  string,
  Buffer,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt)

function readSealed(keystore: string): Sealed | undefined {
  try {
    const { version, Crypto: sealed } = JSON.parse(keystore)
    const { cipher, cipherparams, kdf, kdfparams } = sealed
    if (version !== 3 || cipher !== 'aes-128-ctr' || kdf !== 'scrypt') return undefined
    const { n, r, p, dklen } = kdfparams
    const isCheap = [n, r, p].every((one) => Number.isSafeInteger(one) && one > 0)
    if (!isCheap || dklen !== KEY_BYTES || 128 * n * r > SCRYPT_BYTES_MAX) return undefined
    return {
      iv: bytes(cipherparams.iv, 16),
      ciphertext: bytes(sealed.ciphertext, KEY_BYTES),
      mac: bytes(sealed.mac, KEY_BYTES),
      salt: bytes(kdfparams.salt, 32),
      ...{ n, r, p },
    }
  } catch {
    return undefined
  }
}

function bytes(hex: unknown, length: number): Buffer {
  const digits = typeof hex === 'string' ? hex.replace(/^0x/, '') : ''
  if (!/^[0-9a-f]*$/i.test(digits) || digits.length !== 2 * length) throw new RangeError('hex')
  return Buffer.from(digits, 'hex')
}

/** A keystore of another program. */
async function openOther(keystore: string, password: string): Promise<Buffer> {
  const { decryptKeystoreJson, isKeystoreJson } = await import('ethers')
  if (!isKeystoreJson(keystore)) {
    throw new DeviceError('damaged', 'wallet.json is not an encrypted keystore')
  }
  try {
    const { privateKey } = await decryptKeystoreJson(keystore, password)
    return Buffer.from(privateKey.slice(2), 'hex')
  } catch (error) {
    const wrong = error instanceof Error && error.message.includes('incorrect password')
    if (wrong) throw wrongPassword()
    throw new DeviceError('damaged', 'wallet.json is not an encrypted keystore', error)
  }
}

const wrongPassword = (): DeviceError =>
  new DeviceError('permission', 'wrong password for wallet.json')

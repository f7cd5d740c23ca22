// The P-256 key with which a device may speak for its own activity: the TLS key of DIR, where it is
// a file and of that curve. Whether the contract has enrolled it is asked by activity.ts. Called by
// the cli.

import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import type { ActivityKey } from './activity.ts'
import type { DeviceFile } from './device-file.ts'

/** The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** Undefined where the device has no such key, or it can't be read as a file. */
export async function readActivityKey(
  directory: string,
  { kind, privateKey }: Pick<DeviceFile, 'kind' | 'privateKey'>,
): Promise<ActivityKey | undefined> {
  if (kind !== 'bound') return undefined
  const path = isAbsolute(privateKey) ? privateKey : join(directory, privateKey)
  try {
    return activityKeyOf(createPrivateKey(await readFile(path)))
  } catch {
    return undefined
  }
}

/** Undefined for a key of another curve. */
export function activityKeyOf(key: KeyObject): ActivityKey | undefined {
  const { crv, x, y } = key.export({ format: 'jwk' })
  if (crv !== 'P-256' || x === undefined || y === undefined) return undefined
  return {
    qx: Buffer.from(x, 'base64url'),
    qy: Buffer.from(y, 'base64url'),
    sign: async (digest) => lowS(sign('sha256', digest, { key, dsaEncoding: 'ieee-p1363' })),
  }
}

/** The contract takes the lower of the two signatures that are one (chain/contracts). */
function lowS(signature: Buffer): Buffer {
  const s = BigInt(`0x${signature.toString('hex', 32)}`)
  if (s <= ORDER / 2n) return signature
  const low = (ORDER - s).toString(16).padStart(64, '0')
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(low, 'hex')])
}

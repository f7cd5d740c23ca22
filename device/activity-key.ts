// The P-256 key with which an account may speak for its own activity: the metering key in this
// machine's TPM, where the operator has taken it from this account (DIR/metering-N.tpm says so). An
// operator is never shown the TPM here: it would see which accounts share a machine. Whether the
// contract has enrolled the key is asked by activity.ts. Called by tills.ts and the cli.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ActivityKey } from './activity.ts'
import { DeviceError } from './error.ts'
import type { MeteringSigner } from './metering-key.ts'
import { findMeteringKey } from './tpm.ts'
import { findTpm } from './tpm-key.ts'
import { writeDurably } from './vouchers-file.ts'

/** The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** Whose key, and with which operator. */
export interface ActivityKeyPlace {
  readonly directory: string
  readonly operatorId: number
}

const fileOf = (operatorId: number): string => `metering-${operatorId}.tpm`

/** Notes that the operator has taken the TPM's key from this account. */
export async function noteTpmKey(
  { directory, operatorId }: ActivityKeyPlace,
  publicKey: Buffer,
): Promise<void> {
  await writeDurably(directory, fileOf(operatorId), `${publicKey.toString('base64url')}\n`)
}

/**
 * Undefined where the operator has not taken the TPM's key from this account, where there is no TPM
 * that may be used, or another key in it now. `environment`: where TPM2TOOLS_TCTI may stand.
 */
export async function findActivityKey(
  { directory, operatorId }: ActivityKeyPlace,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ActivityKey | undefined> {
  const noted = await readFile(join(directory, fileOf(operatorId)), 'utf8').catch(() => undefined)
  if (noted === undefined) return undefined
  try {
    const found = await findMeteringKey(await findTpm(environment))
    if (found?.meteringKey.toString('base64url') !== noted.trim()) return undefined
    const { meteringKey: publicKey, sign } = found
    const hashed = (message: Buffer) => createHash('sha256').update(message).digest()
    return activityKeyOf({ publicKey, sign: (message) => sign(hashed(message)) })
  } catch (error) {
    if (error instanceof DeviceError) return undefined
    throw error
  }
}

/** As the contract takes its point and its signatures. */
export function activityKeyOf({
  publicKey,
  sign,
}: Pick<MeteringSigner, 'publicKey' | 'sign'>): ActivityKey {
  return {
    ...{ qx: publicKey.subarray(1, 33), qy: publicKey.subarray(33) },
    sign: async (digest) => lowS(await sign(digest)),
  }
}

/** The contract takes the lower of the two signatures that are one (chain/contracts). */
function lowS(signature: Buffer): Buffer {
  const s = BigInt(`0x${signature.toString('hex', 32)}`)
  if (s <= ORDER / 2n) return signature
  const low = (ORDER - s).toString(16).padStart(64, '0')
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(low, 'hex')])
}

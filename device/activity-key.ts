// The P-256 key with which a device may speak for its own activity: the metering key in its TPM,
// where one was made (metering-enrolment.ts). Makes none itself. Whether the contract has enrolled
// it is asked by activity.ts. Called by the cli.

import { createHash } from 'node:crypto'
import type { ActivityKey } from './activity.ts'
import { DeviceError } from './error.ts'
import type { MeteringSigner } from './metering-key.ts'
import { findMeteringKey } from './tpm.ts'
import { findTpm } from './tpm-key.ts'

/** The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** Undefined where there is no TPM that may be used, or no metering key in it. */
export async function findActivityKey(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ActivityKey | undefined> {
  try {
    const found = await findMeteringKey(await findTpm(environment))
    if (found === undefined) return undefined
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

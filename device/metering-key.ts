// The key that signs this device's reports of usage: one for each operator, since an operator that
// saw the same key elsewhere would know whose it is. Kept in software, in DIR/metering-N.pem
// (0600), made at first need; a TPM's key (tpm-key.ts) is the same to who uses it. Called by
// tills.ts.

import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeviceError } from './error.ts'
import { writeDurably } from './vouchers-file.ts'

/** Whatever holds the private key. */
export interface MeteringSigner {
  /** How it is shown to an operator. */
  readonly scheme: string
  /** P-256, 65 octets, uncompressed. */
  readonly publicKey: Buffer
  /** ECDSA with SHA-256 over the message: r and s, 64 octets. */
  sign(message: Buffer): Promise<Buffer>
  /** What an operator has to know before it asks; goes with the request for its nonce. */
  introduction(): Promise<object>
  /** What shows it the key, over its challenge of 32 octets; `asked`: what came with the nonce. */
  evidence(challenge: Buffer, asked: Readonly<Record<string, unknown>>): Promise<object>
}

/** Opens the key of DIR for one operator; makes it where there is none. Throws 'damaged'. */
export async function openSoftwareKey(
  directory: string,
  operatorId: number,
): Promise<MeteringSigner> {
  const name = `metering-${operatorId}.pem`
  const key = keyOf(await readOrMake(directory, name), join(directory, name))
  const { x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
  const point = [Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  const signOver = async (message: Buffer): Promise<Buffer> =>
    sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' })
  return {
    ...{ scheme: 'software', publicKey: Buffer.concat(point), sign: signOver },
    introduction: async () => ({}),
    evidence: async (challenge) => ({
      signature: (await signOver(challenge)).toString('base64url'),
    }),
  }
}

async function readOrMake(directory: string, name: string): Promise<string> {
  try {
    return await readFile(join(directory, name), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    await writeDurably(directory, name, pem)
    return pem
  }
}

function keyOf(pem: string, path: string) {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  } catch {
    // Told below: whatever is wrong with it, the way out is the same.
  }
  throw new DeviceError('damaged', `${path} is no P-256 key: remove it, a new one is made`)
}

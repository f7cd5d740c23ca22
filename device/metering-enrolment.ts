// How a metering key of this device comes to count with an operator: its challenge, the evidence,
// the account's signature. Owns which key it is: the first of those given that the operator takes.
// Decides nothing about when (usage-reporter.ts does). Called by tills.ts.

import { createHash } from 'node:crypto'
import { challengeOf } from '../attestation/challenge.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { signDigest } from '../ethereum/signature.ts'
import { meteringKeyDigest } from '../ethereum/typed-data.ts'
import { DeviceError } from './error.ts'
import { type JsonAnswer, refusalOf, requestJson } from './http.ts'
import type { MeteringSigner } from './metering-key.ts'
import type { PayingTo } from './operator-api.ts'

/** What a key is worth to the operator that took it. */
export interface EnrolledKey {
  readonly signer: MeteringSigner
  readonly trust: 'software' | 'hardware'
  readonly expiresAtMs: number
  /** Why it is not a better one; absent where it is the first that was tried. */
  readonly why?: string
}

const TIMEOUT_MS = 10_000

/** Nobody answers, or not now: that says nothing of the key. */
class NotNow extends DeviceError {}

/**
 * Shows the keys one after the other until the operator takes one. Throws DeviceError: of the last,
 * or at once where the operator does not answer.
 */
export async function enrolFirst(
  to: PayingTo,
  ways: readonly (() => Promise<MeteringSigner>)[],
): Promise<EnrolledKey> {
  let problem: DeviceError | undefined
  for (const open of ways) {
    try {
      const signer = await open()
      const enrolled = await enrolKey(to, signer)
      return { signer, ...enrolled, ...(problem !== undefined && { why: problem.message }) }
    } catch (error) {
      if (!(error instanceof DeviceError) || error instanceof NotNow) throw error
      problem = error
    }
  }
  throw problem ?? new DeviceError('usage', 'there is no way to a metering key')
}

async function enrolKey(to: PayingTo, key: MeteringSigner): Promise<Omit<EnrolledKey, 'signer'>> {
  const { account, accountKey, operatorId: operator, domain } = to
  const consumer = checksumAddress(account)
  const introduced = { consumer, ...(await key.introduction()) }
  const asked = await ask(to, '/v1/metering-keys/challenge', introduced)
  const { nonce: text } = asked
  const nonce = Buffer.from(typeof text === 'string' ? text : '', 'base64url')
  if (nonce.length !== 32) throw new DeviceError('refused', "the operator's nonce is malformed")
  const keyHash = createHash('sha256').update(key.publicKey).digest()
  const digest = meteringKeyDigest(domain, { consumer: account, operator, keyHash, nonce })
  const { expiresAt, trust } = await ask(to, '/v1/metering-keys', {
    ...{ consumer, scheme: key.scheme, publicKey: key.publicKey.toString('base64url') },
    evidence: await key.evidence(challengeOf(nonce, account, operator), asked),
    signature: `0x${signDigest(digest, accountKey).toString('hex')}`,
  })
  if (typeof expiresAt !== 'number') throw new DeviceError('refused', 'no expiresAt in the answer')
  if (trust !== 'software' && trust !== 'hardware') {
    throw new DeviceError('refused', 'no trust in the answer')
  }
  return { trust, expiresAtMs: expiresAt * 1_000 }
}

async function ask(
  { url }: PayingTo,
  path: string,
  body: object,
): Promise<Readonly<Record<string, unknown>>> {
  const answer = await requestJson(`${url}${path}`, { body, timeoutMs: TIMEOUT_MS }).catch(
    (error: unknown) => {
      if (!(error instanceof DeviceError)) throw error
      throw new NotNow(error.code, error.message, error)
    },
  )
  if (answer.status === 200) return answer.body as Record<string, unknown>
  const message = `the operator does not take it: ${refusalOf(answer)}`
  if (isOfNow(answer)) throw new NotNow('unavailable', message)
  throw new DeviceError('refused', message)
}

/** Too many requests, its store is away, or it was started anew between the two requests. */
function isOfNow({ status, body }: JsonAnswer): boolean {
  const { error } = (body ?? {}) as { error?: { code?: unknown } | null }
  return status === 429 || status >= 500 || error?.code === 'challenge-mismatch'
}

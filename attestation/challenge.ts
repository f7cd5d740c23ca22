// What evidence must answer. Pure. The hash ties the server's nonce to one account and operator:
// evidence made for another one, or for another key's enrolment there, does not fit here.

import { createHash } from 'node:crypto'
import type { Address } from '../ethereum/address.ts'

const LABEL = 'datanet metering key v1'

/** 32 octets. `nonce` is the server's, 32 octets, fresh for one enrolment. */
export function challengeOf(nonce: Buffer, account: Address, operatorId: number): Buffer {
  if (nonce.length !== 32) throw new RangeError('a nonce has 32 octets')
  const words = `${LABEL}|${account}|${operatorId}|`
  return createHash('sha256').update(words).update(nonce).digest()
}

// COSE as far as evidence needs it: strict CBOR, COSE_Sign1 with ES256, and a COSE_Key on P-256.
// Pure. Refuses what two readers could read differently: indefinite lengths, longer integers than
// needed, a key twice in a map. Called by eat.ts; cborg does the decoding.

import type { KeyObject } from 'node:crypto'
import { decode, encode, Tagged } from 'cborg'
import { pointOf, signatureHolds } from './p256.ts'

/** A CBOR map whose keys are integers or text. */
export type CborMap = ReadonlyMap<unknown, unknown>

/** A COSE_Sign1 that is read, not yet checked. */
export interface Sign1 {
  /** From the protected header: -7 is ES256 (RFC 9053 §2.1). */
  readonly algorithm: unknown
  readonly keyId: Uint8Array | undefined
  readonly payload: Uint8Array
  readonly signature: Uint8Array
  /** The Sig_structure of RFC 9052 §4.4. */
  readonly signed: Uint8Array
}

export const ES256 = -7

const TAG_SIGN1 = 18
const TAG_CWT = 61

const HEADER = { algorithm: 1, critical: 2, keyId: 4 } as const
const COSE_KEY = { type: 1, curve: -1, x: -2, y: -3, d: -4 } as const

export const isMap = (value: unknown): value is CborMap => value instanceof Map
export const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array

/** A map may have keys of any type in CBOR: two equal byte strings would not be seen as one key. */
function hasPlainKeys(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(hasPlainKeys)
  if (value instanceof Tagged) return hasPlainKeys(value.value)
  if (!isMap(value)) return true
  return [...value].every(
    ([key, each]) => (typeof key === 'number' || typeof key === 'string') && hasPlainKeys(each),
  )
}

/** One CBOR item, nothing after it, in preferred serialization (RFC 8949 §4.1); else undefined. */
export function decodeStrict(octets: Uint8Array, tags: readonly number[] = []): unknown {
  try {
    const value: unknown = decode(octets, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      rejectDuplicateMapKeys: true,
      useMaps: true,
      tags: Tagged.preserve(...tags),
    })
    return hasPlainKeys(value) ? value : undefined
  } catch {
    // Not well-formed; or nested so deep that the stack has ended, which size alone can't exclude.
    return undefined
  }
}

const isTagged = (value: unknown, tag: number): value is Tagged =>
  value instanceof Tagged && value.tag === tag

/** RFC 9052 §4.2, tagged (RFC 9711 §3: the tag says what protects the claims), or a tagged CWT. */
export function readSign1(octets: Uint8Array): Sign1 | undefined {
  const outer = decodeStrict(octets, [TAG_SIGN1, TAG_CWT])
  // RFC 8392 §6: the CWT tag stands before a COSE tag, never alone.
  const message = isTagged(outer, TAG_CWT) ? outer.value : outer
  if (!isTagged(message, TAG_SIGN1)) return undefined
  const parts: unknown = message.value
  if (!Array.isArray(parts) || parts.length !== 4) return undefined
  const [head, unprotected, payload, signature]: readonly unknown[] = parts
  if (!isBytes(head) || !isMap(unprotected) || !isBytes(payload) || !isBytes(signature)) {
    return undefined
  }
  const header = decodeStrict(head)
  if (!isMap(header)) return undefined
  // RFC 9052 §3: a parameter stands in one of the two maps only. We know none that is critical.
  if ([...unprotected.keys()].some((label) => header.has(label))) return undefined
  if (header.has(HEADER.critical) || unprotected.has(HEADER.critical)) return undefined
  if (unprotected.has(HEADER.algorithm)) return undefined
  const keyId = header.get(HEADER.keyId) ?? unprotected.get(HEADER.keyId)
  if (keyId !== undefined && !isBytes(keyId)) return undefined
  return {
    algorithm: header.get(HEADER.algorithm),
    keyId,
    payload,
    signature,
    signed: encode(['Signature1', head, new Uint8Array(0), payload]),
  }
}

/** Whether this key signed the message, by ES256. */
export function sign1Holds(message: Sign1, key: KeyObject): boolean {
  return message.algorithm === ES256 && signatureHolds(key, message.signed, message.signature)
}

/** Of a COSE_Key (RFC 9053 §7.1.1); undefined for another curve, type or a private key. */
export function pointOfCoseKey(value: unknown): Buffer | undefined {
  if (!isMap(value) || value.has(COSE_KEY.d)) return undefined
  if (value.get(COSE_KEY.type) !== 2 || value.get(COSE_KEY.curve) !== 1) return undefined
  const [x, y] = [value.get(COSE_KEY.x), value.get(COSE_KEY.y)]
  return isBytes(x) && isBytes(y) ? pointOf(x, y) : undefined
}

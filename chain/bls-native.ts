// BLS12-381 by supranational's blst, some twenty times as fast as noble's, where its package is
// installed for this machine; else noble's. Owns that choice and the codings between the two. Loads
// an addon, so the pure rooms stay away. Called by the operator's thread for signatures and the
// benchmark.

import { createRequire } from 'node:module'
import { type BlsEngine, nobleBls } from './bls.ts'

const load = createRequire(import.meta.url)

/** What of @chainsafe/blst is used: its classes hold parsed points. */
interface Blst {
  readonly PublicKey: { fromBytes(bytes: Uint8Array, validate: boolean): BlstPoint }
  readonly Signature: { fromBytes(bytes: Uint8Array, validate: boolean): BlstPoint }
  readonly SecretKey: {
    fromBytes(bytes: Uint8Array): { sign(message: Uint8Array): BlstPoint }
  }
  aggregatePublicKeys(keys: BlstPoint[]): BlstPoint
  aggregateSignatures(signatures: BlstPoint[]): BlstPoint
  verify(message: Uint8Array, key: BlstPoint, signature: BlstPoint): boolean
}

/** A key or a signature. */
export interface BlstPoint {
  toBytes(compress: boolean): Uint8Array
}

/** A field element in EIP-2537 is 64 bytes, in blst 48: the first 16 are zero. */
const PADDED = 64
const PADDING = 16
const ELEMENT = PADDED - PADDING
/** blst keeps its flags (compressed, infinity, sign) where a canonical element has zeros. */
const FLAGS = 0xe0

/** The engine of blst, or undefined where its package is absent or does not load here. */
export function loadNativeBls(): BlsEngine<BlstPoint, BlstPoint> | undefined {
  try {
    return engineOf(load('@chainsafe/blst') as Blst)
  } catch {
    return undefined
  }
}

function engineOf(blst: Blst): BlsEngine<BlstPoint, BlstPoint> {
  return {
    name: 'blst',
    key(coding) {
      const bytes = unpadded(coding)
      // Zeros are no point of blst's coding, and infinity in that of EIP-2537 (D2).
      return bytes === undefined ? undefined : parsed(() => blst.PublicKey.fromBytes(bytes, true))
    },
    signature(compressed) {
      if (compressed.length !== 2 * ELEMENT) return undefined
      // The flag of the compressed form: without it the length would be that of half a point.
      if (((compressed[0] ?? 0) & 0x80) === 0) return undefined
      return parsed(() => blst.Signature.fromBytes(compressed, true))
    },
    sumKeys: (keys) => blst.aggregatePublicKeys(some(keys)),
    sumSignatures: (signatures) => blst.aggregateSignatures(some(signatures)),
    // D26: blst refuses a key at infinity itself; keys and signatures were checked when parsed.
    verify: (digest, key, signature) => blst.verify(digest, key, signature),
    sign: (digest, secretKey) =>
      Buffer.from(blst.SecretKey.fromBytes(secretKey).sign(digest).toBytes(true)),
    signatureCoding(signature) {
      const bytes = Buffer.from(signature.toBytes(false))
      // ZCash's coding has the imaginary part of an element of Fp2 first, EIP-2537 the real one.
      const [x1, x0, y1, y0] = [0, 1, 2, 3].map((i) =>
        Buffer.concat([Buffer.alloc(PADDING), bytes.subarray(i * ELEMENT, (i + 1) * ELEMENT)]),
      ) as [Buffer, Buffer, Buffer, Buffer]
      return Buffer.concat([x0, x1, y0, y1])
    },
  }
}

/** x and y of a G1 point, 48 bytes each; undefined where the coding is not of that form. */
function unpadded(coding: Uint8Array): Buffer | undefined {
  if (coding.length !== 2 * PADDED) return undefined
  const elements = [0, PADDED].map((at) => Buffer.from(coding.subarray(at, at + PADDED)))
  const isForm = elements.every(
    (element) =>
      element.subarray(0, PADDING).every((byte) => byte === 0) &&
      ((element[PADDING] ?? 0) & FLAGS) === 0,
  )
  return isForm ? Buffer.concat(elements.map((element) => element.subarray(PADDING))) : undefined
}

function parsed<Point>(parse: () => Point): Point | undefined {
  try {
    return parse()
  } catch {
    return undefined
  }
}

function some<Point>(points: readonly Point[]): Point[] {
  if (points.length === 0) throw new RangeError('nothing to add up')
  return [...points]
}

/** The engine in use: which one, its `name` says. */
export const blsEngine: BlsEngine<unknown, unknown> = chosen()

/** Points of one engine never meet another's: each caller parses with the one it has. */
function chosen(): BlsEngine<unknown, unknown> {
  return (loadNativeBls() ?? nobleBls) as BlsEngine<unknown, unknown>
}

// The structures of TPM 2.0 that an enrolment carries, from octets to values (TCG TPM 2.0 Library,
// Part 2): public areas, attestations, signatures. Takes only the algorithms that enrolment uses,
// every length checked and no octet left over; whatever else comes is undefined. Pure. Called by
// tpm-credential.ts and tpm.ts.

import { createHash } from 'node:crypto'

// Part 2 §6.3, table 9: the algorithms by their numbers.
const ALG_RSA = 0x0001
const ALG_AES = 0x0006
const ALG_NULL = 0x0010
const ALG_ECDSA = 0x0018
const ALG_ECC = 0x0023
const ALG_CFB = 0x0043
const HASHES: ReadonlyMap<number, TpmHash> = new Map([
  [0x000b, 'sha256'],
  [0x000c, 'sha384'],
])
// Part 2 §6.4, table 10.
const CURVES: ReadonlyMap<number, TpmCurve> = new Map([
  [0x0003, 'P-256'],
  [0x0004, 'P-384'],
])
// Part 2 §6.2, table 7: 0xff and "TCG" begin only what a TPM itself has made.
const TPM_GENERATED = 0xff544347
const ST_ATTEST_CERTIFY = 0x8017
const ST_ATTEST_QUOTE = 0x8018
// A PCR bank has 24 registers on every platform that is sold (PC Client Platform TPM Profile),
// and an implementation has at most a handful of banks.
const PCR_OCTETS_MAX = 4
const PCR_BANKS_MAX = 8
// TPM2B_NAME and TPM2B_DATA hold two octets and the longest digest, SHA-512's.
const NAME_OCTETS_MAX = 66

export type TpmHash = 'sha256' | 'sha384'
export type TpmCurve = 'P-256' | 'P-384'

/** Part 2 §8.3, TPMA_OBJECT. */
export const OBJECT = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const
// Besides these: stClear, firmwareLimited, svnLimited, noDA, encryptedDuplication, x509sign.
const OBJECT_OTHERS = (1 << 2) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 11) | (1 << 19)
const OBJECT_ALL = Object.values(OBJECT).reduce((all, bit) => all | bit, OBJECT_OTHERS)

/** A TPMT_PUBLIC (Part 2 §12.2.4). */
export interface TpmPublic {
  readonly nameAlg: TpmHash
  readonly attributes: number
  /** 0: none, the key neither wraps nor is a storage key. */
  readonly aesBits: 0 | 128 | 256
  /** Whether its scheme is ECDSA with SHA-256; otherwise it is bound to no scheme. */
  readonly isEcdsa: boolean
  readonly unique: RsaUnique | EccUnique
  /** nameAlg ‖ H(the public area): what attestations and credentials call it (Part 1 §16). */
  readonly name: Buffer
}

export interface RsaUnique {
  readonly type: 'rsa'
  readonly modulus: Buffer
  readonly exponent: number
}

export interface EccUnique {
  readonly type: 'ecc'
  readonly curve: TpmCurve
  /** Coordinates of the curve's full length. Nobody has looked whether the point is on it. */
  readonly x: Buffer
  readonly y: Buffer
}

/** A TPMS_ATTEST (Part 2 §10.12) of a key or of registers. */
export type TpmAttest = TpmCertify | TpmQuote

interface AttestHead {
  readonly qualifiedSigner: Buffer
  /** What the caller had the TPM put in: our challenge. */
  readonly extraData: Buffer
}

export interface TpmCertify extends AttestHead {
  readonly type: 'certify'
  readonly name: Buffer
  readonly qualifiedName: Buffer
}

export interface TpmQuote extends AttestHead {
  readonly type: 'quote'
  readonly selections: readonly { readonly hash: number; readonly registers: readonly number[] }[]
  readonly digest: Buffer
}

class Malformed extends Error {}

type Reader = ReturnType<typeof readerOf>

function readerOf(bytes: Buffer) {
  let at = 0
  const take = (octets: number): Buffer => {
    if (at + octets > bytes.length) throw new Malformed()
    at += octets
    return bytes.subarray(at - octets, at)
  }
  const u16 = () => take(2).readUInt16BE()
  return {
    take,
    u8: () => take(1).readUInt8(),
    u16,
    u32: () => take(4).readUInt32BE(),
    /** A TPM2B: its length in two octets, then that many. */
    sized(octetsMax: number): Buffer {
      const octets = u16()
      if (octets > octetsMax) throw new Malformed()
      return take(octets)
    },
    end(): void {
      if (at !== bytes.length) throw new Malformed()
    },
  }
}

/** What `read` makes of all the octets; undefined where they are not of that form. */
function whole<T>(bytes: Buffer, read: (reader: Reader) => T): T | undefined {
  try {
    const reader = readerOf(bytes)
    const value = read(reader)
    reader.end()
    return value
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

function known<T>(table: ReadonlyMap<number, T>, number: number): T {
  const value = table.get(number)
  if (value === undefined) throw new Malformed()
  return value
}

function must(is: boolean): void {
  if (!is) throw new Malformed()
}

/** TPMT_SYM_DEF_OBJECT: none, or AES in CFB mode, which the standard asks of storage keys. */
function symmetric(reader: Reader): 0 | 128 | 256 {
  const algorithm = reader.u16()
  if (algorithm === ALG_NULL) return 0
  must(algorithm === ALG_AES)
  const bits = reader.u16()
  must(reader.u16() === ALG_CFB)
  if (bits !== 128 && bits !== 256) throw new Malformed()
  return bits
}

/** A number of a TPM may come without its leading zeros. */
function coordinate(reader: Reader, octets: number): Buffer {
  const value = reader.sized(octets)
  return Buffer.concat([Buffer.alloc(octets - value.length), value])
}

const octetsOf = (curve: TpmCurve): number => (curve === 'P-256' ? 32 : 48)

function rsa(reader: Reader): Pick<TpmPublic, 'aesBits' | 'isEcdsa' | 'unique'> {
  const aesBits = symmetric(reader)
  must(reader.u16() === ALG_NULL)
  must(reader.u16() === 2048)
  // 0 stands for the usual one (Part 2 §12.2.3.5).
  const exponent = reader.u32() || 65_537
  const modulus = reader.sized(256)
  must(modulus.length === 256)
  return { aesBits, isEcdsa: false, unique: { type: 'rsa', modulus, exponent } }
}

function ecc(reader: Reader): Pick<TpmPublic, 'aesBits' | 'isEcdsa' | 'unique'> {
  const aesBits = symmetric(reader)
  const scheme = reader.u16()
  must(scheme === ALG_NULL || scheme === ALG_ECDSA)
  if (scheme === ALG_ECDSA) must(known(HASHES, reader.u16()) === 'sha256')
  const curve = known(CURVES, reader.u16())
  // No scheme for key derivation: nothing uses one (Part 2 §12.2.3.6).
  must(reader.u16() === ALG_NULL)
  const x = coordinate(reader, octetsOf(curve))
  const y = coordinate(reader, octetsOf(curve))
  return { aesBits, isEcdsa: scheme === ALG_ECDSA, unique: { type: 'ecc', curve, x, y } }
}

function publicArea(bytes: Buffer): TpmPublic | undefined {
  return whole(bytes, (reader) => {
    const type = reader.u16()
    must(type === ALG_RSA || type === ALG_ECC)
    const hashNumber = reader.take(2)
    const nameAlg = known(HASHES, hashNumber.readUInt16BE())
    const attributes = reader.u32()
    must((attributes & ~OBJECT_ALL) === 0)
    const policy = reader.sized(48)
    must(policy.length === 0 || policy.length === (nameAlg === 'sha256' ? 32 : 48))
    const rest = type === ALG_RSA ? rsa(reader) : ecc(reader)
    const name = Buffer.concat([hashNumber, createHash(nameAlg).update(bytes).digest()])
    return { nameAlg, attributes, ...rest, name }
  })
}

/**
 * A TPM2B_PUBLIC: the public area with its length in front, as `tpm2_create -u` and
 * `tpm2_createak -f tss -u` write it.
 */
export function readTpm2bPublic(bytes: Buffer): TpmPublic | undefined {
  const area = whole(bytes, (reader) => reader.sized(bytes.length))
  return area === undefined ? undefined : publicArea(area)
}

function selections(reader: Reader): TpmQuote['selections'] {
  const banks = reader.u32()
  must(banks <= PCR_BANKS_MAX)
  return Array.from({ length: banks }, () => {
    const hash = reader.u16()
    const octets = reader.u8()
    must(octets <= PCR_OCTETS_MAX)
    const bits = reader.take(octets)
    const all = Array.from({ length: octets * 8 }, (_, register) => register)
    return { hash, registers: all.filter((n) => ((bits[n >> 3] ?? 0) >> (n & 7)) & 1) }
  })
}

/**
 * A TPMS_ATTEST without a length in front, as `tpm2_quote -m` and `tpm2_certify -o` write it.
 * Undefined also where it does not begin with TPM_GENERATED, or is about something else.
 */
export function readAttest(bytes: Buffer): TpmAttest | undefined {
  return whole(bytes, (reader): TpmAttest => {
    must(reader.u32() === TPM_GENERATED)
    const type = reader.u16()
    const qualifiedSigner = reader.sized(NAME_OCTETS_MAX)
    const extraData = reader.sized(NAME_OCTETS_MAX)
    // clockInfo: clock, resetCount, restartCount, safe (§10.11.1); then the firmware's version.
    reader.take(8 + 4 + 4)
    must(reader.u8() <= 1)
    reader.take(8)
    const head = { qualifiedSigner, extraData }
    if (type === ST_ATTEST_CERTIFY) {
      const name = reader.sized(NAME_OCTETS_MAX)
      return { type: 'certify', ...head, name, qualifiedName: reader.sized(NAME_OCTETS_MAX) }
    }
    must(type === ST_ATTEST_QUOTE)
    return { type: 'quote', ...head, selections: selections(reader), digest: reader.sized(64) }
  })
}

/**
 * r ‖ s of a TPMT_SIGNATURE (Part 2 §11.3.4) that is ECDSA on P-256 with SHA-256, 64 octets; it is
 * what the tools' `-f tss` writes.
 */
export function readEcdsaSignature(bytes: Buffer): Buffer | undefined {
  return whole(bytes, (reader) => {
    must(reader.u16() === ALG_ECDSA)
    must(known(HASHES, reader.u16()) === 'sha256')
    return Buffer.concat([coordinate(reader, 32), coordinate(reader, 32)])
  })
}

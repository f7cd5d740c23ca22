// Values of the data types of RFC 8044, to and from octets. Types that hold other attributes (tlv,
// vsa, extended, evs) are attributes.ts's. A value that does not fit its type is undefined when
// read, which makes an "invalid attribute" (RFC 6929 §2.8), and a RadiusError when written.

import { RadiusError } from './error.ts'
import {
  formatIpv4,
  formatIpv6,
  hostBitsZero,
  parseIpv4,
  parseIpv6,
  parsePrefix,
} from './ip-text.ts'

/** Data types by the names FreeRADIUS dictionaries give them. */
export type DataType =
  | 'integer'
  | 'integer64'
  | 'signed'
  | 'byte'
  | 'short'
  | 'date'
  | 'string'
  | 'octets'
  | 'abinary'
  | 'ipaddr'
  | 'ipv4prefix'
  | 'ipv6addr'
  | 'ipv6prefix'
  | 'combo-ip'
  | 'ifid'
  | 'ether'
  | 'tlv'
  | 'vsa'
  | 'evs'
  | 'extended'
  | 'long-extended'

/**
 * A value in the program: numbers for integers up to 32 bits and dates (Unix seconds), bigint for
 * integer64, text for strings and addresses, a buffer for octets. A string that is not UTF-8 stays
 * a buffer, so that nothing is lost.
 */
export type Value = number | bigint | string | Buffer

interface Codec {
  readonly decode: (octets: Buffer) => Value | undefined
  /** undefined where the value does not fit the type. */
  readonly encode: (value: Value) => Buffer | undefined
}

function unsigned(length: 1 | 2 | 4): Codec {
  const limit = 2 ** (8 * length)
  return {
    decode: (octets) => (octets.length === length ? octets.readUIntBE(0, length) : undefined),
    encode: (value) => {
      if (typeof value !== 'number' || !Number.isInteger(value)) return undefined
      if (value < 0 || value >= limit) return undefined
      const octets = Buffer.alloc(length)
      octets.writeUIntBE(value, 0, length)
      return octets
    },
  }
}

const signed: Codec = {
  decode: (octets) => (octets.length === 4 ? octets.readInt32BE(0) : undefined),
  encode: (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value)) return undefined
    if (value < -(2 ** 31) || value >= 2 ** 31) return undefined
    const octets = Buffer.alloc(4)
    octets.writeInt32BE(value)
    return octets
  },
}

const integer64: Codec = {
  decode: (octets) => (octets.length === 8 ? octets.readBigUInt64BE(0) : undefined),
  encode: (value) => {
    if (typeof value !== 'bigint' || value < 0n || value >= 1n << 64n) return undefined
    const octets = Buffer.alloc(8)
    octets.writeBigUInt64BE(value)
    return octets
  },
}

const text: Codec = {
  decode: (octets) => {
    const decoded = octets.toString('utf8')
    return Buffer.from(decoded, 'utf8').equals(octets) ? decoded : octets
  },
  encode: (value) => {
    if (typeof value === 'string') return Buffer.from(value, 'utf8')
    return Buffer.isBuffer(value) ? value : undefined
  },
}

const octets: Codec = {
  decode: (value) => value,
  encode: (value) => (Buffer.isBuffer(value) ? value : undefined),
}

/** Types written as text and held in a fixed number of octets. */
function spelled(
  length: number,
  format: (octets: Buffer) => string,
  parse: (text: string) => Buffer | undefined,
): Codec {
  return {
    decode: (value) => (value.length === length ? format(value) : undefined),
    encode: (value) => (typeof value === 'string' ? parse(value) : undefined),
  }
}

const ipv4 = spelled(4, formatIpv4, parseIpv4)
const ipv6 = spelled(16, formatIpv6, parseIpv6)

const comboIp: Codec = {
  decode: (value) => ipv4.decode(value) ?? ipv6.decode(value),
  encode: (value) => ipv4.encode(value) ?? ipv6.encode(value),
}

/** RFC 8044 §3.11: reserved octet, prefix length, then always four octets. */
const ipv4prefix: Codec = {
  decode: (value) => {
    if (value.length !== 6) return undefined
    // Only the lower 6 bits of the second octet hold the length.
    const bits = value.readUInt8(1) & 0x3f
    const address = value.subarray(2)
    if (bits > 32 || !hostBitsZero(address, bits)) return undefined
    return `${formatIpv4(address)}/${bits}`
  },
  encode: (value) => {
    const prefix = typeof value === 'string' ? parsePrefix(value, parseIpv4) : undefined
    return prefix && Buffer.concat([Buffer.from([0, prefix.bits]), prefix.octets])
  },
}

/** RFC 3162 §2.3, 8044 §3.10: reserved octet, prefix length, then as many octets as are needed. */
const ipv6prefix: Codec = {
  decode: (value) => {
    if (value.length < 2 || value.length > 18) return undefined
    const bits = value.readUInt8(1)
    if (bits > 128 || bits > 8 * (value.length - 2)) return undefined
    const address = Buffer.alloc(16)
    address.set(value.subarray(2))
    return hostBitsZero(address, bits) ? `${formatIpv6(address)}/${bits}` : undefined
  },
  encode: (value) => {
    const prefix = typeof value === 'string' ? parsePrefix(value, parseIpv6) : undefined
    if (prefix === undefined) return undefined
    const address = prefix.octets.subarray(0, Math.ceil(prefix.bits / 8))
    return Buffer.concat([Buffer.from([0, prefix.bits]), address])
  },
}

const ifid = spelled(
  8,
  (value) => value.toString('hex').replace(/(.{4})(?!$)/g, '$1:'),
  (value) => {
    const groups = value.split(':')
    if (groups.length !== 4 || groups.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) {
      return undefined
    }
    return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
  },
)

const ether = spelled(
  6,
  (value) => value.toString('hex').replace(/(.{2})(?!$)/g, '$1:'),
  (value) => {
    if (!/^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/.test(value)) return undefined
    return Buffer.from(value.replace(/[:-]/g, ''), 'hex')
  },
)

const codecs: Readonly<Record<DataType, Codec>> = {
  integer: unsigned(4),
  short: unsigned(2),
  byte: unsigned(1),
  date: unsigned(4),
  signed,
  integer64,
  string: text,
  octets,
  abinary: octets,
  ipaddr: ipv4,
  ipv4prefix,
  ipv6addr: ipv6,
  ipv6prefix,
  'combo-ip': comboIp,
  ifid,
  ether,
  tlv: octets,
  vsa: octets,
  evs: octets,
  extended: octets,
  'long-extended': octets,
}

/** The value of these octets; undefined where they are no value of the type. */
export function decodeValue(type: DataType, value: Buffer): Value | undefined {
  return codecs[type].decode(value)
}

/** The octets of a value. Throws RadiusError `value-malformed` where it does not fit the type. */
export function encodeValue(type: DataType, value: Value): Buffer {
  const encoded = codecs[type].encode(value)
  if (encoded === undefined) throw new RadiusError('value-malformed', `no ${type}`)
  return encoded
}

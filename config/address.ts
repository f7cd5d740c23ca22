// IP addresses and networks as integers, so a packet's source is matched without string tricks.
// IPv4-mapped IPv6 (::ffff:a.b.c.d, what a dual-stack socket reports) is IPv4 here. Pure.

/** An IP address: its family and its value as one integer. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

/** A network; a single address has prefix 32 (IPv4) or 128 (IPv6). Host bits are always zero. */
export interface Cidr {
  readonly family: 4 | 6
  readonly network: bigint
  readonly prefix: number
  /** As the operator wrote it, for logs and lists. */
  readonly text: string
}

const MAPPED_PREFIX = 0xffffn
const BITS = { 4: 32, 6: 128 } as const

function parseIpv4(text: string): bigint | undefined {
  const octets = text.split('.')
  if (octets.length !== 4) return undefined
  let value = 0n
  for (const octet of octets) {
    // No leading zeros: 010 is 8 to some readers and 10 to others.
    if (!/^(0|[1-9][0-9]{0,2})$/.test(octet) || Number(octet) > 255) return undefined
    value = (value << 8n) | BigInt(octet)
  }
  return value
}

/** The 16-bit groups of one side of `::`; dotted IPv4 at the end of the address counts as two. */
function groupsOf(text: string, endsAddress: boolean): bigint[] | undefined {
  if (text === '') return []
  const groups: bigint[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(BigInt(`0x${part}`))
      continue
    }
    const last = endsAddress && index === parts.length - 1
    const tail = last ? parseIpv4(part) : undefined
    if (tail === undefined) return undefined
    groups.push(tail >> 16n, tail & 0xffffn)
  }
  return groups
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = groupsOf(halves[0] ?? '', halves.length === 1)
  const tail = groupsOf(halves[1] ?? '', true)
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  // RFC 4291 §2.2: `::` stands for one or more groups; without it all eight are written.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...tail]
  return groups.reduce((value, group) => (value << 16n) | group, 0n)
}

/** An address as a socket reports it (a `%zone` is ignored); undefined where the text is none. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const ipv4 = parseIpv4(text)
  if (ipv4 !== undefined) return { family: 4, value: ipv4 }
  const zone = text.indexOf('%')
  const ipv6 = parseIpv6(zone === -1 ? text : text.slice(0, zone))
  if (ipv6 === undefined) return undefined
  if (ipv6 >> 32n === MAPPED_PREFIX) return { family: 4, value: ipv6 & 0xffffffffn }
  return { family: 6, value: ipv6 }
}

/** The network part of an address value: everything below the prefix cleared. */
export function networkOf(family: 4 | 6, value: bigint, prefix: number): bigint {
  const hostBits = BigInt(BITS[family] - prefix)
  return (value >> hostBits) << hostBits
}

/** Reads `192.0.2.10`, `192.0.2.0/24`, `2001:db8::/32`; the string returned says what is wrong. */
export function parseCidr(text: string): Cidr | string {
  const [addressText = '', prefixText, ...rest] = text.split('/')
  const address = addressText.includes('%') ? undefined : parseIpAddress(addressText)
  if (address === undefined || rest.length > 0) {
    return 'must be an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32'
  }
  const bits = BITS[address.family]
  if (prefixText === undefined) {
    return { family: address.family, network: address.value, prefix: bits, text }
  }
  const mappedBits = address.family === 4 && addressText.includes(':') ? 96 : 0
  const prefix = /^[0-9]{1,3}$/.test(prefixText) ? Number(prefixText) - mappedBits : -1
  if (prefix < 0 || prefix > bits) {
    return `must have a prefix length of ${mappedBits} to ${bits + mappedBits}`
  }
  const network = networkOf(address.family, address.value, prefix)
  if (network !== address.value) {
    return `has address bits after the prefix: write ${addressText} alone for one address`
  }
  return { family: address.family, network, prefix, text }
}

/** Whether every address of the network is this machine (127.0.0.0/8 or ::1). */
export function isLoopback(cidr: Cidr): boolean {
  if (cidr.family === 6) return cidr.prefix === 128 && cidr.network === 1n
  return cidr.prefix >= 8 && cidr.network >> 24n === 127n
}

/** One spelling per network, so `::1`, `0::1` and `::1/128` are seen to be the same. */
export function cidrKey(cidr: Cidr): string {
  return `${cidr.family}/${cidr.prefix}/${cidr.network}`
}

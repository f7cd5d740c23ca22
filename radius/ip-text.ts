// IP addresses, prefixes and other fixed octets as people write them. Reading refuses everything
// but the usual spelling (no leading zeros, no zone); writing gives RFC 5952's. Used by
// data-type.ts.

/** Four octets of `192.0.2.1`; undefined where the text is nothing of the kind. */
export function parseIpv4(text: string): Buffer | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const octets = Buffer.alloc(4)
  for (const [i, part] of parts.entries()) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined
    octets[i] = Number(part)
  }
  return octets
}

/** `192.0.2.1` of four octets. */
export function formatIpv4(octets: Buffer): string {
  return octets.join('.')
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    const ipv4 = i === parts.length - 1 && part.includes('.') ? parseIpv4(part) : undefined
    if (ipv4 !== undefined) groups.push(ipv4.readUInt16BE(0), ipv4.readUInt16BE(2))
    else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16))
    else return undefined
  }
  return groups
}

/** Sixteen octets of an IPv6 address in any RFC 4291 §2.2 spelling without zone. */
export function parseIpv6(text: string): Buffer | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  // A dotted quad may only end the address, so never the half before `::`.
  if (halves.length === 2 && halves[0]?.includes('.')) return undefined
  const head = parseGroups(halves[0] ?? '')
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '') : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const octets = Buffer.alloc(16)
  for (const [i, group] of head.entries()) octets.writeUInt16BE(group, 2 * i)
  for (const [i, group] of tail.entries()) octets.writeUInt16BE(group, 2 * (8 - tail.length + i))
  return octets
}

/**
 * The RFC 5952 spelling of sixteen octets: lower case, the longest run of two or more zeros cut.
 */
export function formatIpv6(octets: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => octets.readUInt16BE(2 * i))
  let start = -1
  let longest = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (groups[i + run] === 0) run++
    if (run > longest) {
      start = i
      longest = run
    }
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':')
  if (start === -1) return hex(groups)
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + longest))}`
}

/**
 * Address octets and prefix length of `2001:db8::/32`; undefined where bits stand outside of it.
 */
export function parsePrefix(
  text: string,
  parseAddress: (text: string) => Buffer | undefined,
): { readonly octets: Buffer; readonly bits: number } | undefined {
  const slash = text.lastIndexOf('/')
  const length = text.slice(slash + 1)
  const octets = slash === -1 ? undefined : parseAddress(text.slice(0, slash))
  if (octets === undefined || !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined
  const bits = Number(length)
  return bits <= octets.length * 8 && hostBitsZero(octets, bits) ? { octets, bits } : undefined
}

/** Whether all bits behind the first `bits` are zero. */
export function hostBitsZero(octets: Buffer, bits: number): boolean {
  for (const [i, octet] of octets.entries()) {
    const inside = Math.min(8, Math.max(0, bits - 8 * i))
    if ((octet & (0xff >> inside)) !== 0) return false
  }
  return true
}

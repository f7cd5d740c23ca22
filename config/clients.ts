// Which NAS entry a packet's source address belongs to: asked once for every datagram, before
// anything in it is believed (RFC 2865 §3: the shared secret is chosen by the source address).
// Tables are built once per configuration and never grow, whatever strangers send.

import { type Cidr, networkOf, parseIpAddress } from './address.ts'

interface PrefixTable<Entry> {
  readonly prefix: number
  readonly entries: ReadonlyMap<bigint, Entry>
}

function tablesOf<Entry extends { readonly ipaddr: Cidr }>(
  entries: readonly Entry[],
  family: 4 | 6,
): PrefixTable<Entry>[] {
  const byPrefix = new Map<number, Map<bigint, Entry>>()
  for (const entry of entries) {
    if (entry.ipaddr.family !== family) continue
    const table = byPrefix.get(entry.ipaddr.prefix) ?? new Map<bigint, Entry>()
    byPrefix.set(entry.ipaddr.prefix, table.set(entry.ipaddr.network, entry))
  }
  const tables = [...byPrefix].map(([prefix, table]) => ({ prefix, entries: table }))
  return tables.sort((a, b) => b.prefix - a.prefix)
}

/**
 * A lookup over the entries of one configuration: a source address as the socket reports it -> the
 * entry with the longest matching prefix, or undefined for a stranger. IPv4-mapped IPv6 counts as
 * IPv4.
 */
export function nasLookup<Entry extends { readonly ipaddr: Cidr }>(
  entries: readonly Entry[],
): (address: string) => Entry | undefined {
  const tables = { 4: tablesOf(entries, 4), 6: tablesOf(entries, 6) }
  // Single addresses are the common case and are found by their text, without parsing.
  const exact = new Map<string, Entry>()
  for (const entry of entries) {
    const { family, prefix, text } = entry.ipaddr
    if (prefix === (family === 4 ? 32 : 128) && !text.includes('/')) exact.set(text, entry)
  }
  return (address) => {
    const known = exact.get(address)
    if (known !== undefined) return known
    const parsed = parseIpAddress(address)
    if (parsed === undefined) return undefined
    for (const { prefix, entries } of tables[parsed.family]) {
      const found = entries.get(networkOf(parsed.family, parsed.value, prefix))
      if (found !== undefined) return found
    }
    return undefined
  }
}

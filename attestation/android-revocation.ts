// Google's list of Android certificates that no longer count: read from its JSON, asked by serial
// number. Pure: server/ fetches https://android.googleapis.com/attestation/status and keeps it
// with the time of the fetch. Refuses a list that is too old to be believed, or from the future.
// android-key.ts calls it.

import { refused } from './evidence.ts'
import type { Refused } from './verifier.ts'
import type { Certificate } from './x509-chain.ts'

export interface RevocationList {
  /** Serial number as the list writes it, lowercase, to its status, such as REVOKED. */
  readonly statusBySerial: ReadonlyMap<string, string>
  /** When it was fetched, Unix seconds. */
  readonly fetchedAtSeconds: number
}

// The list of 2026 has some 2,000 entries.
const ENTRIES_MAX = 200_000
// The clock that stamped the fetch may be ahead of ours by this much.
const SKEW_SECONDS = 300

/** The parsed JSON of the status list; undefined where it is not one. */
export function readRevocationList(
  json: unknown,
  fetchedAtSeconds: number,
): RevocationList | undefined {
  if (typeof json !== 'object' || json === null || !('entries' in json)) return undefined
  if (typeof json.entries !== 'object' || json.entries === null) return undefined
  const entries = Object.entries(json.entries)
  if (entries.length > ENTRIES_MAX) return undefined
  const statusBySerial = new Map<string, string>()
  for (const [serial, entry] of entries) {
    const status: unknown = entry?.status
    if (!/^[0-9a-fA-F]{1,64}$/.test(serial) || typeof status !== 'string') return undefined
    statusBySerial.set(serial.toLowerCase(), status.slice(0, 32))
  }
  return { statusBySerial, fetchedAtSeconds }
}

/** The reason why one of these certificates does not count, or why nobody can say. */
export function checkRevocation(
  chain: readonly Certificate[],
  list: RevocationList,
  ageMaxSeconds: number,
  nowSeconds: number,
): Refused | undefined {
  const ageSeconds = nowSeconds - list.fetchedAtSeconds
  if (!(ageSeconds <= ageMaxSeconds && ageSeconds >= -SKEW_SECONDS)) {
    return refused('revocation-stale', `the list of revoked certificates is ${ageSeconds} s old`)
  }
  for (const { x509 } of chain) {
    // The list writes serials in hexadecimal without leading zeros; its oldest are in decimal. A
    // listed certificate is REVOKED or SUSPENDED, and neither counts.
    const number = BigInt(`0x${x509.serialNumber}`)
    for (const serial of [number.toString(16), number.toString(10)]) {
      const status = list.statusBySerial.get(serial)
      if (status !== undefined) return refused('revoked', `certificate ${serial}: ${status}`)
    }
  }
  return undefined
}

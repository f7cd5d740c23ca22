// Token buckets by name (an address, an account): who comes too often waits. Owns their tables,
// bounded by dropping who came least recently. Pure but for its tables: the clock is an argument.
// Called by payments.ts, http-payments.ts and activity-desk.ts.

export interface BucketOptions {
  /** How much may come at once. */
  readonly burst: number
  readonly perSecond: number
  /** Names remembered, some 150 bytes each; who is forgotten begins with a full bucket. */
  readonly entriesMax: number
}

export interface Buckets {
  /**
   * Takes `cost` and returns 0, or takes nothing and returns the whole seconds to wait. A cost
   * above the burst is never granted.
   */
  take(name: string, cost: number, nowMs: number): number
  /** Whole seconds to wait for `cost`, 0 where it could be taken now. */
  wait(name: string, cost: number, nowMs: number): number
}

interface Bucket {
  tokens: number
  atMs: number
}

export function createBuckets({ burst, perSecond, entriesMax }: BucketOptions): Buckets {
  const buckets = new Map<string, Bucket>()
  const tokensOf = (name: string, nowMs: number): number => {
    const bucket = buckets.get(name)
    if (bucket === undefined) return burst
    // A clock set back must not make anybody wait for the old time.
    const elapsedMs = Math.max(0, nowMs - bucket.atMs)
    return Math.min(burst, bucket.tokens + (elapsedMs * perSecond) / 1_000)
  }
  const secondsFor = (missing: number): number => Math.max(1, Math.ceil(missing / perSecond))
  return {
    take(name, cost, nowMs) {
      const tokens = tokensOf(name, nowMs)
      if (tokens < cost) return secondsFor(cost - tokens)
      buckets.delete(name)
      buckets.set(name, { tokens: tokens - cost, atMs: nowMs })
      if (buckets.size > entriesMax) {
        const [oldest] = buckets.keys()
        if (oldest !== undefined) buckets.delete(oldest)
      }
      return 0
    },
    wait(name, cost, nowMs) {
      const tokens = tokensOf(name, nowMs)
      return tokens < cost ? secondsFor(cost - tokens) : 0
    },
  }
}

/**
 * Who an IP address is for a limit: an IPv4 address alone, the /64 of an IPv6 one, since that much
 * is handed to a single household.
 */
export function limitName(ip: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)
  if (mapped !== null) return mapped[1] ?? ip
  if (!ip.includes(':')) return ip
  const [head = '', tail] = ip.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':')
    while (groups.length + rest.length < 8) groups.push('0')
    groups.push(...rest)
  }
  return groups.slice(0, 4).join(':').toLowerCase()
}

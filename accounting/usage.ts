// The octets a NAS reports, folded into 64-bit counters that never go down: wraps, Gigawords that
// come and go, resets, zeros, records out of order, and volume that can't have passed. Owns no
// session and judges nothing. Pure; called by ledger-usage.ts.

/** One direction's volume: what the NAS said last, and what that adds up to. */
export interface Counter {
  /** The last value taken from the NAS, unwrapped: with its Gigawords, or the wraps found here. */
  readonly raw: bigint
  /** Octets since the session began; monotonic. */
  readonly total: bigint
  /** The NAS has sent Gigawords: a raw value has 64 bits, and 32 do not wrap. */
  readonly wide: boolean
}

/** A counter nothing was reported for yet. */
export const zeroCounter: Counter = { raw: 0n, total: 0n, wide: false }

/** Counts on from where a NAS's counter stands. */
export const baseline = ({ raw, wide }: Counter): Counter => ({ raw, total: 0n, wide })

/** One record's word on both directions; undefined where the NAS left one out. */
export interface Reported {
  readonly inputOctets: bigint | undefined
  readonly outputOctets: bigint | undefined
  /** Gigawords came with them. */
  readonly wide: boolean
  /** The record tells of an earlier moment than one that was counted already. */
  readonly older: boolean
}

/** The counters after a record, and what it claimed beyond what can have passed. */
export interface Folded {
  readonly input: Counter
  readonly output: Counter
  /** Octets claimed and not counted; 0n in an honest report. */
  readonly clamped: bigint
}

const WRAP = 1n << 32n
const LOW = WRAP - 1n
/**
 * A 32-bit counter that went down by more than half its range has wrapped, else it was reset: the
 * rule of sequence numbers, since a reset taken for a wrap would charge gigabytes nobody moved.
 */
const WRAP_STEP_MAX = WRAP / 2n

/** Where a counter stands after one value: its new raw value and the octets that adds. */
function step(
  before: Counter,
  value: bigint,
  report: Reported,
  room: bigint,
): { readonly raw: bigint; readonly added: bigint } {
  const same = { raw: before.raw, added: 0n }
  // A Stop full of zeros, or without counters at all, must not make finished traffic free.
  if (value === 0n) return same
  if (value >= WRAP || report.wide) {
    if (value >= before.raw) return { raw: value, added: value - before.raw }
    return report.older ? same : { raw: value, added: value }
  }
  // 32 bits without Gigawords: the high part is what it was before.
  const unwrapped = (before.raw & ~LOW) | value
  if (unwrapped >= before.raw) return { raw: unwrapped, added: unwrapped - before.raw }
  if (report.older) return same
  const wrapped = unwrapped + WRAP - before.raw
  if (!before.wide && wrapped <= WRAP_STEP_MAX && wrapped <= room) {
    return { raw: before.raw + wrapped, added: wrapped }
  }
  return { raw: value, added: value }
}

/**
 * Folds one record. `room`: octets, both ways, that the NAS can have carried for this session
 * beyond what is counted; what goes above it is never counted, also not later.
 */
export function foldUsage(
  before: { readonly input: Counter; readonly output: Counter },
  report: Reported,
  room: bigint,
): Folded {
  let left = room > 0n ? room : 0n
  let clamped = 0n
  const fold = (counter: Counter, value: bigint | undefined): Counter => {
    if (value === undefined) return counter
    const { raw, added } = step(counter, value, report, left)
    const counted = added > left ? left : added
    left -= counted
    clamped += added - counted
    const wide = counter.wide || report.wide
    if (raw === counter.raw && counted === 0n && wide === counter.wide) return counter
    return { raw, total: counter.total + counted, wide }
  }
  const input = fold(before.input, report.inputOctets)
  const output = fold(before.output, report.outputOctets)
  return { input, output, clamped }
}

/**
 * The most octets, both ways, a NAS can have carried in so many ms; a second more for its clock.
 */
export function octetsPossible(octetsPerSecondMax: bigint, ms: number): bigint {
  return octetsPerSecondMax * BigInt(Math.ceil(Math.max(0, ms) / 1000) + 1)
}

/**
 * Beyond this much difference (5 % + 1 MB) two meters disagree. A NAS with no figure counts nothing
 * (hostapd on a wired port: RFC 2866 §5.3 leaves it the attributes), which is no other figure.
 */
export function disagrees(counted: bigint, other: bigint): boolean {
  if (counted === 0n) return false
  const difference = counted > other ? counted - other : other - counted
  const smaller = counted > other ? other : counted
  return difference > smaller / 20n + 1_000_000n
}

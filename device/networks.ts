// Which network to join: the operator's published access points against what a scan hears, by price
// and reliability, with hysteresis so that a device does not flap between two alike. Pure; called
// by run.ts, which tells wpa_supplicant.

import { readTerms } from './session-view.ts'

/** One access point of GET /v1/access-points. */
export interface AccessPoint {
  /** Whose it is. */
  readonly operatorId: number
  readonly ssid: string
  /** Lowercase, with colons; empty: any of this SSID. */
  readonly bssids: readonly string[]
  /** Token base units; a flat price with its part of a window. */
  readonly perMinute: number
  readonly perMegabyte: number
  /** 0 … 1: the part of intervals and sessions that went well; 1 where nothing is known. */
  readonly reliability: number
}

/** One network a scan heard. */
export interface Heard {
  readonly bssid: string
  readonly ssid: string
  /** dBm. */
  readonly signal: number
}

/** A network worth joining. */
export interface Choice extends Heard {
  readonly operatorId: number
  /** What a megabyte costs in the end; lower is better. */
  readonly cost: number
}

/** A device at work moves some 10 MB a minute: what brings both prices to one number. */
const MEGABYTES_A_MINUTE = 10
/** Below this a network is heard, but carries nothing worth paying for. */
const SIGNAL_MIN_DBM = -82
/** Another network must be a fifth cheaper (price over reliability) to leave a good one for it. */
const BETTER_BY = 0.8
/** The whole list of one operator around a place; more is no honest answer. */
const ACCESS_POINTS_MAX = 10_000

/** Reads GET /v1/access-points; entries this version does not understand are left out. */
export function readAccessPoints(body: unknown, operatorId: number): AccessPoint[] {
  const list = (body as { accessPoints?: unknown } | null)?.accessPoints
  if (!Array.isArray(list)) return []
  return list.slice(0, ACCESS_POINTS_MAX).flatMap((entry) => {
    try {
      return [{ operatorId, ...readAccessPoint(entry) }]
    } catch {
      return []
    }
  })
}

function readAccessPoint(entry: unknown): Omit<AccessPoint, 'operatorId'> {
  const { ssid, bssids, prices, reliability } = entry as Record<string, unknown>
  if (typeof ssid !== 'string' || Buffer.byteLength(ssid) > 32) throw new TypeError('ssid')
  const list = Array.isArray(bssids) ? bssids : []
  const { perMinute, perMegabyte, flat } = readTerms(prices)
  const flatPerMinute = flat === undefined ? 0 : (Number(flat.price) * 60_000) / flat.windowMs
  const known = typeof reliability === 'number' && reliability >= 0 && reliability <= 1
  return {
    ssid,
    bssids: list.filter((one) => typeof one === 'string').map((one) => spelt(one)),
    perMinute: Number(perMinute) + flatPerMinute,
    perMegabyte: Number(perMegabyte),
    reliability: known ? reliability : 1,
  }
}

const spelt = (bssid: string): string => bssid.toLowerCase().replaceAll('-', ':')

/** The known networks a scan heard, best first, without those to avoid. */
export function ranked(
  known: readonly AccessPoint[],
  heard: readonly Heard[],
  avoid: ReadonlySet<string>,
): Choice[] {
  const choices = heard.flatMap((network): Choice[] => {
    if (network.signal < SIGNAL_MIN_DBM || avoid.has(network.bssid)) return []
    const point = known.find(
      ({ ssid, bssids }) =>
        ssid === network.ssid && (bssids.length === 0 || bssids.includes(network.bssid)),
    )
    if (point === undefined) return []
    return [{ ...network, operatorId: point.operatorId, cost: costOf(point) }]
  })
  return choices.sort((a, b) => a.cost - b.cost || b.signal - a.signal)
}

/** An unreliable network costs what is paid for nothing, too. */
function costOf({ perMinute, perMegabyte, reliability }: AccessPoint): number {
  const price = perMinute / MEGABYTES_A_MINUTE + perMegabyte
  return price / Math.max(reliability, 0.01)
}

/**
 * Where to go from `current`: a clearly better network, or undefined to stay. From a network whose
 * price nobody published there is nothing to compare: it may be the person's own.
 */
export function betterThan(current: string, choices: readonly Choice[]): Choice | undefined {
  const [best] = choices
  const here = choices.find(({ bssid }) => bssid === current)
  if (best === undefined || here === undefined) return undefined
  return best.cost < here.cost * BETTER_BY ? best : undefined
}

/** Lines of wpa_supplicant's scan_results: bssid, frequency, signal, flags, SSID, by tabs. */
export function readScan(text: string): Heard[] {
  return text.split('\n').flatMap((line): Heard[] => {
    const [bssid = '', , signal = '', flags = '', ssid] = line.split('\t')
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(bssid) || ssid === undefined) return []
    // Only networks that ask for EAP can be joined with a certificate.
    return flags.includes('EAP') ? [{ bssid, ssid, signal: Number(signal) }] : []
  })
}

// GET /v1/access-points: where this operator's networks are, what they cost and how well they
// served, for devices and maps. Only client entries with an SSID are shown: the others are nobody's
// business. Called by http.ts.

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { NasHistory, Storage } from '../accounting/storage.ts'
import type { NasEntry } from '../config/config.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { HttpError } from './http-error.ts'
import type { Runtime } from './runtime.ts'
import { termsJson } from './session-json.ts'

export interface AccessPointsDeps {
  readonly runtime: () => Runtime
  readonly storage: Pick<Storage, 'histories'>
  /** Who earns where a client entry names nobody. */
  readonly operatorAccount: Address
  readonly now: () => number
}

/** What counts is how it served lately. */
const HISTORY_MS = 30 * 86_400_000
/** The sum over a month of sessions is worth some 10 ms of the database. */
const HISTORY_FRESH_MS = 600_000
/** So that one bad session among the first few does not condemn a network. */
const ASSUMED_GOOD = 5
const EARTH_RADIUS_METRES = 6_371_000
const RADIUS_METRES = 5_000

const degrees = (most: number) => z.coerce.number().min(-most).max(most).optional()
const Query = z
  .strictObject({
    lat: degrees(90),
    lon: degrees(180),
    radius: z.coerce.number().positive().max(20_100_000).optional(),
  })
  .refine(({ lat, lon }) => (lat === undefined) === (lon === undefined))
  .refine(({ lat, radius }) => lat !== undefined || radius === undefined)

/** Registers the route. */
export function accessPointRoutes(routes: FastifyInstance, deps: AccessPointsDeps): void {
  let known: { readonly atMs: number; readonly histories: Promise<readonly NasHistory[]> }
  const histories = async (): Promise<readonly NasHistory[]> => {
    const nowMs = deps.now()
    if (known === undefined || nowMs - known.atMs >= HISTORY_FRESH_MS) {
      // A store that can't be read says nothing about the networks.
      const read = deps.storage.histories(nowMs - HISTORY_MS).catch(() => [])
      known = { atMs: nowMs, histories: read }
    }
    return known.histories
  }

  routes.get('/v1/access-points', async (request) => {
    const query = Query.safeParse(request.query)
    if (!query.success) {
      const message = 'give lat, lon (degrees) and radius (metres), or none of them'
      throw new HttpError(400, 'malformed-request', message)
    }
    const { lat, lon, radius = RADIUS_METRES } = query.data
    const served = new Map((await histories()).map((history) => [history.nas, history]))
    const { config } = deps.runtime()
    const shown = config.clients.filter(
      ({ ssid, location }) =>
        ssid !== undefined &&
        (lat === undefined ||
          lon === undefined ||
          (location !== undefined && metresBetween({ lat, lon }, location) <= radius)),
    )
    return { accessPoints: shown.map((nas) => accessPointJson(nas, served.get(nas.name), deps)) }
  })
}

function accessPointJson(
  nas: NasEntry,
  history: NasHistory | undefined,
  { runtime, operatorAccount }: AccessPointsDeps,
) {
  const tariff = runtime().rules.tariffs.get(nas.tariff)
  if (tariff === undefined) throw new Error(`client ${nas.name} has no tariff`)
  const { sessions = 0, lost = 0, disputed = 0 } = history ?? {}
  return {
    ssid: nas.ssid,
    bssids: nas.bssids,
    location: nas.location ?? null,
    merchant: checksumAddress(nas.merchant ?? operatorAccount),
    tariff: tariff.name,
    tariffVersion: tariff.version,
    prices: termsJson(tariff),
    reliability: reliabilityOf(sessions, lost, disputed),
    history: { sessions, lost, disputed },
  }
}

/** 0 … 1, three digits: the part of its sessions that neither broke nor were disputed. */
function reliabilityOf(sessions: number, lost: number, disputed: number): number {
  const bad = Math.min(sessions, lost + disputed)
  return Math.round((1000 * (sessions - bad + ASSUMED_GOOD)) / (sessions + ASSUMED_GOOD)) / 1000
}

/** Along the surface of a sphere (haversine): exact enough to say what is around the corner. */
function metresBetween(
  a: { readonly lat: number; readonly lon: number },
  b: { readonly lat: number; readonly lon: number },
): number {
  const radians = (angle: number): number => (angle * Math.PI) / 180
  const halfChord =
    Math.sin(radians(b.lat - a.lat) / 2) ** 2 +
    Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.sin(radians(b.lon - a.lon) / 2) ** 2
  return 2 * EARTH_RADIUS_METRES * Math.asin(Math.min(1, Math.sqrt(halfChord)))
}

// The accounting port's handler over real books, a store and a clock that the test plays.

import { pino } from 'pino'
import type { Wish } from '../../accounting/attribution.ts'
import { createLedger, type Ledger } from '../../accounting/ledger.ts'
import type { StorageError } from '../../accounting/storage.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { parseCidr } from '../../config/address.ts'
import type { NasEntry } from '../../config/config.ts'
import type { Address } from '../../ethereum/address.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { openRequest, sealRequest, type VerifiedPacket } from '../../radius/authenticator.ts'
import { type Attribute, Code } from '../../radius/packet.ts'
import { createAccounting } from '../../server/accounting.ts'
import { rateLimited } from '../../server/log.ts'

export const ALICE = `0x${'a1'.repeat(20)}` as Address
export const OPERATOR = `0x${'0e'.repeat(20)}` as Address
export const NOW_MS = 1_800_000_000_000
export const ID = 'ab'.repeat(16)
const STATION = '02-00-00-00-00-01'
const secret = Buffer.from('a shared secret of 32 characters')
const ipaddr = parseCidr('192.0.2.10')
if (typeof ipaddr === 'string') throw new Error(ipaddr)
export const nas: NasEntry = {
  ...{ name: 'lobby', ipaddr, bssids: [], secret, nasType: 'generic', tariff: 'standard' },
  ...{ requireMessageAuthenticator: true, limitProxyState: true, maxMbps: 1000 },
}
export const source = { address: '192.0.2.10', port: 40_000 }

export const uint32 = (type: number, value: number): Attribute => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return { type, value: bytes }
}
export const text = (type: number, value: string): Attribute => ({
  type,
  value: Buffer.from(value),
})

/** A packet as the port's handler hands it over. */
export function verified(attributes: readonly Attribute[]): VerifiedPacket {
  const sealed = sealRequest({ code: Code.accountingRequest, identifier: 1, attributes }, secret)
  return openRequest(sealed, secret, nas)
}

export const whole = [
  uint32(A.acctStatusType, AcctStatusType.interimUpdate),
  text(A.acctSessionId, 'S1'),
  text(A.nasIdentifier, 'ap1'),
]
/** What every record of the session that `admit` opens has. */
export const ours = [
  ...[text(A.class, `ai:${ID}`), text(A.nasIdentifier, 'ap1')],
  text(A.callingStationId, STATION),
]
export const start = uint32(A.acctStatusType, AcctStatusType.start)

/** The door over real books and a store that the case controls. */
export function rig(
  store: { failed?: StorageError; durable?: () => Promise<void>; ledger?: Ledger } = {},
) {
  const ledger =
    store.ledger ??
    createLedger({
      ...{ sessionsMax: 5000, rememberedMax: 100, accountsMax: 100, operatorAccount: OPERATOR },
    })
  const terms = { perMinute: '1', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 100 }
  const priced = priceTariff('standard', { ...terms, missedMax: 2, graceMs: 0 }, 0)
  const tariff = ledger.tariffVersion(priced, NOW_MS)
  ledger.meet(ALICE)
  const counted: string[] = []
  const wishes: Wish[] = []
  let ids = 0
  let nowMs = NOW_MS
  const answer = createAccounting({
    ledger,
    committer: {
      failed: () => store.failed,
      durable: store.durable ?? (() => Promise.resolve()),
    },
    ...{ tariffOf: () => tariff, merchantOf: () => OPERATOR, sessionMaxMs: () => 3_600_000 },
    admitReconnect: () => ({ refused: 'no-escrow' }),
    random(length) {
      ids += 1
      const bytes = Buffer.alloc(length)
      bytes.writeUInt32BE(ids)
      return bytes
    },
    now: () => nowMs,
    onWish: (wish) => wishes.push(wish),
    log: pino({ level: 'silent' }),
    logRate: rateLimited(1000, 10),
    metrics: {
      accountingRecords: { inc: (l) => counted.push(`${l.status} ${l.attribution}`) },
      accountingFaults: { inc: (l) => counted.push(l.fault) },
    },
  })
  return {
    ...{ ledger, tariff, counted, wishes },
    ask: (...attributes: Attribute[]) => answer(verified(attributes), nas, source),
    /** Opens session ID of ALICE at STATION, as an Access-Accept does. */
    admit(): void {
      const place = {
        ...{ nas: 'lobby', address: '192.0.2.10', nasIdentifier: 'ap1', nasIpAddress: '' },
        ...{ nasPort: undefined, callingStationId: STATION, calledStationId: '' },
        ...{ acctSessionId: 'S1', acctMultiSessionId: '' },
      }
      const session = { id: ID, kind: 'normal', account: ALICE, merchant: OPERATOR } as const
      const endsAtMs = nowMs + 3_600_000
      ledger.begin({ ...session, tariff, place, reserve: 0n, endsAtMs }, nowMs)
      ledger.confirm(ID, nowMs)
    },
    at: (ms: number) => {
      nowMs = ms
    },
  }
}

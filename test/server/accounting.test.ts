import { pino } from 'pino'
import t from 'tap'
import type { Wish } from '../../accounting/attribution.ts'
import { createLedger } from '../../accounting/ledger.ts'
import { StorageError } from '../../accounting/storage.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { parseCidr } from '../../config/address.ts'
import type { NasEntry } from '../../config/config.ts'
import type { Address } from '../../ethereum/address.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { openRequest, sealRequest, type VerifiedPacket } from '../../radius/authenticator.ts'
import { type Attribute, Code } from '../../radius/packet.ts'
import { createAccounting, readReport } from '../../server/accounting.ts'
import { rateLimited } from '../../server/log.ts'

const ALICE = `0x${'a1'.repeat(20)}` as Address
const OPERATOR = `0x${'0e'.repeat(20)}` as Address
const NOW_MS = 1_800_000_000_000
const ID = 'ab'.repeat(16)
const secret = Buffer.from('a shared secret of 32 characters')
const ipaddr = parseCidr('192.0.2.10')
if (typeof ipaddr === 'string') throw new Error(ipaddr)
const nas: NasEntry = {
  ...{ name: 'lobby', ipaddr, bssids: [], secret, nasType: 'generic', tariff: 'standard' },
  ...{ requireMessageAuthenticator: true, limitProxyState: true, maxMbps: 1000 },
}
const source = { address: '192.0.2.10', port: 40_000 }

const uint32 = (type: number, value: number): Attribute => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return { type, value: bytes }
}
const text = (type: number, value: string): Attribute => ({ type, value: Buffer.from(value) })

/** A packet as the port's handler hands it over. */
function verified(attributes: readonly Attribute[]): VerifiedPacket {
  const sealed = sealRequest({ code: Code.accountingRequest, identifier: 1, attributes }, secret)
  return openRequest(sealed, secret, nas)
}

const whole = [
  uint32(A.acctStatusType, AcctStatusType.interimUpdate),
  text(A.acctSessionId, 'S1'),
  text(A.nasIdentifier, 'ap1'),
]
const read = (...more: Attribute[]) =>
  readReport(verified([...whole, ...more]), 'lobby', '192.0.2.10')

t.test('RFC 2869 §5.1: octets with Gigawords are 64 bits', async (t) => {
  const { report, faults } = read(
    ...[uint32(A.acctInputOctets, 5), uint32(A.acctInputGigawords, 2)],
    ...[uint32(A.acctOutputOctets, 0xffff_ffff), uint32(A.acctOutputGigawords, 0)],
  )
  t.equal(report.inputOctets, 2n * 2n ** 32n + 5n)
  t.equal(report.outputOctets, 0xffff_ffffn)
  t.ok(report.wide)
  t.same(faults, [])
})

t.test('what is absent is undefined, never zero', async (t) => {
  const { report } = read()
  const { inputOctets, outputOctets, sessionTimeSeconds, eventTimestamp, classId } = report
  t.same(
    [inputOctets, outputOctets, sessionTimeSeconds, eventTimestamp, classId],
    Array(5).fill(undefined),
  )
  t.notOk(report.wide)
  t.equal(read(uint32(A.acctInputGigawords, 3)).report.inputOctets, undefined)
})

t.test('Class: ours has one form; others stand beside it', async (t) => {
  const cases: [string[], string | undefined][] = [
    [[`ai:${ID}`], ID],
    [['of another server', `ai:${ID}`], ID],
    [[`ai:${ID}`, `ai:${'cd'.repeat(16)}`], ID],
    [[`ai:${ID.toUpperCase()}`], undefined],
    [[`ai:${ID}0`], undefined],
    [[`ai:${ID.slice(1)}`], undefined],
    [[`xx:${ID}`], undefined],
    [[''], undefined],
  ]
  for (const [classes, want] of cases) {
    const { report } = read(...classes.map((value) => text(A.class, value)))
    t.equal(report.classId, want, classes.join(' | '))
  }
})

t.test('B11: what should not be is counted, and the rest of the record kept', async (t) => {
  const short: Attribute = { type: A.acctInputOctets, value: Buffer.alloc(3, 1) }
  const [status, session, name] = whole
  if (status === undefined || session === undefined || name === undefined) throw new Error('whole')
  const cases: [string, Attribute[], string[]][] = [
    ['an integer of three octets', [...whole, short], ['attribute-length']],
    ['an empty integer', [...whole, text(A.eventTimestamp, '')], ['attribute-length']],
    ['no status', [session, name], ['status-missing']],
    ['no Acct-Session-Id', [status, name], ['acct-session-id-missing']],
    ['no NAS', [status, session], ['nas-unidentified']],
    ['a State', [...whole, text(A.state, 'x')], ['attribute-forbidden']],
    ['nothing at all', [], ['status-missing', 'acct-session-id-missing', 'nas-unidentified']],
    [
      'NAS-IPv6-Address',
      [status, session, { type: A.nasIpv6Address, value: Buffer.alloc(16, 1) }],
      [],
    ],
  ]
  for (const [name, attributes, want] of cases) {
    t.same(readReport(verified(attributes), 'lobby', '192.0.2.10').faults, want, name)
  }
  const { report } = readReport(
    verified([...whole, short, uint32(A.acctInputOctets, 7)]),
    'lobby',
    '',
  )
  t.equal(report.inputOctets, 7n, 'the next one of the right length counts')
})

/** The door over real books and a store that the case controls. */
function rig(store: { failed?: StorageError; durable?: () => Promise<void> } = {}) {
  const ledger = createLedger({
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
    at: (ms: number) => {
      nowMs = ms
    },
  }
}

const start = uint32(A.acctStatusType, AcctStatusType.start)

t.test('B10 RFC 2866 §4.1: the answer waits for the disk', async (t) => {
  const disk = Promise.withResolvers<void>()
  const { ask, ledger } = rig({ durable: () => disk.promise })
  let answered = false
  const asked = ask(...whole).then((answer) => {
    answered = true
    return answer
  })
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(ledger.openCount, 1, 'in memory at once')
  t.notOk(answered)
  disk.resolve()
  t.same(await asked, { code: Code.accountingResponse, attributes: [] })
})

t.test('a store that fails: no answer, and nothing changes in memory', async (t) => {
  const failed = new StorageError('disk-full', 'full')
  const { ask, ledger } = rig({ failed })
  t.same(await ask(...whole), { drop: 'storage-unavailable' })
  t.equal(ledger.openCount, 0)
  t.same(ledger.drain().records, [])
})

t.test(
  'a commit that fails: no answer; the repetition is answered once it is on disk',
  async (t) => {
    const disk = { works: false }
    const { ask, ledger } = rig({
      async durable() {
        if (!disk.works) throw new StorageError('locked', 'locked')
      },
    })
    t.same(await ask(...whole), { drop: 'storage-unavailable' })
    disk.works = true
    t.same(await ask(...whole, uint32(A.acctDelayTime, 3)), {
      ...{ code: Code.accountingResponse, attributes: [] },
    })
    t.equal(ledger.drain().records.length, 1, 'one record')
  },
)

t.test('another fault of the store than its own is not taken for it', async (t) => {
  const { ask } = rig({ durable: () => Promise.reject(new Error('a fault of ours')) })
  await t.rejects(ask(...whole), /a fault of ours/)
})

t.test('one client entry can not fill the table with sessions nobody pays for', async (t) => {
  const { ask, ledger, at, counted } = rig()
  for (let number = 0; number < 1200; number++) {
    await ask(start, text(A.acctSessionId, `S${number}`), text(A.nasIdentifier, 'ap1'))
  }
  t.equal(ledger.openCount, 1000)
  t.equal(counted.filter((line) => line === 'start unattributed').length, 1200, 'all are answered')
  at(NOW_MS + 180_001)
  await ask(start, text(A.acctSessionId, 'later'), text(A.nasIdentifier, 'ap1'))
  t.equal(ledger.openCount, 1001)
})

t.test('a reconnect that is not admitted: the wish to put it off is handed on', async (t) => {
  const { ask, ledger, tariff, wishes, counted } = rig()
  const place = {
    ...{ nas: 'lobby', address: '192.0.2.10', nasIdentifier: 'ap1', nasIpAddress: '' },
    ...{ nasPort: undefined, callingStationId: '02-00-00-00-00-01', calledStationId: '' },
    ...{ acctSessionId: 'S1', acctMultiSessionId: '' },
  }
  const session = { id: ID, kind: 'normal', account: ALICE, merchant: OPERATOR, tariff } as const
  ledger.begin({ ...session, place, reserve: 0n, endsAtMs: NOW_MS + 3_600_000 }, NOW_MS)
  ledger.confirm(ID, NOW_MS)
  const station = text(A.callingStationId, '02-00-00-00-00-01')
  const ours = [text(A.class, `ai:${ID}`), text(A.nasIdentifier, 'ap1'), station]
  await ask(uint32(A.acctStatusType, AcctStatusType.stop), text(A.acctSessionId, 'S1'), ...ours)
  await ask(start, text(A.acctSessionId, 'S2'), ...ours)
  t.same(counted, ['stop session', 'start unattributed'])
  t.same(
    wishes.map(({ session, reason, detail }) => [session.place.acctSessionId, reason, detail]),
    [['S2', 'not-admitted', 'no-escrow']],
  )
})

import t from 'tap'
import { StorageError } from '../../accounting/storage.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { type Attribute, Code } from '../../radius/packet.ts'
import { readReport } from '../../server/accounting.ts'
import { ID, ours, rig, start, text, uint32, verified, whole } from './accounting-rig.ts'

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

const stop = uint32(A.acctStatusType, AcctStatusType.stop)

t.test('a reconnect that is not admitted: the wish to put it off is handed on', async (t) => {
  const { ask, admit, wishes, counted } = rig()
  admit()
  await ask(stop, text(A.acctSessionId, 'S1'), ...ours)
  await ask(start, text(A.acctSessionId, 'S2'), ...ours)
  t.same(counted, ['stop session', 'start unattributed'])
  t.same(
    wishes.map(({ session, reason, detail }) => [session.place.acctSessionId, reason, detail]),
    [['S2', 'not-admitted', 'no-escrow']],
  )
})

t.test('… also where its commit fails: its repetition is a duplicate, and has none', async (t) => {
  const disk = { works: true }
  const { ask, admit, wishes, counted } = rig({
    async durable() {
      if (!disk.works) throw new StorageError('disk-full', 'full')
    },
  })
  admit()
  await ask(stop, text(A.acctSessionId, 'S1'), ...ours)
  disk.works = false
  t.same(await ask(start, text(A.acctSessionId, 'S2'), ...ours), { drop: 'storage-unavailable' })
  disk.works = true
  await ask(start, text(A.acctSessionId, 'S2'), ...ours)
  t.same(counted, ['stop session', 'start unattributed', 'start duplicate'])
  t.same(
    wishes.map(({ session }) => session.place.acctSessionId),
    ['S2'],
  )
})

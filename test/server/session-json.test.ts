import t from 'tap'
import type { Session } from '../../accounting/session.ts'
import { zeroCounter } from '../../accounting/usage.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { sessionJson } from '../../server/session-json.ts'
import { accountNamed } from '../accounting/vouchers.ts'
import { NOW_MS, rig, tariff } from './payment-rig.ts'

const { ledger, open } = rig()
const opened = ledger.session(open('alice'))
if (opened === undefined) throw new Error('the ledger has no such session')
const session: Session = {
  ...opened,
  ...{ state: 'current', credit: 7n },
  input: { ...zeroCounter, total: 2n ** 60n },
  output: { ...zeroCounter, total: 1n },
}

t.test('product terms §11: a session has exactly these fields', async (t) => {
  const idle = { ...session, input: zeroCounter, output: { ...zeroCounter, total: 1_000_000n } }
  t.same(sessionJson(idle, NOW_MS + 30_999), {
    id: session.id,
    account: checksumAddress(accountNamed('alice')),
    client: 'lobby',
    merchant: checksumAddress(accountNamed('merchant')),
    state: 'current',
    tariff: 'standard',
    tariffVersion: 1,
    terms: {
      ...{ perMinute: '10', perMegabyte: '1', intervalSeconds: 60, intervalMegabytes: 10 },
      ...{ missedMax: 2, graceSeconds: 0 },
    },
    startedAt: NOW_MS / 1_000,
    ...{ inputOctets: '0', outputOctets: '1000000' },
    ...{ owed: '7', paid: '7', due: '4', dueAt: NOW_MS / 1_000 + 60 },
  })
})

t.test('64-bit counters keep every digit; nobody pays: account is null', async (t) => {
  const { account: _, ...rest } = session
  const foreign: Session = { ...rest, account: undefined, kind: 'foreign' }
  t.match(sessionJson(foreign, NOW_MS), {
    ...{ account: null, inputOctets: `${2n ** 60n}`, owed: '0', due: '0' },
  })
})

t.test('flat windows and free allowances stand in the terms where there are any', async (t) => {
  const flat = { price: 50n, windowMs: 3_600_000 }
  const other = { ...tariff, flat, freeMs: 300_000, freeOctets: 50_000_000n }
  t.match(sessionJson({ ...session, tariff: other }, NOW_MS).terms, {
    ...{ flat: { price: '50', windowSeconds: 3_600 }, freeMinutes: 5, freeMegabytes: 50 },
  })
})

// Empty books behind an HTTP side, for tests of its other routes.

import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger } from '../../accounting/ledger.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { createEnrolment } from '../../server/enrolment.ts'
import { createPayments } from '../../server/payments.ts'
import { createUsageReports } from '../../server/usage-reports.ts'
import { accountNamed, domain } from '../accounting/vouchers.ts'

/** Real books in memory; the chain knows nobody, and no NAS can be reached. */
export async function metering() {
  const storage = await openSqliteStore(':memory:')
  const ledger = createLedger({
    ...{ sessionsMax: 100, rememberedMax: 100, accountsMax: 100 },
    operatorAccount: accountNamed('operator'),
  })
  const committer = createCommitter({
    ...{ ledger, storage, onError: () => undefined, onRecovered: () => undefined },
  })
  const ensureAccount = async () => undefined
  const reports = createUsageReports({
    appAttest: () => undefined,
    ...{ ledger, now: Date.now, wallNow: Date.now, secret: randomBytes(32) },
    count: () => undefined,
  })
  const payments = createPayments({
    ...{ domain, ledger, committer, ensureAccount, now: Date.now, wallNow: Date.now, reports },
    mirror: {
      channel: () => undefined,
      connected: () => true,
      heardAtMs: Date.now,
      refresh: async () => true,
    },
    staleAfterMs: () => 60_000,
    sign: () => Buffer.alloc(65),
    count: () => undefined,
  })
  const enrolment = createEnrolment({
    ...{
      domain,
      ledger,
      committer,
      ensureAccount,
      wallNow: Date.now,
      log: pino({ level: 'silent' }),
    },
    ...{ mirror: { channel: () => undefined }, verifiers: new Map(), random: randomBytes },
    ...{ reattestAfterMs: () => 86_400_000, count: () => undefined },
  })
  const enforcement = {
    putOff: async () => 'no-coa',
    sweep: () => undefined,
    isSilent: () => false,
  }
  const close = async () => undefined
  const books = { ledger, storage, committer, keepJournal: () => undefined, close }
  return { books, payments, enforcement, enrolment, reports, ensureAccount }
}

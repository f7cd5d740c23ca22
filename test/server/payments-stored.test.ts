// The payment door on the real store: what a receipt was given for is read back from the disk.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { signDigest } from '../../ethereum/signature.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import { openBooks } from '../../server/books.ts'
import { createPayments } from '../../server/payments.ts'
import { accountNamed, domain, paymentBy } from '../accounting/vouchers.ts'
import { NOW_MS, operatorKey } from './payment-rig.ts'

const directory = mkdtempSync(join(tmpdir(), 'datanet-payments-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

async function open() {
  const now = () => NOW_MS
  const books = await openBooks({
    ...{ storage: 'embedded', databasePath: join(directory, 'books.sqlite'), now },
    ...{ operatorAccount: accountNamed('operator'), log: pino({ level: 'silent' }) },
  })
  const nothing = { reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift: 0n }
  const channel = { deposit: 10n ** 18n, ...nothing }
  const payments = createPayments({
    ...{ domain, ledger: books.ledger, committer: books.committer, now, wallNow: now },
    mirror: {
      channel: () => channel,
      connected: () => true,
      heardAtMs: now,
      refresh: async () => true,
    },
    staleAfterMs: () => 60_000,
    ensureAccount: createEnsureAccount(books.ledger, books.storage),
    sign: (digest) => signDigest(digest, operatorKey),
    count: () => {},
    reports: { take: () => ({ accepted: false, reason: 'no-key' }) },
  })
  return { books, payments }
}

t.test('after a restart the best voucher is known, and the journal adds up to it', async (t) => {
  const names = ['alice', 'bob', 'carol']
  const first = await open()
  const single = names.flatMap((name) =>
    Array.from({ length: 20 }, (_, i) => first.payments.pay(paymentBy(name, BigInt(10 * (i + 1))))),
  )
  const answers = await Promise.all(single)
  t.equal(answers.filter((answer) => 'paid' in answer).length, single.length)
  const batch = names.map((name) => paymentBy(name, 1_000n))
  for (const answer of await first.payments.payAll(batch)) t.ok('paid' in answer)
  await first.books.close()

  const second = await open()
  for (const name of names) {
    const refused = await second.payments.pay(paymentBy(name, 1_000n))
    t.match(refused, { refusal: 'not-higher', best: { amount: 1_000n } })
    const journal = await second.books.storage.journal({ limit: 100, account: accountNamed(name) })
    t.equal(
      journal.reduce((sum, { amount }) => sum + amount, 0n),
      1_000n,
    )
    t.equal(journal.length, 21)
  }
  await second.books.close()
})

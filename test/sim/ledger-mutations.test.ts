// Proof that the simulation of the books sees what it must: each mutant is the program with one
// fault built in as it is loaded, and one of the first seeds has to find it. The program itself
// passes the same seeds in ledger.test.ts.

import { type RegisterHooksOptions, registerHooks } from 'node:module'
import t from 'tap'

interface Mutant {
  readonly name: string
  readonly file: string
  readonly from: string
  readonly to: string
  /** The rule that finds it first, with the seeds of this test. */
  readonly rule: RegExp
  /** What takes a rare meeting of faults: the seed that has it. */
  readonly seeds?: readonly string[]
}

const mutants: readonly Mutant[] = [
  {
    name: 'a voucher that is not higher is taken',
    ...{ file: 'ledger-pay.ts', from: 'if (increase <= 0n) return', to: 'if (amount < 0n) return' },
    rule: /voucher/,
  },
  {
    name: 'what is settled on chain is credited again',
    ...{ file: 'ledger-pay.ts', from: 'best > settled ? best : settled', to: 'best' },
    rule: /voucher|sum|split/,
  },
  {
    name: 'a payment at the end of the grace is too late by a millisecond',
    ...{ file: 'ledger-judge.ts', from: 'row.nextAtMs <= nowMs', to: 'row.nextAtMs < nowMs' },
    rule: /grace/,
  },
  {
    name: 'intervals are judged without their grace',
    file: 'rating.ts',
    from: "what = 'judge'\n    atMs = isExcused(endMs(session, judged + 1) + tariff.graceMs)",
    to: "what = 'judge'\n    atMs = isExcused(endMs(session, judged + 1))",
    rule: /judged/,
  },
  {
    name: 'one more missed interval is allowed',
    ...{ file: 'ledger-judge.ts', from: 'missed >= session.tariff.missedMax', to: 'missed > 9' },
    rule: /grace/,
  },
  {
    name: 'part payment resets the count',
    ...{ file: 'ledger-judge.ts', from: 'session.credit < target', to: 'session.credit <= 0n' },
    rule: /judged/,
  },
  {
    name: 'one report makes the rest of a session free',
    ...{ file: 'rating.ts', from: 'if (heardAtMs', to: 'if (true || heardAtMs' },
    rule: /owed/,
  },
  {
    name: 'the larger figure is paid where the smaller was agreed on',
    ...{
      file: 'rating.ts',
      from: "(by === 'lower') === attested",
      to: "(by === 'lower') !== attested",
    },
    rule: /owed/,
  },
  {
    name: 'a key that nobody vouches for is enough for any policy',
    ...{ file: 'rating.ts', from: 'if (!isEnough)', to: 'if (false)' },
    rule: /owed/,
  },
  {
    name: 'an end asks for what a report has lowered since',
    ...{ file: 'ledger-usage.ts', from: 'owed(row.session, nowMs) < before', to: 'before < 0n' },
    ...{ rule: /judged|cut/, seeds: ['29', '44'] },
  },
  {
    name: 'a device that says less is believed without a dispute',
    ...{
      file: 'ledger-usage.ts',
      from: 'if (attested === undefined || attested',
      to: 'if (true || attested',
    },
    rule: /dispute/,
  },
  {
    name: 'a lower counter counts as more',
    ...{ file: 'usage.ts', from: 'if (unwrapped >= before.raw)', to: 'if (unwrapped >= 0n)' },
    rule: /counters/,
  },
  {
    name: 'a record that was overtaken counts',
    ...{ file: 'ledger-usage.ts', from: 'usage.eventAtMs < session.eventAtMs', to: 'false' },
    rule: /counters/,
  },
  {
    name: 'counters from before a reset count again',
    ...{ file: 'ledger-usage.ts', from: ' || isOvertaken(session, usage, older)', to: '' },
    ...{ rule: /counters/, seeds: ['113', '206', '226', '267'] },
  },
  {
    name: 'a movement is not journalled',
    file: 'ledger-judge.ts',
    from: '{ ...common, session: undefined, merchant: undefined, amount: -amount },',
    to: '',
    rule: /replay/,
  },
  {
    name: 'a payment is taken before the end that comes first is judged',
    file: 'ledger-pay.ts',
    ...{ from: 'if (named !== undefined) settle(tables, named, nowMs)', to: '' },
    ...{ rule: /judged|cut/, seeds: ['19', '45', '183', '187'] },
  },
  {
    name: 'what failed to be written is told as stored',
    ...{ file: 'committer.ts', from: 'mine?.reject(found)', to: 'mine?.resolve()' },
    rule: /acked/,
  },
  {
    name: 'a debt is not paid from what is left over',
    ...{ file: 'ledger-pay.ts', from: 'of byAge(book.debts)', to: 'of byAge([])' },
    rule: /split/,
  },
  {
    name: 'billing goes on after a cut',
    ...{ file: 'rating.ts', from: 'if (stop < until) until = stop', to: '' },
    rule: /owed|debt/,
  },
  {
    name: 'each part is rounded down',
    ...{ file: 'tariff.ts', from: '(a + b - 1n) / b', to: 'a / b' },
    rule: /owed|escrow/,
  },
  {
    name: 'a session that silence ends is closed in the past',
    ...{ file: 'ledger-judge.ts', from: 'closedAtMs: nowMs', to: 'closedAtMs: atMs' },
    rule: /was closed at/,
  },
  {
    name: 'a record reopens a closed session',
    file: 'lifecycle.ts',
    ...{ from: 'closed: {},', to: "closed: { paid: 'current' }," },
    rule: /reopened|split/,
  },
  {
    name: 'a change is not written',
    file: 'ledger-tables.ts',
    from: "if (next.state === 'reserved' || row.changed) return",
    to: "if (next.state !== 'closed' || row.changed) return",
    rule: /restart/,
  },
  {
    name: 'a reconnect that no voucher named draws what is unassigned',
    ...{ file: 'rating.ts', from: "session.kind === 'pmksa' || session.disputed", to: 'false' },
    rule: /judged|sum|cut/,
  },
  {
    name: 'a session that is not put off holds its reserve',
    file: 'rating.ts',
    ...{ from: "state === 'disconnecting' && isRated(session)", to: 'endsAtMs < 0' },
    ...{ rule: /end/, seeds: ['11', '16', '43'] },
  },
  {
    name: 'what a reconnect is said to have moved before is billed',
    file: 'ledger-usage.ts',
    ...{ from: "session.continues === undefined || session.lastRecord !== ''", to: 'true' },
    rule: /counters/,
  },
  {
    name: 'an account is forgotten by a reconnect',
    ...{
      file: 'attribution.ts',
      from: 'if (!ledger.knows(account))',
      to: 'if (account === undefined)',
    },
    rule: /voucher|restart/,
  },
]

const SEEDS = ['1', '2', '3', '4', '5', '13', '23', '33']

// Wall time on a machine that is busy with other tests.
t.setTimeout(180_000)

/** Loads the program once more, with one text replaced; other tests' modules are left alone. */
async function load(mutant: Mutant, number: number) {
  let isFound = false
  const hooks: RegisterHooksOptions = {
    resolve(specifier, context, next) {
      const resolved = next(specifier, context)
      const isOurs = /\/(accounting|server|sim)\/[^/]+\.ts$/.test(resolved.url)
      return isOurs ? { ...resolved, url: `${resolved.url}?mutant=${number}` } : resolved
    },
    load(url, context, next) {
      const loaded = next(url, context)
      if (!url.endsWith(`/accounting/${mutant.file}?mutant=${number}`)) return loaded
      const text = String(loaded.source)
      isFound = text.includes(mutant.from)
      return { ...loaded, source: text.replace(mutant.from, () => mutant.to) }
    },
  }
  const registered = registerHooks(hooks)
  const { runSeed }: typeof import('./ledger-run.ts') = await import('./ledger-run.ts')
  registered.deregister()
  return { runSeed, isFound }
}

for (const [number, mutant] of mutants.entries()) {
  t.test(`found: ${mutant.name}`, async (t) => {
    const { runSeed, isFound } = await load(mutant, number)
    t.ok(isFound, `${mutant.file} has the text that is replaced`)
    const found: string[] = []
    for (const seed of mutant.seeds ?? SEEDS) {
      if (found.length > 0) break
      await runSeed(seed).catch((error: Error) => found.push(error.message))
    }
    t.match(found[0], mutant.rule)
    t.comment(found[0])
  })
}

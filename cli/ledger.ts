// `datanet ledger`: the books of the running server, from its own HTTP side: every movement of
// money, who owes from sessions that are over, or where two meters said different things.

import { z } from 'zod'
import { wholeTokens } from '../accounting/tariff.ts'
import { refusalOf } from '../device/http.ts'
import { parseAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { columns, printable } from './columns.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet ledger [--arrears | --disputes] [--account 0xACCOUNT] [--limit N]
                      [--data DIR] [--config FILE] [--json]

Shows the movements of money, newest first: when, whose, to which session and merchant, how much,
and the cumulative voucher behind it. Money without a session is credit for what is owed next.

  --account 0x…   only this account
  --arrears       instead: who owes from sessions that are over, those who owe most first
  --disputes      instead: sessions of which the access point and somebody else say different
                  volumes, newest first: the device (usage-disagreement: more than 5 % and 1 MB
                  apart; KEY: what its signature is worth), or max_mbps (rate-clamped)
  --limit N       at most this many, 1 to 1000 (default: 100)
  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          GET /v1/ledger, /v1/arrears or /v1/disputes as it answers; amounts in
                  base units, volumes in octets

Exit codes: 69 when no server answers, 77 when the token is not accepted.
`

const amount = z.string().regex(/^-?\d+$/)
const token = z.object({ symbol: z.string(), decimals: z.int() })
const ledgerAnswer = z.object({
  token,
  entries: z.array(
    z.object({
      at: z.int(),
      account: z.string(),
      session: z.string().nullable(),
      merchant: z.string().nullable(),
      amount,
      voucher: amount,
    }),
  ),
})
const arrearsAnswer = z.object({
  token,
  arrears: z.array(
    z.object({
      account: z.string(),
      owed: amount,
      disputed: amount,
      sessions: z.int(),
      since: z.int(),
      paidIntervals: z.int(),
      missedIntervals: z.int(),
    }),
  ),
})
const octets = z.string().regex(/^\d+$/)
const disputesAnswer = z.object({
  disputes: z.array(
    z.object({
      at: z.int(),
      account: z.string().nullable(),
      session: z.string(),
      kind: z.string(),
      nasOctets: octets,
      otherOctets: octets,
      trust: z.string(),
    }),
  ),
})

type Book = 'ledger' | 'arrears' | 'disputes'

/** Prints one line a movement, an account, or a dispute. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'ledger',
    positionals: [],
    options: {
      ...{ config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
      ...{ account: { type: 'string' }, arrears: { type: 'boolean' }, limit: { type: 'string' } },
      disputes: { type: 'boolean' },
    },
  })
  const limit = Number(flags.limit ?? '100')
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new CommandError(Exit.usage, '--limit takes a whole number from 1 to 1000')
  }
  const { account } = flags
  if (account !== undefined && parseAddress(account) === undefined) {
    throw new CommandError(Exit.usage, '--account takes 0x and 40 hex digits')
  }
  if (flags.arrears === true && flags.disputes === true) {
    throw new CommandError(Exit.usage, '--arrears and --disputes: one of them')
  }
  const { dataDir, url } = await findServer(flags, terminal)
  const what: Book =
    flags.arrears === true ? 'arrears' : flags.disputes === true ? 'disputes' : 'ledger'
  const only = account === undefined ? '' : `&account=${account}`
  const answer = await askServer({ dataDir, url, path: `/v1/${what}?limit=${limit}${only}` }, {})
  const shown = answer.status === 200 ? table(what, answer.body) : undefined
  if (shown === undefined) {
    throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
  }
  if (flags.json === true) terminal.out(JSON.stringify(answer.body))
  else for (const line of shown) terminal.out(line)
  return Exit.ok
}

const time = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 19)

/** Undefined where the body is not such an answer. */
function table(what: Book, body: unknown): string[] | undefined {
  if (what === 'disputes') {
    const parsed = disputesAnswer.safeParse(body)
    return parsed.success ? disputesTable(parsed.data) : undefined
  }
  if (what === 'ledger') {
    const parsed = ledgerAnswer.safeParse(body)
    return parsed.success ? ledgerTable(parsed.data) : undefined
  }
  const parsed = arrearsAnswer.safeParse(body)
  return parsed.success ? arrearsTable(parsed.data) : undefined
}

function ledgerTable({ token, entries }: z.infer<typeof ledgerAnswer>): string[] {
  if (entries.length === 0) return ['nothing was paid yet']
  const inTokens = (text: string): string => signedTokens(text, token.decimals)
  const head = ['TIME (UTC)', 'ACCOUNT', 'SESSION', 'MERCHANT', 'AMOUNT', 'VOUCHER']
  const rows = entries.map(({ at, account, session, merchant, amount, voucher }) => [
    ...[time(at), account, session ?? '-', merchant ?? '-', inTokens(amount), inTokens(voucher)],
  ])
  return [...columns([head, ...rows]), `amounts in ${printable(token.symbol)}`]
}

function arrearsTable({ token, arrears }: z.infer<typeof arrearsAnswer>): string[] {
  if (arrears.length === 0) return ['nobody is in arrears']
  const inTokens = (text: string): string => signedTokens(text, token.decimals)
  const head = ['ACCOUNT', 'OWED', 'DISPUTED', 'SESSIONS', 'SINCE (UTC)', 'PAID', 'MISSED']
  const rows = arrears.map((one) => [
    ...[one.account, inTokens(one.owed), inTokens(one.disputed), `${one.sessions}`],
    ...[time(one.since), `${one.paidIntervals}`, `${one.missedIntervals}`],
  ])
  const legend = `amounts in ${printable(token.symbol)}; PAID and MISSED count intervals`
  return [...columns([head, ...rows]), legend]
}

const megabytes = (text: string): string => (Number(text) / 1e6).toFixed(1)

function disputesTable({ disputes }: z.infer<typeof disputesAnswer>): string[] {
  if (disputes.length === 0) return ['nothing was disputed']
  const head = ['TIME (UTC)', 'ACCOUNT', 'SESSION', 'WHAT', 'AP MB', 'OTHER MB', 'KEY']
  const rows = disputes.map(({ at, account, session, kind, nasOctets, otherOctets, trust }) => [
    ...[time(at), account ?? '-', session, kind, megabytes(nasOctets), megabytes(otherOctets)],
    trust === 'none' ? '-' : trust,
  ])
  const legend = "AP: the access point's figure; OTHER: the device's, or the most max_mbps allows"
  return [...columns([head, ...rows]), legend]
}

function signedTokens(text: string, decimals: number): string {
  const units = BigInt(text)
  return units < 0n ? `-${wholeTokens(-units, decimals)}` : wholeTokens(units, decimals)
}

// `datanet reliability`: how well access points have served and how well an account has paid, as
// the server reckons it. Reads two routes of its HTTP side; judges nothing itself.

import { z } from 'zod'
import { refusalOf } from '../device/http.ts'
import { parseAddress } from '../ethereum/address.ts'
import { readArguments, usage } from './arguments.ts'
import { columns, printable } from './columns.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'reliability'

export const help = `usage: datanet reliability [0xACCOUNT] [--data DIR] [--config FILE] [--json]

Shows how well the access points of the server that runs from DIR have served in the last 30 days:
sessions, how many of them were lost (the access point restarted or fell silent) or disputed, and
the part that was neither, 0 to 1. Devices choose by it. Only access points with an ssid in the
configuration are listed; the figures may be 10 minutes old.

With an account: how its devices have paid (intervals paid and missed, sessions that were put off,
disagreements about volume), its reliability, 0 to 1, and its metering keys. A disagreement counts
against both sides, like ten missed intervals for the device; datanet ledger --disputes lists them.

  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          GET /v1/access-points or /v1/accounts/ACCOUNT as it answers

Exit codes: 64 usage, or no books of that account; 69 when no server answers, 77 when the token is
not accepted.
`

const count = z.int()
const accessPointsAnswer = z.object({
  accessPoints: z.array(
    z.object({
      ssid: z.string(),
      bssids: z.array(z.string()),
      merchant: z.string(),
      reliability: z.number(),
      history: z.object({ sessions: count, lost: count, disputed: count }),
    }),
  ),
})
const accountAnswer = z.object({
  account: z.string(),
  ...{ paidIntervals: count, missedIntervals: count, cuts: count, disagreements: count },
  reliability: z.number(),
  meteringKeys: z.array(z.object({ scheme: z.string(), trust: z.string(), expiresAt: count })),
})

/** Prints a table of access points, or what is known of one account. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: VERB,
    ...{ positionals: [], optional: ['ACCOUNT'] },
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const account: string | undefined = words.ACCOUNT
  if (account !== undefined && parseAddress(account) === undefined) {
    throw usage(VERB, 'ACCOUNT is 0x and 40 hex digits')
  }
  const { dataDir, url } = await findServer(flags, terminal)
  const path = account === undefined ? '/v1/access-points' : `/v1/accounts/${account}`
  const answer = await askServer({ dataDir, url, path }, {})
  if (account !== undefined && answer.status === 404) {
    throw new CommandError(Exit.usage, `the server at ${url} has no books of ${account}`)
  }
  const shown =
    answer.status !== 200
      ? undefined
      : account === undefined
        ? accessPoints(answer.body)
        : payer(answer.body, terminal.now())
  if (shown === undefined) {
    throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
  }
  if (flags.json === true) terminal.out(JSON.stringify(answer.body))
  else for (const line of shown) terminal.out(line)
  return Exit.ok
}

const rate = (reliability: number): string => reliability.toFixed(3)

/** Undefined where the body is not such an answer. */
function accessPoints(body: unknown): string[] | undefined {
  const parsed = accessPointsAnswer.safeParse(body)
  if (!parsed.success) return undefined
  const listed = parsed.data.accessPoints
  if (listed.length === 0) return ['no access point has an ssid in the configuration']
  const head = ['SSID', 'BSSIDS', 'MERCHANT', 'SESSIONS', 'LOST', 'DISPUTED', 'RELIABILITY']
  const rows = listed.map(({ ssid, bssids, merchant, history, reliability }) => [
    ...[ssid, bssids.join(',') || '-', merchant, `${history.sessions}`, `${history.lost}`],
    ...[`${history.disputed}`, rate(reliability)],
  ])
  const legend = 'without: access points that have no ssid in the configuration'
  return [...columns([head, ...rows]), legend]
}

function payer(body: unknown, nowMs: number): string[] | undefined {
  const parsed = accountAnswer.safeParse(body)
  if (!parsed.success) return undefined
  const { account, paidIntervals, missedIntervals, cuts, disagreements } = parsed.data
  const keys = parsed.data.meteringKeys.map(({ scheme, trust, expiresAt }) => {
    const until = new Date(expiresAt * 1000).toISOString().slice(0, 19)
    const state = expiresAt * 1000 > nowMs ? `until ${until}` : 'to be shown anew'
    const key = scheme === trust ? trust : `${scheme} (${trust})`
    return `key          ${printable(key)}, ${state}`
  })
  return [
    `account      ${printable(account)}`,
    `reliability  ${rate(parsed.data.reliability)}`,
    `intervals    ${paidIntervals} paid, ${missedIntervals} missed`,
    `put off      ${cuts} times`,
    `disputes     ${disagreements}`,
    ...(keys.length === 0 ? ['key          none'] : keys),
  ]
}

// `datanet notarize`: how the blocks that pay access point owners are doing, from the running
// server; it can be told to make one at the next window, or to pay out what the operator has
// earned.

import { z } from 'zod'
import { wholeTokens } from '../accounting/tariff.ts'
import { refusalOf } from '../device/http.ts'
import { readArguments } from './arguments.ts'
import { printable } from './columns.ts'
import { askServer, findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet notarize [--now | --withdraw] [--data DIR] [--config FILE] [--json]

Shows the blocks by which the server that runs from DIR pays the owners of its access points: the
last one, the period and its phase, how many merchants sign and which are missing, who has signed
the block under way, and what was earned and is in no block yet (owners that have not registered,
payments of this period). Numbers of merchants are their ids in the contract; 1 is the operator.

  --now           build a block at the next window, also where nothing is new
  --withdraw      pay the operator's own earnings to its account in the next open window
  --data DIR      the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE   its configuration (default: DIR/datanet.yaml)
  --json          GET /v1/notary as it answers; amounts in base units

Exit codes: 69 when no server answers or blocks can't be made, 77 when the token is not accepted.
`

const notaryAnswer = z.object({
  k: z.int(),
  lastPeriod: z.int(),
  lastAt: z.int(),
  period: z.int(),
  phase: z.string(),
  nextAt: z.int(),
  merchants: z.int(),
  missing: z.array(z.int()),
  answered: z.array(z.int()).nullable(),
  waiting: z.string().regex(/^\d+$/),
  waitingAccounts: z.int(),
  own: z.string().regex(/^\d+$/),
  problem: z.string().nullable(),
  token: z.object({ symbol: z.string(), decimals: z.int() }),
})

/** Shows it, or asks for a block; exit code 69 where the server says that it can't make any. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, {
    verb: 'notarize',
    positionals: [],
    options: {
      ...{ config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
      ...{ now: { type: 'boolean' }, withdraw: { type: 'boolean' } },
    },
  })
  if (flags.now === true && flags.withdraw === true) {
    throw new CommandError(Exit.usage, '--now and --withdraw are two commands; give one of them')
  }
  const { dataDir, url } = await findServer(flags, terminal)
  const isNow = flags.now === true
  const wish = isNow ? '/build' : flags.withdraw === true ? '/withdraw' : ''
  const path = `/v1/notary${wish}`
  const answer = await askServer({ dataDir, url, path }, wish === '' ? {} : { method: 'POST' })
  const parsed = notaryAnswer.safeParse(answer.body)
  if ((answer.status !== 200 && answer.status !== 202) || !parsed.success) {
    throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
  }
  if (flags.json === true) terminal.out(JSON.stringify(answer.body))
  else for (const line of describe(parsed.data, isNow, terminal.now())) terminal.out(line)
  return parsed.data.problem === null ? Exit.ok : Exit.unavailable
}

function describe(notary: z.infer<typeof notaryAnswer>, isNow: boolean, nowMs: number): string[] {
  const { k, lastPeriod, lastAt, period, phase, merchants, missing, answered, problem } = notary
  const now = Math.floor(nowMs / 1_000)
  const inSeconds = Math.max(0, notary.nextAt - now)
  const tokens = (units: string): string => {
    return `${wholeTokens(BigInt(units), notary.token.decimals)} ${printable(notary.token.symbol)}`
  }
  const away = missing.length === 0 ? '' : `, ${missing.length} missing: ${missing.join(' ')}`
  const last = `${k}, of period ${lastPeriod}, ${Math.max(0, now - lastAt)} s ago`
  return [
    `block      ${k === 0 ? 'none yet' : last}`,
    `period     ${period}, ${phase}; next block in ${inSeconds} s${isNow ? ', asked for' : ''}`,
    `merchants  ${merchants}${away}`,
    ...(answered === null ? [] : [`signed by  ${answered.join(' ')}`]),
    `waiting    ${tokens(notary.waiting)} of ${notary.waitingAccounts} accounts`,
    `own        ${tokens(notary.own)} not withdrawn; npx datanet notarize --withdraw`,
    ...(problem === null ? [] : [`problem    ${printable(problem)}`]),
  ]
}

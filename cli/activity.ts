// `datanet activity`: public statistics out of the summaries that consumers have published, read
// from the chain's events by whoever asks: nobody's word is taken for the sums.

import { z } from 'zod'
import { wholeTokens } from '../accounting/tariff.ts'
import { findActivityContracts } from '../chain/activity-calls.ts'
import {
  type ActivityFilter,
  type ActivityTotals,
  addActivity,
  NO_ACTIVITY,
  type PublishedActivity,
  readActivities,
} from '../chain/activity-events.ts'
import { addressOf, datanetInterface, tokenInterface } from '../chain/bindings.ts'
import { read } from '../chain/calls.ts'
import { bigintOf, numberOf, quantity } from '../chain/jsonrpc.ts'
import type { RpcRequest } from '../chain/transactions.ts'
import { openChain } from '../device/chain.ts'
import { DeviceError } from '../device/error.ts'
import { parseOperatorUrl, refusalOf, requestJson } from '../device/http.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { readArguments, usage } from './arguments.ts'
import { columns, printable } from './columns.ts'
import { findServer } from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'activity'

export const help = `usage: datanet activity [--consumer 0x…] [--operator N] [--since T] [options]

Adds up the summaries that consumers have published on the chain, by operator: how many, of how many
consumers, sessions, megabytes up and down, what was paid, and which time they cover. Everything is
read from the contract's events. A summary proves that an enrolled key reported it, not that it is
true.

  --consumer 0x…      of this account only
  --operator N        of this operator only
  --since T           only what ended at T or later: Unix seconds, or 2026-11-23T00:00:00Z
  --server URL        any operator's server, which says where contract and node are
                      (default: the server that runs from DIR)
  --rpc URL --contract 0x…   a node of your own and the escrow contract, without any server
  --data DIR          the server's data directory (default: $DATANET_DATA or ./data)
  --config FILE       its configuration (default: DIR/datanet.yaml)
  --json              {"chainId", "contract", "block", "token", "operators": [{"operator",
                      "summaries", "consumers", "sessions", "bytesUp", "bytesDown", "paid",
                      "firstStart", "lastEnd"}]}, amounts in base units

Exit codes: 64 usage, 69 when no server or node answers.
`

const text = { type: 'string' } as const
const options = {
  ...{ consumer: text, operator: text, since: text, server: text, rpc: text, contract: text },
  ...{ data: text, config: text },
  json: { type: 'boolean' },
} as const

/** Where the events are. */
interface Place {
  readonly rpcUrl: string
  readonly contract: Address
  readonly deployBlock: number
}

const operatorAnswer = z.object({
  contract: z.string(),
  deployBlock: z.int().min(0),
  rpc: z.string(),
})

/** One operator's line. */
interface Line extends ActivityTotals {
  readonly operator: number
  readonly consumers: number
}

/** Prints one line an operator. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags } = readArguments(args, { verb: VERB, positionals: [], options })
  const filter = filterOf(flags.consumer, flags.operator)
  const since = secondsOf(flags.since)
  if ((flags.rpc === undefined) !== (flags.contract === undefined)) {
    throw usage(VERB, '--rpc and --contract go together')
  }
  const place =
    flags.rpc === undefined || flags.contract === undefined
      ? await placeOf(flags.server ?? (await findServer(flags, terminal)).url)
      : {
          ...{ rpcUrl: flags.rpc, deployBlock: 0 },
          contract: accountOf('--contract', flags.contract),
        }
  const link = openChain(place.rpcUrl)
  try {
    const found = await statistics(link.rpc, place, filter, since)
    const token = await tokenOf(link.rpc, place.contract)
    if (flags.json === true) {
      const { activities, block, lines } = found
      const chainId = Number(bigintOf(await link.rpc.request('eth_chainId', [])))
      const head = { chainId, contract: checksumAddress(activities), block, token }
      terminal.out(JSON.stringify({ ...head, operators: lines.map(asJson) }))
    } else {
      for (const line of table(found.lines, token)) terminal.out(line)
    }
    return Exit.ok
  } finally {
    link.close()
  }
}

function accountOf(flag: string, said: string): Address {
  const account = parseAddress(said)
  if (account === undefined) throw usage(VERB, `${flag} takes 0x and 40 hex digits`)
  return account
}

function filterOf(consumer: string | undefined, operator: string | undefined): ActivityFilter {
  if (operator !== undefined && !/^[1-9]\d{0,9}$/.test(operator)) {
    throw usage(VERB, "--operator takes an operator's number in the contract")
  }
  return {
    ...(consumer === undefined ? {} : { consumer: accountOf('--consumer', consumer) }),
    ...(operator === undefined ? {} : { operator: Number(operator) }),
  }
}

/** Unix seconds, or an instant. */
function secondsOf(said: string | undefined): number | undefined {
  if (said === undefined) return undefined
  const seconds = /^\d{1,12}$/.test(said) ? Number(said) : Math.floor(Date.parse(said) / 1_000)
  if (Number.isNaN(seconds)) throw usage(VERB, '--since takes Unix seconds or an ISO 8601 time')
  return seconds
}

async function placeOf(server: string): Promise<Place> {
  const url = parseOperatorUrl(server)
  const answer = await requestJson(`${url}/v1/operator`).catch((error: unknown) => {
    if (!(error instanceof DeviceError) || error.code !== 'unavailable') throw error
    const way = 'start it, or name one with --server, or a node with --rpc and --contract'
    throw new CommandError(Exit.unavailable, `no server answers at ${url}; ${way}`, error)
  })
  const parsed = operatorAnswer.safeParse(answer.body)
  const contract = parsed.success ? parseAddress(parsed.data.contract) : undefined
  if (answer.status !== 200 || !parsed.success || contract === undefined) {
    throw new CommandError(Exit.unavailable, `the server at ${url}: ${refusalOf(answer)}`)
  }
  return { contract, deployBlock: parsed.data.deployBlock, rpcUrl: parsed.data.rpc }
}

async function statistics(
  rpc: RpcRequest,
  place: Place,
  filter: ActivityFilter,
  since: number | undefined,
): Promise<{ activities: Address; block: number; lines: Line[] }> {
  const { activities } = await findActivityContracts(rpc, place.contract)
  const to = numberOf(await rpc.request('eth_blockNumber', []))
  const from =
    since === undefined ? place.deployBlock : await firstBlock(rpc, place.deployBlock, to, since)
  const sums = new Map<number, { totals: ActivityTotals; consumers: Set<Address> }>()
  const add = (one: PublishedActivity): void => {
    if (since !== undefined && one.end < since) return
    const sum = sums.get(one.operator) ?? { totals: NO_ACTIVITY, consumers: new Set<Address>() }
    sum.consumers.add(one.consumer)
    sums.set(one.operator, { ...sum, totals: addActivity(sum.totals, one) })
  }
  const steps = { stepsMax: Number.POSITIVE_INFINITY }
  await readActivities(rpc, { activities, from, to, filter, ...steps }, add)
  const lines = [...sums].map(([operator, { totals, consumers }]) => ({
    ...totals,
    ...{ operator, consumers: consumers.size },
  }))
  return { activities, block: to, lines: lines.sort((a, b) => a.operator - b.operator) }
}

/** The first block at that time or later: what ended by then may be in it, never before. */
async function firstBlock(
  rpc: RpcRequest,
  first: number,
  last: number,
  seconds: number,
): Promise<number> {
  let [low, high] = [first, last + 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const block = (await rpc.request('eth_getBlockByNumber', [quantity(middle), false])) as {
      timestamp?: unknown
    } | null
    if (numberOf(block?.timestamp) < seconds) low = middle + 1
    else high = middle
  }
  return low
}

interface Token {
  readonly symbol: string
  readonly decimals: number
}

async function tokenOf(rpc: RpcRequest, contract: Address): Promise<Token> {
  const token = addressOf((await read(rpc, contract, datanetInterface, 'token', []))[0])
  const [symbol] = await read(rpc, token, tokenInterface, 'symbol', [])
  const [decimals] = await read(rpc, token, tokenInterface, 'decimals', [])
  return { symbol: String(symbol), decimals: Number(decimals) }
}

const day = (seconds: number): string =>
  new Date(seconds * 1_000).toISOString().slice(0, 16).replace('T', ' ')
const megabytes = (octets: bigint): string => (Number(octets) / 1e6).toFixed(1)

function table(lines: readonly Line[], { symbol, decimals }: Token): string[] {
  if (lines.length === 0) return ['no activity was published']
  const counts = ['OPERATOR', 'SUMMARIES', 'CONSUMERS', 'SESSIONS', 'MB UP', 'MB DOWN']
  const rows = lines.map((line) => [
    ...[`${line.operator}`, `${line.summaries}`, `${line.consumers}`, `${line.sessions}`],
    ...[megabytes(line.bytesUp), megabytes(line.bytesDown), wholeTokens(line.paid, decimals)],
    ...[day(line.firstStart), day(line.lastEnd)],
  ])
  const all = columns([[...counts, 'PAID', 'FROM', 'UNTIL'], ...rows])
  return [...all, `amounts in ${printable(symbol)}, times in UTC`]
}

function asJson(line: Line): object {
  const { operator, summaries, consumers, sessions, bytesUp, bytesDown, paid } = line
  return {
    ...{ operator, summaries, consumers, sessions: `${sessions}` },
    ...{ bytesUp: `${bytesUp}`, bytesDown: `${bytesDown}`, paid: `${paid}` },
    ...{ firstStart: line.firstStart, lastEnd: line.lastEnd },
  }
}

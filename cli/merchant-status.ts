// `datanet merchant status`: where a merchant stands, by the chain and its own store. Needs no
// password: it reads nothing secret and sends nothing.

import { resolve } from 'node:path'
import { z } from 'zod'
import { phaseAt } from '../chain/payplace/timing.ts'
import { shown } from '../device/amounts.ts'
import { requestJson } from '../device/http.ts'
import { checksumAddress, parseAddress } from '../ethereum/address.ts'
import { type Position, readPosition } from '../merchant/withdraw.ts'
import { readArguments } from './arguments.ts'
import { printable } from './columns.ts'
import { Exit } from './exit.ts'
import { type MerchantFolder, openMerchant, seed } from './merchant-folder.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet merchant status DIR [--json]

Shows whether the account of DIR is a merchant of its operator and signs its blocks, what can be
withdrawn now, what being put out for an absence left as credit (withdraw pays it too), which block
was signed last, and shifts that are pending with the operator. Of an account that has left: where
what is still earned for it waits, and which of the networks that the operator publishes earn it.

  --json   everything as one object, amounts in base units

Exit codes: 0 when all could be read, 64 no such DIR, 69 the chain does not answer, 78 DIR is
damaged or a withdrawal lacks its proof.
`

/** Prints the state; 78 says that the last block's part is lost. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = { json: { type: 'boolean' } } as const
  const grammar = { verb: 'merchant status', positionals: ['DIR'], options } as const
  const { flags, words } = readArguments(args, grammar)
  const folder = await openMerchant(resolve(words.DIR), terminal)
  try {
    const { merchant, node, view, store } = folder
    const deps = { merchant, rpc: node.rpc, view, store, api: undefined, seed: seed() }
    const position = await readPosition(deps)
    const isOut = position.record?.status === 'exited'
    const earning = isOut ? await networksOf(merchant) : undefined
    const state = { folder, position, earning, nowS: terminal.now() / 1_000 }
    if (flags.json === true) terminal.out(JSON.stringify(asJson(state)))
    else for (const line of asText(state)) terminal.out(line)
    if (!position.payout.isMissingProof) return Exit.ok
    const way = 'run or withdraw fetches it from the operator; else restore merchant.sqlite'
    terminal.err(`warning: our part of the last block is not in DIR: ${way}`)
    return Exit.configuration
  } finally {
    folder.close()
  }
}

function standing({ record }: Position): string {
  if (record === undefined) return 'not registered'
  if (record.status === 'exited') return record.left?.forced === true ? 'put out' : 'exited'
  return record.missingSince === undefined ? 'active' : `missing since block ${record.missingSince}`
}

interface State {
  readonly folder: MerchantFolder
  readonly position: Position
  /** SSIDs that earn for an account that has left; undefined where nobody was asked or answered. */
  readonly earning: readonly string[] | undefined
  readonly nowS: number
}

const accessPoints = z.object({
  accessPoints: z.array(z.object({ ssid: z.string(), merchant: z.string() })),
})
/** An operator that is gone is no news here, and not worth waiting for. */
const NETWORKS_TIMEOUT_MS = 3_000

async function networksOf({
  operatorUrl,
  account,
}: MerchantFolder['merchant']): Promise<string[] | undefined> {
  const asked = { timeoutMs: NETWORKS_TIMEOUT_MS }
  const answer = await requestJson(`${operatorUrl}/v1/access-points`, asked).catch(() => undefined)
  const parsed = accessPoints.safeParse(answer?.body)
  if (answer?.status !== 200 || !parsed.success) return undefined
  const ours = parsed.data.accessPoints.filter(({ merchant }) => parseAddress(merchant) === account)
  return [...new Set(ours.map(({ ssid }) => printable(ssid)))]
}

function asJson({ folder, position, earning, nowS }: State): object {
  const { merchant, store } = folder
  const { facts, record, payout, credit } = position
  const { k, lastPeriod } = facts.block()
  const signed = store.signed()
  const timing = facts.operator()?.timing
  return {
    name: merchant.name,
    account: checksumAddress(merchant.account),
    operator: { operatorId: merchant.operatorId, url: merchant.operatorUrl },
    merchantId: record?.id ?? null,
    standing: standing(position),
    phase: timing === undefined ? null : phaseAt(timing, nowS),
    block: { k, period: lastPeriod },
    signed: signed === undefined ? null : { k: signed.k, period: signed.period },
    withdrawable: payout.due.toString(),
    credit: credit.toString(),
    earningAt: earning ?? null,
    locks: (record?.locks ?? []).map((lock) => ({ k: lock.k, shard: lock.leaf.shard })),
    shifts: facts.shifts().map(({ consumer, to, amount }) => {
      return { consumer: checksumAddress(consumer), to, amount: amount.toString() }
    }),
  }
}

function asText({ folder, position, earning = [], nowS }: State): string[] {
  const { merchant, store } = folder
  const { facts, record, payout, credit } = position
  const { token } = merchant
  const { k, lastPeriod } = facts.block()
  const signed = store.signed()
  const timing = facts.operator()?.timing
  const phase = timing === undefined ? 'unknown' : phaseAt(timing, nowS)
  const last = signed === undefined ? 'nothing yet' : `block ${signed.k} of period ${signed.period}`
  const id = record === undefined ? '' : `, merchant ${record.id}`
  const run = `merchant run${record?.left?.forced === true ? '' : ' --rejoin'}`
  const still = earning.length === 0 ? '' : ` (${earning.join(', ')})`
  const waiting = `at the operator, until ${run}: what access points still earn${still}`
  return [
    `account       ${checksumAddress(merchant.account)}`,
    `operator      ${merchant.operatorId} at ${merchant.operatorUrl}${id}: ${standing(position)}`,
    `block         ${k} of period ${lastPeriod}; the window is ${phase}`,
    `signed        ${last}`,
    `withdrawable  ${shown(payout.due, token)}`,
    ...(credit === 0n ? [] : [`credit        ${shown(credit, token)}, paid by merchant withdraw`]),
    ...(record?.status === 'exited' ? [`waiting       ${waiting}`] : []),
    ...facts.shifts().map(({ consumer, amount }) => {
      return `shift         ${checksumAddress(consumer)} takes ${shown(amount, token)} elsewhere`
    }),
  ]
}

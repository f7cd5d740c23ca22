// `datanet merchant status`: where a merchant stands, by the chain and its own store. Needs no
// password: it reads nothing secret and sends nothing.

import { resolve } from 'node:path'
import { phaseAt } from '../chain/payplace/timing.ts'
import { shown } from '../device/amounts.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { type Position, readPosition } from '../merchant/withdraw.ts'
import { readArguments } from './arguments.ts'
import { Exit } from './exit.ts'
import { type MerchantFolder, openMerchant, seed } from './merchant-folder.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet merchant status DIR [--json]

Shows whether the account of DIR is a merchant of its operator and signs its blocks, what can be
withdrawn now, what being put out for an absence left as credit (withdraw pays it too), which block
was signed last, and shifts that are pending with the operator.

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
    if (flags.json === true) terminal.out(JSON.stringify(asJson(folder, position, terminal)))
    else for (const line of asText(folder, position, terminal)) terminal.out(line)
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

function asJson(folder: MerchantFolder, position: Position, terminal: Terminal): object {
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
    phase: timing === undefined ? null : phaseAt(timing, terminal.now() / 1_000),
    block: { k, period: lastPeriod },
    signed: signed === undefined ? null : { k: signed.k, period: signed.period },
    withdrawable: payout.due.toString(),
    credit: credit.toString(),
    locks: (record?.locks ?? []).map((lock) => ({ k: lock.k, shard: lock.leaf.shard })),
    shifts: facts.shifts().map(({ consumer, to, amount }) => {
      return { consumer: checksumAddress(consumer), to, amount: amount.toString() }
    }),
  }
}

function asText(folder: MerchantFolder, position: Position, terminal: Terminal): string[] {
  const { merchant, store } = folder
  const { facts, record, payout, credit } = position
  const { token } = merchant
  const { k, lastPeriod } = facts.block()
  const signed = store.signed()
  const timing = facts.operator()?.timing
  const phase = timing === undefined ? 'unknown' : phaseAt(timing, terminal.now() / 1_000)
  const last = signed === undefined ? 'nothing yet' : `block ${signed.k} of period ${signed.period}`
  const id = record === undefined ? '' : `, merchant ${record.id}`
  return [
    `account       ${checksumAddress(merchant.account)}`,
    `operator      ${merchant.operatorId} at ${merchant.operatorUrl}${id}: ${standing(position)}`,
    `block         ${k} of period ${lastPeriod}; the window is ${phase}`,
    `signed        ${last}`,
    `withdrawable  ${shown(payout.due, token)}`,
    ...(credit === 0n ? [] : [`credit        ${shown(credit, token)}, paid by merchant withdraw`]),
    ...facts.shifts().map(({ consumer, amount }) => {
      return `shift         ${checksumAddress(consumer)} takes ${shown(amount, token)} elsewhere`
    }),
  ]
}

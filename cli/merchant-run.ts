// `datanet merchant run`: the agent of a merchant, until it is told to stop. Joins, checks and
// signs blocks, watches. Needs no inbound port.

import { resolve } from 'node:path'
import { checksumAddress } from '../ethereum/address.ts'
import { startAgent } from '../merchant/agent.ts'
import { lockAgent } from '../merchant/folder.ts'
import type { AgentLog } from '../merchant/reading.ts'
import { readArguments } from './arguments.ts'
import { Exit } from './exit.ts'
import { type UnlockedMerchant, unlockMerchant } from './merchant-folder.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet merchant run DIR

Runs the merchant of DIR: joins the operator when it may, checks every block the operator offers and
signs it where nothing is taken from anybody, keeps what a withdrawal needs in DIR/merchant.sqlite
before it signs, challenges shifts that take what devices have spent, and tells in its log (JSON
lines on stderr) whatever the owner should know. Only outgoing connections. Stop it with Ctrl-C or
SIGTERM; an absence loses nothing: the operator must lock what is owed before it goes on.

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 73 another merchant run works on DIR, 77 password, 78 DIR is damaged.
`

/** Runs until SIGINT or SIGTERM. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { words } = readArguments(args, {
    ...{ verb: 'merchant run', positionals: ['DIR'], options: {} },
  })
  const directory = resolve(words.DIR)
  const unlocked = await unlockMerchant(directory, terminal)
  try {
    const lock = lockAgent(directory)
    await runAgent(unlocked, terminal)
    lock.release()
  } finally {
    unlocked.close()
  }
  return Exit.ok
}

async function runAgent(
  { merchant, accountKey, node, view, api, store, sender }: UnlockedMerchant,
  terminal: Terminal,
): Promise<void> {
  const log: AgentLog = (level, event, text, fields = {}) => {
    const time = new Date(terminal.now()).toISOString()
    terminal.err(JSON.stringify({ level, time, event, ...fields, msg: text }))
  }
  const { account, operatorId, operatorUrl, contract, requireIncome } = merchant
  const agent = startAgent({
    ...{ account, accountKey, operatorId, operatorUrl, contract, requireIncome },
    ...{ view, api, store, sender, log, rpc: node.rpc, nowMs: terminal.now },
    chainId: BigInt(merchant.chainId),
  })
  const shown = checksumAddress(account)
  log('info', 'started', `merchant ${shown} of operator ${operatorId}`, { account: shown })
  await stopAsked()
  await agent.stop()
  log('info', 'stopped', 'stopped')
}

function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

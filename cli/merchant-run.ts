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

export const help = `usage: datanet merchant run DIR [--rejoin]

Runs the merchant of DIR: joins the operator when it may, checks every block the operator offers and
signs it where nothing is taken from anybody, keeps what a withdrawal needs in DIR/merchant.sqlite
before it signs, challenges shifts that take what devices have spent, and tells in its log (JSON
lines on stderr) whatever the owner should know. Only outgoing connections. Stop it with Ctrl-C or
SIGTERM; an absence loses nothing: the operator must lock what is owed before it goes on.
An account that has left (merchant exit) is only watched over.

  --rejoin   let an account that has left join again, after the operator's next block (its
             notarize --now asks for one): what came in for it since is in the blocks from then on.
             Once it leaves anew it stays away, until it is started with the flag again.

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 73 another merchant run works on DIR, 77 password, 78 DIR is damaged.
`

/** Runs until SIGINT or SIGTERM. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = { rejoin: { type: 'boolean' } } as const
  const grammar = { verb: 'merchant run', positionals: ['DIR'], options } as const
  const { flags, words } = readArguments(args, grammar)
  const directory = resolve(words.DIR)
  const unlocked = await unlockMerchant(directory, terminal)
  try {
    const lock = lockAgent(directory)
    await runAgent(unlocked, flags.rejoin === true, terminal)
    lock.release()
  } finally {
    unlocked.close()
  }
  return Exit.ok
}

async function runAgent(
  { merchant, accountKey, node, view, api, store, sender }: UnlockedMerchant,
  rejoin: boolean,
  terminal: Terminal,
): Promise<void> {
  const log: AgentLog = (level, event, text, fields = {}) => {
    const time = new Date(terminal.now()).toISOString()
    terminal.err(JSON.stringify({ level, time, event, ...fields, msg: text }))
  }
  const { account, operatorId, operatorUrl, contract, requireIncome } = merchant
  const agent = startAgent({
    ...{ account, accountKey, operatorId, operatorUrl, contract, requireIncome, rejoin },
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

// `datanet device topup`: more tokens in escrow for a device that exists, with operators, the
// contract and the node DIR was enrolled with; never with one that has taken an operator's place.

import { resolve } from 'node:path'
import { parseAmount, shown } from '../device/amounts.ts'
import { openChain, readChain } from '../device/chain.ts'
import type { EnrolledOperator } from '../device/device-file.ts'
import { DeviceError } from '../device/error.ts'
import { type DeviceFile, readDevice, readFolderFile } from '../device/folder.ts'
import { depositTokens, splitEvenly } from '../device/funds.ts'
import { openAccount } from '../device/keystore.ts'
import { askOwnOperator, changeSince, isEmbedded } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { readArguments } from './arguments.ts'
import { enrolledOperator } from './device-operators.ts'
import { CommandError, Exit } from './exit.ts'
import { enrolAgain } from './next.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device topup DIR AMOUNT [--operator URL|NUMBER]… [--json]

Puts AMOUNT whole tokens (like 10 or 0.5) in escrow with the operator of DIR. On an embedded
chain the operator's faucet gives what the account lacks; elsewhere the account spends its own
tokens and needs a little of the chain's coin for gas.

  --operator URL|NUMBER  another operator of DIR (device add-operator). Several times: AMOUNT is
                         split between them in equal parts, in one transaction
  --json                 {"account", "operatorId", "amount", "deposit", "token", "decimals",
                         "transactionHash", "deposits": [{"operatorId", "amount", "deposit"}, …]}

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 69 operator or chain does not answer or tokens are missing, 77 password,
78 DIR is damaged or the operator is another one now.
`

/** Deposits and prints the new escrow. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: 'device topup',
    positionals: ['DIR', 'AMOUNT'],
    options: { operator: { type: 'string', multiple: true }, json: { type: 'boolean' } },
  })
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const { token, operatorUrl, contract, account } = device
  const amount = parseAmount(words.AMOUNT, token.decimals)
  const named = flags.operator ?? [`${device.operatorId}`]
  const operators = named.map((text) => enrolledOperator(text, device, directory))
  const parts = splitEvenly(
    amount,
    operators.map(({ operatorId }) => operatorId),
  )
  for (const one of operators) await refuseChanged(one, device, directory)
  const wallet = await readFolderFile(directory, 'wallet.json')
  const accountKey = await openAccount(wallet, await knownPassword(terminal))
  if (accountOf(accountKey) !== account) {
    throw new DeviceError('damaged', `wallet.json of ${directory} is another account's`)
  }
  const link = openChain(device.rpc)
  try {
    const chain = readChain(link.rpc, contract)
    const chainId = BigInt(device.chainId)
    const nowSeconds = Math.floor(terminal.now() / 1000)
    const transactionHash = await depositTokens(
      { accountKey, parts, operatorUrl, contract, chainId, token },
      { rpc: link.rpc, chain, progress: terminal.err, nowSeconds },
    )
    const deposits = await Promise.all(
      parts.map(async ({ operatorId, amount: part }) => {
        const { deposit } = await chain.escrow(operatorId, account)
        return { operatorId, amount: part.toString(), deposit }
      }),
    )
    if (flags.json === true) {
      const [first] = deposits
      const { symbol, decimals } = token
      const facts = { account: checksumAddress(account), ...first, amount: amount.toString() }
      const rest = { token: symbol, decimals, transactionHash, deposits }
      terminal.out(JSON.stringify({ ...facts, ...rest }, (_, value) => textOf(value)))
    } else {
      for (const { operatorId, deposit } of deposits) {
        const total = shown(deposit, token)
        terminal.out(`escrow    ${total} with operator ${operatorId}`)
      }
    }
    return Exit.ok
  } finally {
    link.close()
  }
}

const textOf = (value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value)

/** A deposit with a contract or an id the operator has left would pay for nothing. */
async function refuseChanged(
  { operatorUrl, operatorId }: EnrolledOperator,
  device: DeviceFile,
  directory: string,
): Promise<void> {
  const operator = await askOwnOperator(operatorUrl).catch((error) => {
    // A chain of its own goes on without the operator; the embedded one is down with it.
    if (isEmbedded(device.rpc) || !(error instanceof DeviceError)) throw error
    return undefined
  })
  const change =
    operator === undefined ? undefined : changeSince({ ...device, operatorId }, operator)
  if (change === undefined) return
  const again = enrolAgain(device, directory)
  throw new CommandError(Exit.configuration, `${change}: enrol again with: ${again}`)
}

// `datanet merchant create`: an account and a BLS key for the owner of access points, tied to one
// operator that has proven itself. Writes DIR whole or not at all; joining is `merchant run`.

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { openChain, readChain } from '../device/chain.ts'
import { newAccountKey } from '../device/enrol.ts'
import { refuseExisting, writeFolder } from '../device/folder.ts'
import { parseOperatorUrl } from '../device/http.ts'
import { openAccount, sealAccount } from '../device/keystore.ts'
import { parseName } from '../device/name.ts'
import { askOperator, type ProvenOperator, proveOperator } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { MERCHANT_FILE, type MerchantFile, merchantJson, WALLET_FILE } from '../merchant/folder.ts'
import { readArguments } from './arguments.ts'
import { CommandError, Exit } from './exit.ts'
import { command, near } from './next.ts'
import { knownPassword, newPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

const DEFAULT_OPERATOR = 'http://127.0.0.1:8080'

export const help = `usage: datanet merchant create NAME [options]

Makes an account for the owner of access points, in a new folder DIR: what its access points earn
is paid to it. The BLS key that signs blocks is derived from the account's key, so wallet.json is
all there is to back up; DIR/merchant.sqlite, written later, proves what is owed: back it up too.
A copy of it does not know what was signed since: once it is put back, start merchant run only
when the operator's commitment window (merchant status: commit) is over.
The operator is asked over HTTP and must prove itself against the contract.

  --operator URL   the operator (default: $DATANET_OPERATOR or ${DEFAULT_OPERATOR})
  --out DIR        the folder to make (default: ./NAME); never one that exists
  --wallet FILE    use the account of this keystore, with its password: a backup, or the account
                   that earns with another operator already
  --rpc URL        a node of your own instead of the operator's
  --json           the result as JSON on stdout

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 69 no operator or not to be trusted, 73 DIR exists, 77 permission.
`

const options = {
  operator: { type: 'string' },
  out: { type: 'string' },
  wallet: { type: 'string' },
  rpc: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** Makes the merchant and says what the operator has to do. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const grammar = { verb: 'merchant create', positionals: ['NAME'], options } as const
  const { flags, words } = readArguments(args, grammar)
  const name = parseName(words.NAME)
  const directory = resolve(flags.out ?? name)
  await refuseExisting(directory)
  const url = parseOperatorUrl(
    flags.operator ?? (terminal.env['DATANET_OPERATOR'] || DEFAULT_OPERATOR),
  )
  const operator = await provenOperator(url, flags.rpc, terminal)
  const { accountKey, wallet } = await accountFor(flags.wallet, terminal)
  const merchant: MerchantFile = {
    ...{ version: 1, name, account: accountOf(accountKey), operatorUrl: url },
    ...{ operatorId: operator.operatorId, operatorName: operator.name },
    ...{ contract: operator.contract, chainId: operator.chainId },
    ...{ rpc: flags.rpc ?? operator.rpc, token: operator.token },
    // The operator offers blocks at a head that it waited for so long; more would be too late.
    ...{ fromBlock: operator.deployBlock ?? 0, confirmations: operator.confirmations ?? 1 },
    requireIncome: false,
  }
  await writeFolder(directory, [
    { name: '.gitignore', content: '*\n' },
    { name: WALLET_FILE, content: wallet },
    { name: MERCHANT_FILE, content: merchantJson(merchant) },
  ])
  report(merchant, directory, flags.json === true, terminal)
  return Exit.ok
}

async function provenOperator(
  url: string,
  rpc: string | undefined,
  terminal: Terminal,
): Promise<ProvenOperator> {
  const answer = await askOperator(url)
  // What proves the operator should come from whom the merchant trusts to read the chain.
  const link = openChain(rpc ?? answer.rpc)
  try {
    const chain = readChain(link.rpc, answer.contract)
    return await proveOperator(url, answer, chain, Math.floor(terminal.now() / 1_000))
  } finally {
    link.close()
  }
}

async function accountFor(
  file: string | undefined,
  terminal: Terminal,
): Promise<{ accountKey: Buffer; wallet: string }> {
  if (file === undefined) {
    const accountKey = newAccountKey(randomBytes)
    return { accountKey, wallet: await sealAccount(accountKey, await newPassword(terminal)) }
  }
  const wallet = await readFile(resolve(file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    const exit = error.code === 'EACCES' ? Exit.permission : Exit.usage
    throw new CommandError(exit, `--wallet ${file} cannot be read (${error.code})`, error)
  })
  return { accountKey: await openAccount(wallet, await knownPassword(terminal)), wallet }
}

function report(
  merchant: MerchantFile,
  directory: string,
  isJson: boolean,
  terminal: Terminal,
): void {
  const { name, operatorUrl, operatorId, chainId } = merchant
  const account = checksumAddress(merchant.account)
  const contract = checksumAddress(merchant.contract)
  if (isJson) {
    const facts = { name, account, directory, operatorUrl, operatorId, contract, chainId }
    terminal.out(JSON.stringify(facts))
    return
  }
  terminal.out(`account   ${account}`)
  terminal.out(`operator  ${operatorId} at ${operatorUrl}: has to name your access points' earner:`)
  terminal.out(`          merchant: "${account}"`)
  terminal.out(`next      ${command('merchant', 'run', near(directory))}`)
}

// `datanet device create`: an account, its certificate and its profiles, enrolled with one
// operator that has proven itself. Writes DIR whole or not at all; a deposit comes after and can
// be repeated.

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { DepositPart } from '../chain/calls.ts'
import { addOperator } from '../device/add-operator.ts'
import { formatAmount, parseAmount, shown } from '../device/amounts.ts'
import { type ChainLink, type ChainReader, openChain, readChain } from '../device/chain.ts'
import { type EnrolledDevice, enrolDevice, newAccountKey } from '../device/enrol.ts'
import { readDevice, refuseExisting, writeFolder } from '../device/folder.ts'
import { depositTokens, faucetLimit, faucetMost, splitEvenly } from '../device/funds.ts'
import { parseOperatorUrl } from '../device/http.ts'
import { parseName } from '../device/name.ts'
import {
  askOperator,
  isEmbedded,
  type OperatorAnswer,
  type ProvenOperator,
  proveOperator,
} from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments, usage } from './arguments.ts'
import { CommandError, Exit, exitOf } from './exit.ts'
import { command, near, testLine } from './next.ts'
import { newPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'device create'
const DEFAULT_OPERATOR = 'http://127.0.0.1:8080'

export const help = `usage: datanet device create NAME [options]

Makes an account for a device, a certificate tied to it, and the profiles it joins Wi-Fi with, in
a new folder DIR. The operator is asked over HTTP and must prove itself: the key of its server
certificate has to be the one in the contract.

  --kind bound|direct  bound (default): a P-256 key bound to the account by its signature.
                       direct: the account's own key, TLS 1.2 only, for small devices
  --deposit AMOUNT     whole tokens to put in escrow at once, like 10 or 0.5; split in equal
                       parts where --operator names several
  --prepay AMOUNT      of the deposit, what the certificate itself pays the operator when the device
                       first joins: for operators that ask newcomers to pay ahead (bound only)
  --operator URL       the operator (default: $DATANET_OPERATOR or ${DEFAULT_OPERATOR}); further
                       ones, of the same contract, each with another --operator
  --out DIR            the folder to make (default: ./NAME); never one that exists
  --key FILE           bind a P-256 key that lives elsewhere: PEM of the private key, the public
                       key or a certificate request
  --ssid SSID          the network the profiles join (default: the operator's name)
  --json               the result as JSON on stdout

The wallet's password comes from $DATANET_PASSWORD, else it is asked for. It also opens NAME.p12.
Exit codes: 64 usage, 69 no operator or not to be trusted, no folder to make DIR in, or more than a
faucet gives; 73 DIR exists, 77 permission.
`

const options = {
  kind: { type: 'string', default: 'bound' },
  deposit: { type: 'string' },
  prepay: { type: 'string' },
  operator: { type: 'string', multiple: true },
  out: { type: 'string' },
  key: { type: 'string' },
  ssid: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** Makes the device; with a deposit that fails DIR stays, and the error says how to go on. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, { verb: VERB, positionals: ['NAME'], options })
  const name = parseName(words.NAME)
  const { kind, ssid } = flags
  if (kind !== 'bound' && kind !== 'direct') throw usage(VERB, '--kind is bound or direct')
  if (kind === 'direct' && flags.key !== undefined) {
    throw usage(VERB, '--key is for --kind bound: a direct device uses its account key')
  }
  if (kind === 'direct' && flags.prepay !== undefined) {
    throw usage(VERB, '--prepay is for --kind bound: a direct certificate carries no voucher')
  }
  const directory = resolve(flags.out ?? name)
  const key = flags.key === undefined ? undefined : await readKey(flags.key)
  await refuseExisting(directory)
  const [named, ...moreNamed] = flags.operator ?? []
  const url = parseOperatorUrl(named ?? (terminal.env['DATANET_OPERATOR'] || DEFAULT_OPERATOR))
  const answer = await askOperator(url)
  const amount = flags.deposit === undefined ? undefined : readDeposit(flags.deposit, answer)
  const prepay = flags.prepay === undefined ? undefined : readPrepay(flags.prepay, amount, answer)
  const link = openChain(answer.rpc)
  try {
    const nowSeconds = Math.floor(terminal.now() / 1000)
    const chain = readChain(link.rpc, answer.contract)
    const operator = await proveOperator(url, answer, chain, nowSeconds)
    const others = await proveOthers(moreNamed, operator, chain, nowSeconds)
    const operators = [operator, ...others]
    for (const one of operators) {
      terminal.err(`operator "${one.name}" at ${one.url} is number ${one.operatorId}`)
    }
    const parts = amount === undefined ? undefined : splitEvenly(amount, idsOf(operators))
    if (prepay !== undefined && prepay > (parts?.[0]?.amount ?? 0n)) {
      throw usage(VERB, `--prepay is more than the part of the deposit that ${url} gets`)
    }
    const password = await newPassword(terminal)
    const accountKey = newAccountKey(randomBytes)
    const enrolled = await enrolDevice({
      ...{ name, kind, operator, directory, accountKey, password, nowSeconds },
      random: randomBytes,
      ...(ssid === undefined ? {} : { ssid }),
      ...(key === undefined ? {} : { key }),
      ...(prepay === undefined ? {} : { prepay }),
    })
    await writeFolder(directory, enrolled.files)
    for (const one of others) await addOperator(directory, await readDevice(directory), one, ssid)
    terminal.err(`wrote ${directory}`)
    const isKeyGiven = flags.key !== undefined
    for (const warning of warnings(enrolled, isKeyGiven, directory)) terminal.err(warning)
    const transactionHash =
      parts === undefined
        ? undefined
        : await firstDeposit({ parts, accountKey, operator, directory }, link, terminal)
    const made = {
      enrolled,
      operator,
      directory,
      parts: parts ?? [],
      transactionHash,
      ssidGiven: ssid !== undefined,
    }
    report(made, flags.json, terminal)
    return Exit.ok
  } finally {
    link.close()
  }
}

/** The further operators. A certificate is bound to one contract: all must have the same. */
async function proveOthers(
  named: readonly string[],
  first: ProvenOperator,
  chain: ChainReader,
  nowSeconds: number,
): Promise<ProvenOperator[]> {
  const others: ProvenOperator[] = []
  for (const text of named) {
    const url = parseOperatorUrl(text)
    const answer = await askOperator(url)
    if (answer.contract !== first.contract || answer.chainId !== first.chainId) {
      const problem = `${url} uses another contract than ${first.url}`
      throw new CommandError(Exit.unavailable, `${problem}: make a device of its own for it`)
    }
    others.push(await proveOperator(url, answer, chain, nowSeconds))
  }
  const ids = idsOf([first, ...others])
  if (new Set(ids).size !== ids.length) throw usage(VERB, 'an operator is named twice')
  return others
}

const idsOf = (operators: readonly ProvenOperator[]): number[] =>
  operators.map(({ operatorId }) => operatorId)

/** A new account has no tokens: on an embedded chain more than the faucet gives can only fail. */
function readDeposit(text: string, { token, rpc }: OperatorAnswer): bigint {
  const amount = parseAmount(text, token.decimals)
  const most = faucetMost(token)
  if (isEmbedded(rpc) && amount > most) {
    const sum = shown(most, token)
    const problem = `--deposit ${text} is more than the ${sum} a device can draw at once`
    throw new CommandError(Exit.unavailable, `${problem}: ${faucetLimit(token)}`)
  }
  return amount
}

/** A voucher above the deposit would be refused, and the certificate carry it in vain. */
function readPrepay(text: string, deposit: bigint | undefined, { token }: OperatorAnswer): bigint {
  const amount = parseAmount(text, token.decimals)
  if (deposit === undefined || amount > deposit) {
    throw usage(VERB, `--prepay ${text} needs a --deposit of as much or more`)
  }
  return amount
}

async function readKey(file: string): Promise<{ path: string; pem: string }> {
  const path = resolve(file)
  try {
    return { path, pem: await readFile(path, 'utf8') }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const exit = code === 'EACCES' ? Exit.permission : Exit.usage
    throw new CommandError(exit, `--key ${file} cannot be read (${code})`, error)
  }
}

function warnings(
  { device, leftOut }: EnrolledDevice,
  keyGiven: boolean,
  directory: string,
): string[] {
  const said = leftOut === undefined ? [] : [leftOut]
  const { hostname } = new URL(device.operatorUrl)
  if (/^(127\.|localhost$|\[::1\])/.test(hostname)) {
    const way = command('device', 'add-operator', near(directory), 'URL')
    said.push(`it pays at ${device.operatorUrl}, on this machine; used on another: ${way}`)
  }
  if (device.kind === 'direct') {
    said.push('warning: key.pem holds the account key itself, unencrypted: it is the money')
  }
  if (keyGiven && device.privateKey === 'key.pem') {
    said.push('the key stays where it is: put its reference at key.pem, or name it in private_key')
  }
  return said
}

interface FirstDeposit {
  readonly parts: readonly DepositPart[]
  readonly accountKey: Buffer
  readonly operator: ProvenOperator
  readonly directory: string
}

const sumOf = (parts: readonly DepositPart[]): bigint =>
  parts.reduce((sum, { amount }) => sum + amount, 0n)

async function firstDeposit(
  { parts, accountKey, operator, directory }: FirstDeposit,
  { rpc }: ChainLink,
  terminal: Terminal,
): Promise<string> {
  const { contract, token } = operator
  const chainId = BigInt(operator.chainId)
  const deposit = { accountKey, parts, operatorUrl: operator.url, contract, chainId }
  const chain = readChain(rpc, contract)
  const progress = terminal.err
  const nowSeconds = Math.floor(terminal.now() / 1000)
  try {
    return await depositTokens({ ...deposit, token }, { rpc, chain, progress, nowSeconds })
  } catch (error) {
    const { message } = exitOf(error)
    const sum = formatAmount(sumOf(parts), token.decimals)
    const named = parts.flatMap(({ operatorId }) => ['--operator', `${operatorId}`])
    const again = command(
      'device',
      'topup',
      near(directory),
      sum,
      ...(parts.length > 1 ? named : []),
    )
    const problem = `the device is made, but its deposit failed: ${message}; go on with: ${again}`
    throw new CommandError(Exit.unavailable, problem, error)
  }
}

interface Made {
  readonly enrolled: EnrolledDevice
  readonly operator: ProvenOperator
  readonly directory: string
  /** Empty: nothing was deposited. */
  readonly parts: readonly DepositPart[]
  readonly transactionHash: string | undefined
  readonly ssidGiven: boolean
}

function report(made: Made, json: boolean | undefined, terminal: Terminal): void {
  const { enrolled, operator, directory, parts, transactionHash } = made
  const { device, notAfter, ssid } = enrolled
  const { decimals, symbol } = operator.token
  if (json === true) {
    const { name, kind, operatorUrl, operatorId, chainId } = device
    const account = checksumAddress(device.account)
    const contract = checksumAddress(device.contract)
    const facts = { name, kind, account, directory, operatorUrl, operatorId, contract, chainId }
    const amounts = { deposit: sumOf(parts).toString(), token: symbol, decimals }
    const hash = transactionHash ?? null
    terminal.out(JSON.stringify({ ...facts, ...amounts, transactionHash: hash, notAfter, ssid }))
    return
  }
  terminal.out(`account   ${checksumAddress(device.account)}`)
  const nothing = [{ operatorId: operator.operatorId, amount: 0n }]
  for (const { operatorId, amount } of parts.length === 0 ? nothing : parts) {
    terminal.out(
      `escrow    ${formatAmount(amount, decimals)} ${symbol} with operator ${operatorId}`,
    )
  }
  terminal.out(`valid     until ${new Date(notAfter * 1000).toISOString()}`)
  terminal.out(`profiles  in ${near(directory)}/, for the network "${ssid}"`)
  if (!made.ssidGiven) {
    const any = 'any network of this operator (name one with --ssid)'
    terminal.out(`          wpa_supplicant.conf: ${any}`)
  }
  if (parts.length === 0) {
    terminal.out(`topup     ${command('device', 'topup', near(directory), '10')}`)
  }
  const { kind, operatorUrl } = device
  const authPort = operator.radius?.auth
  terminal.out(`test      ${testLine({ directory, kind, operatorUrl, authPort })}`)
  if (kind === 'direct') {
    const told = "the device's own OpenSSL must be told of secp256k1 in the same way"
    terminal.out(`          ${told}: start wpa_supplicant with that OPENSSL_CONF, as a full path`)
  }
}

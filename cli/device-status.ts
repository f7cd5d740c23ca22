// `datanet device status`: what DIR, the chain and the operator say about a device, each as far as
// it can be learnt now. Needs no password: it reads nothing secret.

import { X509Certificate } from 'node:crypto'
import { resolve } from 'node:path'
import {
  checkValidity,
  type DeviceIdentity,
  identityDomain,
  isRefused,
  readIdentity,
} from '../certs/identity.ts'
import { formatAmount } from '../device/amounts.ts'
import { type Escrow, openChain, readChain } from '../device/chain.ts'
import { DeviceError } from '../device/error.ts'
import { type DeviceFile, readDevice, readFolderFile } from '../device/folder.ts'
import { type MovedPath, movedPaths } from '../device/moved.ts'
import { askOwnOperator, changeSince, isEmbedded, type OperatorAnswer } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { Exit, exitOf } from './exit.ts'
import { enrolAgain, near, shellQuote, testLine } from './next.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device status DIR [--json]

Shows the account of DIR, its escrow with the operator (deposited, promised in vouchers, withdrawn
by merchants), the tokens it still holds, its certificate, whether its key was revoked on chain,
whether the operator answers and is still the same, and whether DIR was moved.

  --json   everything as one object, amounts in base units, null for what could not be learnt

Exit codes: 0 when all could be learnt and the certificate is good, 64 no such DIR, 69 the operator
or the chain does not answer, 78 DIR is damaged, its certificate cannot be used any more, or the
operator runs another contract now.
`

/** What the chain says of the device. */
interface OnChain extends Escrow {
  readonly tokenBalance: bigint
  readonly deviceKey: 'unset' | 'enabled' | 'disabled'
}

/** What cert.pem is worth now; `problem` says why it would be refused. */
interface CertificateState {
  readonly spkiSha256: string
  readonly notBefore: number
  readonly notAfter: number
  readonly daysLeft: number
  readonly problem: string | null
}

const DAY_SECONDS = 86_400
// Of 30: a week holds a day on which somebody is there to make the new one.
const DAYS_LEFT_LOW = 7

/** Prints the state; the exit code says whether it is whole. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: 'device status',
    positionals: ['DIR'],
    options: { json: { type: 'boolean' } },
  })
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const pem = await readFolderFile(directory, 'cert.pem')
  const certificate = readCertificate(pem, device, Math.floor(terminal.now() / 1000))
  const { onChain, operator, change } = await askBoth(device, certificate.spkiSha256, terminal)
  const problem = certificate.problem ?? (onChain?.deviceKey === 'disabled' ? REVOKED : null)
  const conf = await readFolderFile(directory, 'wpa_supplicant.conf').catch(() => '')
  const moved = await movedPaths(conf, device, directory)
  const shownCertificate = { ...certificate, problem }
  const state = { certificate: shownCertificate, onChain, operator, change, moved }
  for (const line of advice(device, directory, state)) terminal.err(line)
  if (flags.json === true) terminal.out(JSON.stringify(asJson(device, directory, state)))
  else for (const line of asText(device, directory, state)) terminal.out(line)
  if (problem !== null || change !== undefined) return Exit.configuration
  return onChain === undefined || operator === undefined ? Exit.unavailable : Exit.ok
}

type Asked = Pick<State, 'onChain' | 'operator' | 'change'>

/** Chain and operator at once; what fails is said, once where one cause explains both. */
async function askBoth(device: DeviceFile, spkiSha256: string, terminal: Terminal): Promise<Asked> {
  const [read, asked] = await Promise.allSettled([
    readOnChain(device, spkiSha256),
    askOwnOperator(device.operatorUrl),
  ])
  const onChain = read.status === 'fulfilled' ? read.value : undefined
  const operator = asked.status === 'fulfilled' ? asked.value : undefined
  const change = operator === undefined ? undefined : changeSince(device, operator)
  if (asked.status === 'rejected') terminal.err(`datanet: ${exitOf(asked.reason).message}`)
  // The embedded chain is down with its operator, and another contract is why the old one is gone.
  const explained = change !== undefined || (operator === undefined && isEmbedded(device.rpc))
  if (read.status === 'rejected' && !explained) {
    terminal.err(`datanet: ${exitOf(read.reason).message}`)
  }
  return { onChain, operator, change }
}

/** What the person can do, a line each. */
function advice(device: DeviceFile, directory: string, state: State): string[] {
  const { certificate, change, moved } = state
  const again = enrolAgain(device, directory)
  const said: string[] = []
  if (change !== undefined) said.push(`datanet: ${change}: enrol again with: ${again}`)
  else if (certificate.problem !== null) said.push(`datanet: make a new device: ${again}`)
  else if (certificate.daysLeft < DAYS_LEFT_LOW) {
    const what = 'make a new device (what this one has in escrow stays its own)'
    said.push(`warning: the certificate ends in ${certificate.daysLeft} days; ${what}: ${again}`)
  }
  const [first] = moved
  if (first !== undefined) {
    const edits = moved.flatMap(({ setting, line }) => ['-e', `s|${setting}=.*|${line}|`])
    const words = ['sed', '-i', ...edits, `${near(directory)}/wpa_supplicant.conf`]
    const mend = `move the folder back, or run: ${words.map(shellQuote).join(' ')}`
    said.push(`warning: wpa_supplicant.conf names ${first.named}, not this folder: ${mend}`)
  }
  return said
}

const REVOKED = 'its key was revoked on chain, for good'

function readCertificate(pem: string, device: DeviceFile, nowSeconds: number): CertificateState {
  let der: Buffer
  try {
    der = new X509Certificate(pem).raw
  } catch (error) {
    throw new DeviceError('damaged', 'cert.pem is no certificate', error)
  }
  const found = readIdentity(der, identityDomain(BigInt(device.chainId), device.contract))
  if (isRefused(found)) {
    throw new DeviceError('damaged', `cert.pem: ${found.refusal}, ${found.detail}`)
  }
  const identity: DeviceIdentity = found
  if (identity.account !== device.account) {
    throw new DeviceError('damaged', `cert.pem is of ${identity.account}, not of this device`)
  }
  const { spkiSha256, notBefore, notAfter } = identity
  const daysLeft = Math.max(0, Math.floor((notAfter - nowSeconds) / DAY_SECONDS))
  const problem = checkValidity(identity, nowSeconds)?.refusal ?? null
  return { spkiSha256, notBefore, notAfter, daysLeft, problem }
}

async function readOnChain(device: DeviceFile, spkiSha256: string): Promise<OnChain> {
  const link = openChain(device.rpc)
  try {
    const chain = readChain(link.rpc, device.contract)
    const { account, operatorId, token } = device
    return {
      ...(await chain.escrow(operatorId, account)),
      tokenBalance: await chain.tokenBalance(token.address, account),
      deviceKey: await chain.deviceKey(account, spkiSha256),
    }
  } finally {
    link.close()
  }
}

interface State {
  readonly certificate: CertificateState
  readonly onChain: OnChain | undefined
  readonly operator: OperatorAnswer | undefined
  /** Why the operator is not the one of DIR any more. */
  readonly change: string | undefined
  readonly moved: readonly MovedPath[]
}

function asJson(device: DeviceFile, directory: string, state: State): object {
  const { name, kind, operatorUrl, operatorId, chainId, token } = device
  const { onChain } = state
  const base = { name, kind, account: checksumAddress(device.account), directory }
  return {
    ...base,
    operator: {
      ...{ url: operatorUrl, operatorId },
      reachable: state.operator !== undefined,
      change: state.change ?? null,
    },
    contract: checksumAddress(device.contract),
    chainId,
    token: { ...token, address: checksumAddress(token.address) },
    escrow:
      onChain === undefined
        ? null
        : {
            deposit: onChain.deposit.toString(),
            reserved: onChain.reserved.toString(),
            highestVoucher: onChain.highestVoucher.toString(),
            withdrawn: onChain.withdrawn.toString(),
          },
    tokenBalance: onChain?.tokenBalance.toString() ?? null,
    certificate: state.certificate,
    deviceKey: onChain?.deviceKey ?? null,
    moved: state.moved.map(({ setting, named }) => ({ setting, named })),
  }
}

function asText(device: DeviceFile, directory: string, state: State): string[] {
  const { certificate, onChain, operator, change } = state
  const { token, kind, operatorUrl } = device
  const authPort = operator?.radius?.auth
  const shown = (amount: bigint): string => formatAmount(amount, token.decimals)
  const until = new Date(certificate.notAfter * 1000).toISOString()
  const good = `good until ${until}, ${certificate.daysLeft} days left`
  const answers = operator === undefined ? 'does not answer' : 'answers'
  const lines = [
    `account      ${checksumAddress(device.account)} (${device.kind})`,
    `operator     ${device.operatorId} at ${device.operatorUrl}: ${answers}`,
    `certificate  ${certificate.problem === null ? good : `${certificate.problem} (${until})`}`,
  ]
  const test = `test         ${testLine({ directory, kind, operatorUrl, authPort })}`
  if (onChain === undefined) {
    const reason = change === undefined ? 'the chain was not read' : 'its contract is not there'
    return [...lines, `escrow       unknown: ${reason}`, test]
  }
  const { deposit, highestVoucher, withdrawn, tokenBalance, deviceKey } = onChain
  return [
    ...lines,
    `escrow       ${shown(deposit)} ${token.symbol} deposited, ${shown(highestVoucher)} promised, ${shown(withdrawn)} withdrawn`,
    `tokens       ${shown(tokenBalance)} ${token.symbol} not in escrow`,
    `key          ${deviceKey === 'disabled' ? 'revoked' : 'not revoked'}`,
    test,
  ]
}

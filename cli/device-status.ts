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
import { readBlockClock, readShift } from '../chain/shift-calls.ts'
import { formatAmount } from '../device/amounts.ts'
import { type ChainLink, type Escrow, openChain, readChain } from '../device/chain.ts'
import { operatorsOf } from '../device/device-file.ts'
import { DeviceError } from '../device/error.ts'
import { type DeviceFile, readDevice, readFolderFile } from '../device/folder.ts'
import { type MovedPath, movedPaths } from '../device/moved.ts'
import { askOwnOperator, changeSince, isEmbedded, type OperatorAnswer } from '../device/operator.ts'
import { type ShiftStep, shiftStep } from '../device/shift-step.ts'
import { openVouchers } from '../device/vouchers-file.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { Exit, exitOf } from './exit.ts'
import { enrolAgain, near, shellQuote, testLine } from './next.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device status DIR [--json]

Shows the account of DIR, its escrow with each of its operators (deposited, promised in vouchers,
withdrawn by merchants), a shift of it that is pending, the tokens it still holds, its certificate,
whether its key was revoked on chain, whether the operator answers and is still the same, and
whether DIR was moved.

  --json   everything as one object, amounts in base units, null for what could not be learnt

Exit codes: 0 when all could be learnt and the certificate is good, 64 no such DIR, 69 the operator
or the chain does not answer, 78 DIR is damaged, its certificate cannot be used any more, or the
operator runs another contract now.
`

/** What the chain says of the device. */
interface OnChain extends Escrow {
  /** With every operator of DIR, the one it was made with first. */
  readonly escrows: readonly OperatorEscrow[]
  readonly tokenBalance: bigint
  readonly deviceKey: 'unset' | 'enabled' | 'disabled'
}

/** The escrow with one operator, and what is asked to move away from it. */
interface OperatorEscrow extends Escrow {
  readonly operatorId: number
  readonly operatorUrl: string
  readonly shift: PendingShift | undefined
}

interface PendingShift {
  readonly to: number
  readonly amount: bigint
  readonly step: ShiftStep
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
  const { onChain, operator, change } = await askBoth(device, certificate, terminal)
  const problem = certificate.problem ?? (onChain?.deviceKey === 'disabled' ? REVOKED : null)
  const conf = await readFolderFile(directory, 'wpa_supplicant.conf').catch(() => '')
  const moved = await movedPaths(conf, device, directory)
  const shownCertificate = { ...certificate, problem }
  const vouchers = await openVouchers(directory)
  const signedTo = (operatorId: number): bigint => vouchers.book(operatorId).signed
  const state = { certificate: shownCertificate, onChain, operator, change, moved, signedTo }
  for (const line of advice(device, directory, state)) terminal.err(line)
  if (flags.json === true) terminal.out(JSON.stringify(asJson(device, directory, state)))
  else for (const line of asText(device, directory, state)) terminal.out(line)
  if (problem !== null || change !== undefined) return Exit.configuration
  return onChain === undefined || operator === undefined ? Exit.unavailable : Exit.ok
}

type Asked = Pick<State, 'onChain' | 'operator' | 'change'>

/** Chain and operator at once; what fails is said, once where one cause explains both. */
async function askBoth(
  device: DeviceFile,
  { spkiSha256 }: CertificateState,
  terminal: Terminal,
): Promise<Asked> {
  const [read, asked] = await Promise.allSettled([
    readOnChain(device, spkiSha256, Math.floor(terminal.now() / 1000)),
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

async function readOnChain(
  device: DeviceFile,
  spkiSha256: string,
  nowSeconds: number,
): Promise<OnChain> {
  const link = openChain(device.rpc)
  try {
    const chain = readChain(link.rpc, device.contract)
    const { account, operatorId, token } = device
    const escrows: OperatorEscrow[] = []
    for (const one of operatorsOf(device)) {
      const escrow = await chain.escrow(one.operatorId, account)
      const shift = await pendingShift(device, one.operatorId, link.rpc, nowSeconds)
      const { operatorId, operatorUrl } = one
      escrows.push({ operatorId, operatorUrl, ...escrow, shift })
    }
    return {
      ...(escrows[0] ?? (await chain.escrow(operatorId, account))),
      escrows,
      tokenBalance: await chain.tokenBalance(token.address, account),
      deviceKey: await chain.deviceKey(account, spkiSha256),
    }
  } finally {
    link.close()
  }
}

async function pendingShift(
  { contract, account }: DeviceFile,
  operatorId: number,
  rpc: ChainLink['rpc'],
  nowSeconds: number,
): Promise<PendingShift | undefined> {
  const access = { rpc, contract }
  const shift = await readShift(access, operatorId, account)
  if (shift.requestedAt === 0) return undefined
  const clock = await readBlockClock(access, operatorId)
  return { to: shift.to, amount: shift.amount, step: shiftStep(shift, clock, nowSeconds) }
}

interface State {
  readonly certificate: CertificateState
  readonly onChain: OnChain | undefined
  readonly operator: OperatorAnswer | undefined
  /** Why the operator is not the one of DIR any more. */
  readonly change: string | undefined
  readonly moved: readonly MovedPath[]
  /** The highest voucher of DIR; the chain sees one only when it is redeemed or contested. */
  readonly signedTo: (operatorId: number) => bigint
}

const promisedTo = ({ signedTo }: State, operatorId: number, { highestVoucher }: Escrow): bigint =>
  signedTo(operatorId) > highestVoucher ? signedTo(operatorId) : highestVoucher

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
    escrow: onChain === undefined ? null : amountsOf(onChain),
    escrows:
      onChain?.escrows.map((one) => ({
        ...{ operatorId: one.operatorId, url: one.operatorUrl, ...amountsOf(one) },
        promised: `${promisedTo(state, one.operatorId, one)}`,
        shift: one.shift === undefined ? null : shiftJson(one.shift),
      })) ?? null,
    tokenBalance: onChain?.tokenBalance.toString() ?? null,
    certificate: state.certificate,
    deviceKey: onChain?.deviceKey ?? null,
    moved: state.moved.map(({ setting, named }) => ({ setting, named })),
  }
}

const amountsOf = ({ deposit, reserved, highestVoucher, withdrawn }: Escrow): object => ({
  ...{ deposit: `${deposit}`, reserved: `${reserved}` },
  ...{ highestVoucher: `${highestVoucher}`, withdrawn: `${withdrawn}` },
})

function shiftJson({ to, amount, step }: PendingShift): object {
  const { waitsFor, challengeEndsAt, blockFromAt = null, dueAt } = step
  return { to, amount: `${amount}`, waitsFor, challengeEndsAt, blockFromAt, dueAt }
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
  const { tokenBalance, deviceKey, escrows } = onChain
  return [
    ...lines,
    ...escrows.flatMap((one) => escrowLines(one, device, promisedTo(state, one.operatorId, one))),
    `tokens       ${shown(tokenBalance)} ${token.symbol} not in escrow`,
    `key          ${deviceKey === 'disabled' ? 'revoked' : 'not revoked'}`,
    test,
  ]
}

function escrowLines(one: OperatorEscrow, device: DeviceFile, promised: bigint): string[] {
  const { operatorId, deposit, withdrawn, shift } = one
  const { decimals, symbol } = device.token
  const shown = (amount: bigint): string => formatAmount(amount, decimals)
  const sums = `${shown(promised)} promised, ${shown(withdrawn)} withdrawn`
  const which = operatorId === device.operatorId ? '' : `, with operator ${operatorId}`
  const line = `escrow       ${shown(deposit)} ${symbol} deposited, ${sums}${which}`
  if (shift === undefined) return [line]
  const moves = `${shown(shift.amount)} ${symbol} from operator ${operatorId} to ${shift.to}`
  const due = new Date(shift.step.dueAt * 1000).toISOString()
  return [line, `shift        ${moves}, not before ${due} (waits for: ${shift.step.waitsFor})`]
}

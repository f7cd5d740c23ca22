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
import { askOperator } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { Exit, exitOf } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device status DIR [--json]

Shows the account of DIR, its escrow with the operator (deposited, promised in vouchers, withdrawn
by merchants), the tokens it still holds, its certificate, whether its key was revoked on chain,
and whether the operator answers.

  --json   everything as one object, amounts in base units, null for what could not be learnt

Exit codes: 0 when all could be learnt and the certificate is good, 64 no such DIR, 69 the operator
or the chain does not answer, 78 DIR is damaged or its certificate cannot be used any more.
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
  const tell = (error: unknown): undefined => {
    terminal.err(`datanet: ${exitOf(error).message}`)
    return undefined
  }
  const [onChain, operator] = await Promise.all([
    readOnChain(device, certificate.spkiSha256).catch(tell),
    askOperator(device.operatorUrl).catch(tell),
  ])
  const problem = certificate.problem ?? (onChain?.deviceKey === 'disabled' ? REVOKED : null)
  const state = {
    certificate: { ...certificate, problem },
    onChain,
    reachable: operator !== undefined,
  }
  if (flags.json === true) terminal.out(JSON.stringify(asJson(device, directory, state)))
  else for (const line of asText(device, state)) terminal.out(line)
  if (problem !== null) return Exit.configuration
  return onChain === undefined || operator === undefined ? Exit.unavailable : Exit.ok
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
  readonly reachable: boolean
}

function asJson(device: DeviceFile, directory: string, state: State): object {
  const { name, kind, operatorUrl, operatorId, chainId, token } = device
  const { onChain } = state
  const base = { name, kind, account: checksumAddress(device.account), directory }
  return {
    ...base,
    operator: { url: operatorUrl, operatorId, reachable: state.reachable },
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
  }
}

function asText(device: DeviceFile, { certificate, onChain, reachable }: State): string[] {
  const { token } = device
  const shown = (amount: bigint): string => formatAmount(amount, token.decimals)
  const until = new Date(certificate.notAfter * 1000).toISOString()
  const good = `good until ${until}, ${certificate.daysLeft} days left`
  const answers = reachable ? 'answers' : 'does not answer'
  const lines = [
    `account      ${checksumAddress(device.account)} (${device.kind})`,
    `operator     ${device.operatorId} at ${device.operatorUrl}: ${answers}`,
    `certificate  ${certificate.problem === null ? good : `${certificate.problem} (${until})`}`,
  ]
  if (onChain === undefined) return [...lines, 'escrow       unknown: the chain does not answer']
  const { deposit, highestVoucher, withdrawn, tokenBalance, deviceKey } = onChain
  return [
    ...lines,
    `escrow       ${shown(deposit)} ${token.symbol} deposited, ${shown(highestVoucher)} promised, ${shown(withdrawn)} withdrawn`,
    `tokens       ${shown(tokenBalance)} ${token.symbol} not in escrow`,
    `key          ${deviceKey === 'disabled' ? 'revoked' : 'not revoked'}`,
  ]
}

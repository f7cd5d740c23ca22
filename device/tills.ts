// The tills of a device: one for each operator it is enrolled with, opened when first needed. Owns
// who signs an operator's receipts. Called by run.ts and pay.ts.

import { checksumAddress, parseAddress } from '../ethereum/address.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { noteTpmKey } from './activity-key.ts'
import { type DeviceFile, type EnrolledOperator, operatorsOf } from './device-file.ts'
import { DeviceError } from './error.ts'
import { requestJson } from './http.ts'
import { type EnrolledKey, enrolFirst } from './metering-enrolment.ts'
import { type MeteringSigner, openSoftwareKey } from './metering-key.ts'
import type { PayingTo } from './operator-api.ts'
import type { RunEvent } from './run-events.ts'
import { openTill, type Till } from './till.ts'
import { findTpm, openTpmKey } from './tpm-key.ts'
import { createUsageReporter } from './usage-reporter.ts'
import type { VouchersFile } from './vouchers-file.ts'

/** Whose tills, and where their books are. */
export interface TillsDeps {
  readonly directory: string
  readonly device: DeviceFile
  readonly accountKey: Buffer
  readonly vouchers: VouchersFile
  readonly now: () => number
  /** With it, usage is reported, signed, and it is told of that. */
  readonly reports?: ReportsDeps
}

/** Which key signs usage: the TPM's, one in software, or the better one that is taken. */
export type MeteringKeyChoice = 'auto' | 'tpm' | 'software'

export interface ReportsDeps {
  readonly emit: (event: RunEvent) => void
  readonly meteringKey: MeteringKeyChoice
  /** Where TPM2TOOLS_TCTI may stand. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** A till and what it pays to. */
export interface OpenTill {
  readonly till: Till
  readonly to: PayingTo
}

/** Opens the till of one of the device's operators; throws DeviceError 'usage' for another's. */
export function createTills(deps: TillsDeps): (operatorId: number) => Promise<OpenTill> {
  const open = new Map<number, OpenTill>()
  const { device, accountKey } = deps
  const domain = payPlaceDomain(device.chainId, device.contract)
  return async (operatorId) => {
    const known = open.get(operatorId)
    if (known !== undefined) return known
    const operator = operatorsOf(device).find((one) => one.operatorId === operatorId)
    if (operator === undefined) {
      throw new DeviceError('usage', `the device is not enrolled with operator ${operatorId}`)
    }
    const { account, contract } = device
    const operatorAccount = operator.operatorAccount ?? (await askAccount(device, operator))
    const to = {
      url: operator.operatorUrl,
      operatorId,
      operatorAccount,
      account,
      accountKey,
      domain,
    }
    const escrow = { rpc: operator.rpc, contract, operatorId, account }
    const { directory, reports } = deps
    const ways = reports === undefined ? [] : waysOf(reports, directory, operatorId)
    const reporter =
      reports === undefined
        ? undefined
        : createUsageReporter({ enrol: () => enrolled(directory, to, ways), emit: reports.emit })
    const made = { till: openTill({ ...deps, to, escrow, reporter }), to }
    open.set(operatorId, made)
    return made
  }
}

/** Enrols one of the keys; whether it is the TPM's stands in DIR. */
async function enrolled(
  directory: string,
  to: PayingTo,
  ways: Parameters<typeof enrolFirst>[1],
): Promise<EnrolledKey> {
  const key = await enrolFirst(to, ways)
  const { scheme, publicKey } = key.signer
  const { operatorId } = to
  if (scheme === 'tpm') await noteTpmKey({ directory, operatorId }, publicKey)
  return key
}

function waysOf(
  { meteringKey, environment }: ReportsDeps,
  directory: string,
  operatorId: number,
): (() => Promise<MeteringSigner>)[] {
  const tpm = async () => openTpmKey(await findTpm(environment))
  const software = () => openSoftwareKey(directory, operatorId)
  return { auto: [tpm, software], tpm: [tpm], software: [software] }[meteringKey]
}

/** For a folder of an older version: what the operator says, where it is still the same one. */
async function askAccount(device: DeviceFile, { operatorUrl, operatorId }: EnrolledOperator) {
  const { body } = await requestJson(`${operatorUrl}/v1/operator`)
  const said = body as { account?: unknown; operatorId?: unknown; contract?: unknown } | null
  const account = typeof said?.account === 'string' ? parseAddress(said.account) : undefined
  const isSame =
    said?.operatorId === operatorId && said.contract === checksumAddress(device.contract)
  if (account !== undefined && isSame) return account
  throw new DeviceError('refused', `the operator at ${operatorUrl} is another one now`)
}

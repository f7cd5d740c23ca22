// Operators as people name them after --operator, --to and --from: a number of the contract, or the
// URL of one. Those a DIR is enrolled with are known without asking anybody; another one has to
// answer and prove itself. Called by the device verbs.

import { type ChainReader, readChain } from '../device/chain.ts'
import { type DeviceFile, type EnrolledOperator, operatorsOf } from '../device/device-file.ts'
import { DeviceError } from '../device/error.ts'
import { parseOperatorUrl } from '../device/http.ts'
import { askOperator, proveOperator } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { command, near } from './next.ts'

const NUMBER = /^[1-9]\d{0,9}$/

/** The URL, where it is one, and the operator of DIR that is meant, where DIR has it. */
function named(text: string, device: DeviceFile) {
  const url = NUMBER.test(text) ? undefined : parseOperatorUrl(text)
  const found = operatorsOf(device).find(({ operatorId, operatorUrl }) =>
    url === undefined ? operatorId === Number(text) : operatorUrl === url,
  )
  return { url, found }
}

/** The operator of DIR that is meant. Throws DeviceError 'usage' where DIR has no such one. */
export function enrolledOperator(
  text: string,
  device: DeviceFile,
  directory: string,
): EnrolledOperator {
  const { url, found } = named(text, device)
  if (found !== undefined) return found
  const way = command('device', 'add-operator', near(directory), url ?? 'URL')
  throw new DeviceError('usage', `the device is not enrolled with operator ${text}: ${way}`)
}

/** An operator to which escrow may go, enrolled with or not. */
export interface Destination {
  readonly operatorId: number
  readonly isEnrolled: boolean
}

/**
 * The operator that is meant, active in the device's contract. Throws DeviceError 'refused' where
 * it is not, 'unavailable' where nobody answers.
 */
export async function destinationOf(
  text: string,
  device: DeviceFile,
  chain: ChainReader,
  link: Parameters<typeof readChain>[0],
  nowSeconds: number,
): Promise<Destination> {
  const { url, found } = named(text, device)
  const operatorId =
    found?.operatorId ??
    (url === undefined ? Number(text) : await askId(url, device, link, nowSeconds))
  const registered = await chain.operator(operatorId)
  if (registered?.active !== true) {
    const why = registered === undefined ? 'is not known to the contract' : 'has retired'
    throw new DeviceError('refused', `operator ${operatorId} ${why}`)
  }
  return { operatorId, isEnrolled: found !== undefined }
}

async function askId(
  url: string,
  device: DeviceFile,
  link: Parameters<typeof readChain>[0],
  nowSeconds: number,
): Promise<number> {
  const answer = await askOperator(url)
  const { contract, chainId, operatorId } = answer
  if (contract !== device.contract || chainId !== device.chainId) {
    const where = `contract ${checksumAddress(contract)} on chain ${chainId}`
    throw new DeviceError('refused', `the operator at ${url} uses ${where}, not the device's`)
  }
  await proveOperator(url, answer, readChain(link, contract), nowSeconds)
  return operatorId
}

// A further operator for a device: its CA, its network block, its entry in device.json. Same chain
// and contract only, since a certificate is bound to them. Adds, never replaces what a person
// wrote. Called by the cli's `device add-operator`; the operator has proven itself before.

import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { realmOf } from '../certs/operator.ts'
import { wpaSupplicantConf } from '../certs/profiles/wpa_supplicant.ts'
import { isRoot } from '../certs/server-chain.ts'
import { sha256 } from '../certs/x509.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { type DeviceFile, deviceJson, type EnrolledOperator, operatorsOf } from './device-file.ts'
import { DeviceError } from './error.ts'
import { blockText, operatorCaFile } from './network-block.ts'
import type { ProvenOperator } from './operator.ts'
import { writeDurably } from './vouchers-file.ts'

/**
 * Writes CA and network block first and device.json last, so that a failure leaves the device as it
 * was. An operator that it has is only asked at its new URL from then on ('moved'). Throws
 * DeviceError 'exists' where it is asked there already, 'refused' for another contract.
 */
export async function addOperator(
  directory: string,
  device: DeviceFile,
  operator: ProvenOperator,
  ssid: string | undefined,
): Promise<'added' | 'moved'> {
  if (movedTo(device, operator)) {
    await writeDurably(directory, 'device.json', deviceJson(atNewUrl(device, operator)))
    return 'moved'
  }
  const [leafPem, caPem] = operator.certificates
  const rootPem = caPem !== undefined && isRoot(caPem) ? caPem : undefined
  const caFile = operatorCaFile(operator.operatorId)
  if (rootPem !== undefined) await writeDurably(directory, caFile, rootPem)
  const at = resolve(directory)
  const { privateKey, kind } = device
  const block = wpaSupplicantConf({
    kind,
    realm: realmOf(operator.name),
    ...(rootPem === undefined
      ? { certificateSha256: sha256(new X509Certificate(leafPem).raw).toString('hex') }
      : { caPath: join(at, caFile), serverName: operator.serverName }),
    certificatePath: join(at, 'cert.pem'),
    keyPath: isAbsolute(privateKey) ? privateKey : join(at, privateKey),
    ...(ssid === undefined ? {} : { ssid }),
  })
  const path = join(directory, 'wpa_supplicant.conf')
  const conf = await readFile(path, 'utf8').catch(() => '')
  const marked = blockText(block, operator.operatorId)
  // A block that an interrupted run left behind is the same one.
  if (!conf.includes(marked)) {
    await writeDurably(directory, 'wpa_supplicant.conf', `${conf}${marked}`)
  }
  const moreOperators = [...(device.moreOperators ?? []), entryOf(operator)]
  await writeDurably(directory, 'device.json', deviceJson({ ...device, moreOperators }))
  return 'added'
}

/** Whether the device has it, by another URL. Number, contract and chain are who an operator is. */
function movedTo(device: DeviceFile, operator: ProvenOperator): boolean {
  const { contract, chainId, operatorId, url } = operator
  if (contract !== device.contract || chainId !== device.chainId) {
    const where = `contract ${checksumAddress(contract)} on chain ${chainId}`
    const way = 'this certificate is bound to another: make a device of its own for it'
    throw new DeviceError('refused', `the operator at ${operator.url} uses ${where}; ${way}`)
  }
  const known = operatorsOf(device).find((one) => one.operatorId === operatorId)
  if (known?.operatorUrl === url) {
    const problem = `the device is enrolled with operator ${operatorId} already`
    throw new DeviceError('exists', problem)
  }
  return known !== undefined
}

/** The chain's URL may be the operator's own, too. */
function atNewUrl(device: DeviceFile, { operatorId, url, rpc }: ProvenOperator): DeviceFile {
  const moved = <Known extends EnrolledOperator>(one: Known): Known =>
    one.operatorId === operatorId ? { ...one, operatorUrl: url, rpc } : one
  const { moreOperators } = device
  return { ...moved(device), ...(moreOperators && { moreOperators: moreOperators.map(moved) }) }
}

function entryOf(operator: ProvenOperator): EnrolledOperator {
  return {
    operatorUrl: operator.url,
    operatorId: operator.operatorId,
    operatorName: operator.name,
    operatorAccount: operator.account,
    serverName: operator.serverName,
    serverSpkiSha256: operator.serverSpkiSha256,
    rpc: operator.rpc,
  }
}

// Keeps what the supplicant reads fresh: the certificate at two thirds of its life, the voucher it
// carries, the paths of wpa_supplicant.conf after DIR moved. Writes each file whole or not at all.
// Called by run.ts; loads the certificate library only when there is something to make.

import { randomBytes, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { signDigest } from '../ethereum/signature.ts'
import { voucherDigest } from '../ethereum/typed-data.ts'
import { formatVoucherUri } from '../ethereum/voucher-uri.ts'
import type { DeviceFile } from './folder.ts'
import { caFileOf } from './network-block.ts'
import type { PayingTo } from './operator-api.ts'
import { writeDurably } from './vouchers-file.ts'

/** As `device create` makes them: 30 days, of which ten minutes lie in the past. */
const VALIDITY_SECONDS = 30 * 86_400
const BACKDATE_SECONDS = 600
const SERIAL_BYTES = 16
const PATH_SETTING = /^\s*(?:ca_cert|client_cert|private_key)=(.*)$/gm
const VOUCHER = /datanet:voucher\/1\/[^,\s]*/

/** Whose certificate, and how it is signed. */
export interface Renewal {
  readonly directory: string
  readonly device: DeviceFile
  readonly accountKey: Buffer
}

/** Whether two thirds of the certificate's life are over. */
export async function isRenewalDue(directory: string, nowSeconds: number): Promise<boolean> {
  const certificate = await readCertificate(directory)
  const from = Date.parse(certificate.validFrom) / 1000
  const to = Date.parse(certificate.validTo) / 1000
  return nowSeconds >= from + ((to - from) * 2) / 3
}

/** The voucher URI the certificate carries now; undefined without one. */
export async function carriedVoucher(directory: string): Promise<string | undefined> {
  const { subjectAltName } = await readCertificate(directory)
  return VOUCHER.exec(subjectAltName ?? '')?.[0].replace(/"$/, '')
}

const readCertificate = async (directory: string): Promise<X509Certificate> =>
  new X509Certificate(await readFile(join(directory, 'cert.pem'), 'utf8'))

/** The URI for a cumulative amount; the caller has noted it as signed. */
export function voucherUriOf(
  to: Pick<PayingTo, 'operatorId' | 'account' | 'accountKey' | 'domain'>,
  amount: bigint,
): string {
  const { operatorId: operator, account: consumer, domain, accountKey } = to
  const digest = voucherDigest(domain, { consumer, operator, amount })
  return formatVoucherUri({ operator, amount, signature: signDigest(digest, accountKey) })
}

/** Replaces cert.pem by one for the same key, valid from now. Returns its end, Unix seconds. */
export async function renewCertificate(
  { directory, device, accountKey }: Renewal,
  nowSeconds: number,
  voucherUri: string | undefined,
): Promise<number> {
  const { makeBoundCertificate, makeDirectCertificate } = await import('../certs/device.ts')
  const notBefore = nowSeconds - BACKDATE_SECONDS
  const notAfter = notBefore + VALIDITY_SECONDS
  const { name, chainId, contract } = device
  const base = { accountKey, name, notBefore, notAfter, serial: randomBytes(SERIAL_BYTES) }
  const pem =
    device.kind === 'direct'
      ? makeDirectCertificate(base).certificatePem
      : makeBoundCertificate({
          ...base,
          ...{ chainId: BigInt(chainId), contract },
          publicKey: await publicKeyOf(directory),
          ...(await signingKeyOf(directory, device)),
          ...(voucherUri === undefined ? {} : { voucherUri }),
        })
  await writeDurably(directory, 'cert.pem', pem)
  return notAfter
}

async function publicKeyOf(directory: string): Promise<string> {
  const { publicKey } = await readCertificate(directory)
  return publicKey.export({ type: 'spki', format: 'pem' }).toString()
}

/** The TLS key where it is a file we may read; one in a TPM signs nothing here. */
async function signingKeyOf(
  directory: string,
  { privateKey }: DeviceFile,
): Promise<{ signingKeyPem?: string }> {
  const path = isAbsolute(privateKey) ? privateKey : join(directory, privateKey)
  const pem = await readFile(path, 'utf8').catch(() => '')
  return pem.includes('PRIVATE KEY') ? { signingKeyPem: pem } : {}
}

/** Puts the paths of wpa_supplicant.conf right after DIR moved; true where it had to. */
export async function mendPaths(directory: string, device: DeviceFile): Promise<boolean> {
  const conf = await readFile(join(directory, 'wpa_supplicant.conf'), 'utf8').catch(() => '')
  const paths = [...conf.matchAll(PATH_SETTING)].map(([, value = '']) => value)
  if (paths.every((value) => value.startsWith(`"${resolve(directory)}/`))) return false
  const { movedPaths } = await import('./moved.ts')
  const blocks = conf.split(/^(?=network=)/m)
  const mended: string[] = []
  for (const block of blocks) {
    const moved = await movedPaths(block, device, resolve(directory), caFileOf(block))
    const lines = block.split('\n').map((line) => {
      const found = moved.find(({ setting }) => line.trimStart().startsWith(`${setting}=`))
      return found === undefined ? line : `\t${found.line}`
    })
    mended.push(lines.join('\n'))
  }
  const text = mended.join('')
  if (text === conf) return false
  await writeDurably(directory, 'wpa_supplicant.conf', text)
  return true
}

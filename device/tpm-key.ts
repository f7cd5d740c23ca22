// The metering key in this machine's TPM as device run uses it: finds the TPM, answers an
// operator's two steps, signs within a bounded time. The key stays in the TPM, at handles that
// tpm.ts knows again, and is one for all operators: the TPM's certificate tells them whose it is
// anyway. Refuses, with what to do about it, where there is none. Called by tills.ts.

import { createHash } from 'node:crypto'
import { access, constants } from 'node:fs/promises'
import { DeviceError } from './error.ts'
import type { MeteringSigner } from './metering-key.ts'
import { type DeviceTpm, openTpm, type TpmFirstStep } from './tpm.ts'

/** The kernel's TPM, with its resource manager. */
const KERNEL_TPM = '/dev/tpmrm0'
/** A payment waits for its report: tens of ms, or longer while a slow TPM does something else. */
const SIGN_MS = 5_000
/** Credentials have some 600 octets, a ticket at most 2,048 characters. */
const TEXT = /^[\w-]{1,2048}$/
const REGISTERS = 24

/**
 * Its TCTI: what `environment` names (TPM2TOOLS_TCTI, as for tpm2-tools), else the kernel's. Throws
 * DeviceError 'unavailable' where there is none, 'permission' where it may not be used.
 */
export async function findTpm(
  environment: Readonly<Record<string, string | undefined>>,
  kernelTpm = KERNEL_TPM,
): Promise<string> {
  const named = environment['TPM2TOOLS_TCTI']
  if (named !== undefined && named !== '') return named
  try {
    await access(kernelTpm, constants.R_OK | constants.W_OK)
    return `device:${kernelTpm}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      const problem = `no TPM: there is no ${kernelTpm}, and TPM2TOOLS_TCTI names none`
      throw new DeviceError('unavailable', problem, error)
    }
    const way = 'join its group (tss on Debian)'
    throw new DeviceError('permission', `${kernelTpm} may not be used: ${way}`, error)
  }
}

/** Opens the TPM's metering key; makes it where there is none. Throws DeviceError. */
export async function openTpmKey(tcti: string): Promise<MeteringSigner> {
  const { tpm, first } = await openCertified(tcti)
  return {
    ...{ scheme: 'tpm', publicKey: tpm.meteringKey },
    introduction: async () => ({ tpm: first }),
    evidence: async (challenge, asked) => {
      const { credential, ticket, pcrs } = readAsked(asked['tpm'])
      return { ticket, ...(await tpm.secondStep(credential, challenge, pcrs)) }
    },
    sign: (message) => within(tpm.sign(createHash('sha256').update(message).digest())),
  }
}

/** With the endorsement key that its maker has certified: RSA as a rule, else ECC; else RSA. */
async function openCertified(
  tcti: string,
): Promise<{ readonly tpm: DeviceTpm; readonly first: TpmFirstStep }> {
  const open = async (endorsement: 'rsa' | 'ecc') => {
    const tpm = await openTpm({ tcti, endorsement })
    return { tpm, first: await tpm.firstStep() }
  }
  const [rsa] = await Promise.allSettled([open('rsa')])
  if (rsa.status === 'fulfilled' && rsa.value.first.ekCertificates !== undefined) return rsa.value
  if (rsa.status === 'rejected' && !isUnavailable(rsa.reason)) throw rsa.reason
  const [ecc] = await Promise.allSettled([open('ecc')])
  const isFound = ecc.status === 'fulfilled'
  if (isFound && (rsa.status === 'rejected' || ecc.value.first.ekCertificates !== undefined)) {
    return ecc.value
  }
  // What was wrong with the first says more.
  if (rsa.status === 'rejected') throw rsa.reason
  return rsa.value
}

const isUnavailable = (error: unknown): boolean =>
  error instanceof DeviceError && error.code === 'unavailable'

interface Asked {
  readonly credential: { readonly idObject: string; readonly encryptedSecret: string }
  readonly ticket: string
  readonly pcrs?: readonly number[]
}

/** What the operator wants of the TPM; all of it becomes files and arguments of programs. */
function readAsked(value: unknown): Asked {
  const { credential, ticket, pcrs } = (value ?? {}) as Record<string, unknown>
  const { idObject, encryptedSecret } = (credential ?? {}) as Record<string, unknown>
  const text = (from: unknown): string => {
    if (typeof from === 'string' && TEXT.test(from)) return from
    throw new DeviceError('refused', "the operator's question to the TPM is malformed")
  }
  const asked = {
    credential: { idObject: text(idObject), encryptedSecret: text(encryptedSecret) },
    ticket: text(ticket),
  }
  if (pcrs === undefined) return asked
  const isRegister = (one: unknown): one is number =>
    typeof one === 'number' && Number.isInteger(one) && one >= 0 && one < REGISTERS
  const isList = Array.isArray(pcrs) && pcrs.length > 0 && pcrs.length <= REGISTERS
  if (isList && pcrs.every(isRegister)) return { ...asked, pcrs }
  throw new DeviceError('refused', 'the operator asks for registers that no TPM has')
}

function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new DeviceError('unavailable', `the TPM has not signed in ${SIGN_MS / 1_000} s`)
    timer = setTimeout(() => reject(error), SIGN_MS)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

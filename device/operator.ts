// Who an operator says it is (GET /v1/operator), checked until a device may trust it with its
// escrow: shape, chain, registry entry, server certificate. The answer comes over plain HTTP from
// anybody, so nothing of it is used before `proveOperator` has passed. Called by the cli's device
// verbs.

import { z } from 'zod'
import { spkiSha256Of } from '../certs/operator.ts'
import { CHAIN_MAX, verifyServerCertificate } from '../certs/server-chain.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import type { ChainReader } from './chain.ts'
import { DeviceError } from './error.ts'
import { requestJson } from './http.ts'

// A name goes into file contents and onto terminals: no control or invisible characters.
const shownText = (lengthMax: number) =>
  z
    .string()
    .min(1)
    .max(lengthMax)
    .regex(/^[^\p{C}\p{Zl}\p{Zp}]+$/u)

const addressText = z.string().transform((text, context): Address => {
  const address = parseAddress(text)
  if (address !== undefined) return address
  context.addIssue({ code: 'custom', message: 'is not an address' })
  return z.NEVER
})

// Two P-256 certificates are about 1 KB each in PEM; 16 KB leaves room for any RSA one.
const certificateText = z
  .string()
  .max(16_384)
  .regex(/^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\s*$/)

const port = z.int().min(1).max(65_535)

// Keys this version does not know are dropped, not refused: an operator may run a newer server.
const operatorAnswer = z.object({
  name: shownText(128),
  operatorId: z.int().min(1).max(0xffff_ffff), // uint32 in every signed type
  account: addressText,
  contract: addressText,
  chainId: z.int().min(1),
  rpc: z.url({ protocol: /^(https?|wss?)$/ }).max(2048),
  token: z.object({
    address: addressText,
    symbol: shownText(16),
    decimals: z.int().min(0).max(36),
  }),
  serverSpkiSha256: z.string().regex(/^[0-9a-f]{64}$/),
  serverName: z
    .string()
    .max(253)
    .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/),
  // Where access points ask; absent from servers that do not say.
  radius: z.object({ auth: port, accounting: port }).optional(),
  // No event of the contract is older: where its logs begin.
  deployBlock: z.int().min(0).optional(),
  // Blocks that count as final for it, as in its configuration.
  confirmations: z.int().min(1).max(1_000).optional(),
  // The leaf alone where it has no CA.
  certificates: z
    .tuple([certificateText], certificateText)
    .refine((all) => all.length <= CHAIN_MAX),
})

/** What GET /v1/operator must say; addresses lowercase, certificates [leaf, CA, …] in PEM. */
export type OperatorAnswer = z.infer<typeof operatorAnswer>

declare const provenBrand: unique symbol
/**
 * An operator whose registry entry and server certificate agree; only `proveOperator` makes one.
 */
export type ProvenOperator = OperatorAnswer & {
  readonly url: string
  readonly [provenBrand]: true
}

/**
 * Reads an answer of unknown origin. Throws DeviceError 'refused' naming the first field that is
 * wrong.
 */
export function readOperatorAnswer(body: unknown): OperatorAnswer {
  const parsed = operatorAnswer.safeParse(body)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue === undefined || issue.path.length === 0 ? 'the answer' : issue.path.join('.')
  throw new DeviceError('refused', `this is no Datanet operator: ${path} is missing or malformed`)
}

const ANOTHER = 'start one with `npm start` or name one with --operator'
/** What to do where the operator of a DIR does not answer: no other one can stand in for it. */
const THE_SAME = 'start it there with `npm start`, then try again'

/** `askOperator` for a device that is enrolled with the operator at `url` already. */
export const askOwnOperator = (url: string): Promise<OperatorAnswer> => askOperator(url, THE_SAME)

/**
 * The answer of the operator at `url`, its shape checked and nothing else. Throws DeviceError
 * 'unavailable' where nobody answers (with `way`, what to do then), 'refused' where the answer is
 * not an operator's.
 */
export async function askOperator(url: string, way = ANOTHER): Promise<OperatorAnswer> {
  let answer: { status: number; body: unknown }
  try {
    answer = await requestJson(`${url}/v1/operator`)
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'unavailable') throw error
    throw new DeviceError('unavailable', `no operator answers at ${url}; ${way}`, error)
  }
  if (answer.status !== 200) {
    const problem = `${url}/v1/operator answers with status ${answer.status}`
    throw new DeviceError(answer.status >= 500 ? 'unavailable' : 'refused', problem)
  }
  return readOperatorAnswer(answer.body)
}

/**
 * Holds the answer against the chain and against itself. Throws DeviceError 'refused' with the
 * first
 * disagreement, 'unavailable' where the chain does not answer.
 */
export async function proveOperator(
  url: string,
  answer: OperatorAnswer,
  chain: ChainReader,
  nowSeconds: number,
): Promise<ProvenOperator> {
  const refuse = (problem: string): never => {
    throw new DeviceError('refused', `the operator at ${url} is not to be trusted: ${problem}`)
  }
  const chainId = await chain.chainId()
  if (chainId !== BigInt(answer.chainId)) {
    refuse(`its chain is ${answer.chainId}, the node at ${answer.rpc} has ${chainId}`)
  }
  const registered = await chain.operator(answer.operatorId)
  if (registered === undefined) {
    return refuse(`contract ${answer.contract} knows no operator ${answer.operatorId}`)
  }
  if (registered.account !== answer.account) refuse('its account is not the registered one')
  if (!registered.active) refuse('it has retired: it takes no deposits any more')
  if ((await chain.token()) !== answer.token.address) refuse('the contract holds another token')
  const { certificates, serverName } = answer
  const spkiSha256 = spkiOf(certificates[0])
  if (spkiSha256 === undefined) return refuse('its server certificate cannot be read')
  if (spkiSha256 !== answer.serverSpkiSha256) {
    refuse('its server certificate has another key than it says')
  }
  if (!(await chain.isServerKey(answer.operatorId, spkiSha256))) {
    refuse('the key of its server certificate is not the one in the contract')
  }
  const reason = verifyServerCertificate({ certificates, serverName, nowSeconds })
  if (reason !== undefined) refuse(`its server certificate: ${reason}`)
  return { ...answer, url } as ProvenOperator
}

function spkiOf(certificatePem: string): string | undefined {
  try {
    return spkiSha256Of(certificatePem)
  } catch {
    return undefined
  }
}

/**
 * What makes this operator another than the one a device was enrolled with: its certificate is
 * bound to chain and contract, its escrow lies with one operator id. Undefined where nothing does.
 */
export function changeSince(
  device: Pick<OperatorAnswer, 'contract' | 'chainId' | 'operatorId'>,
  answer: OperatorAnswer,
): string | undefined {
  const { contract, chainId, operatorId } = answer
  if (contract !== device.contract || chainId !== device.chainId) {
    return `the operator runs another contract now (${checksumAddress(contract)}, chain ${chainId})`
  }
  if (operatorId === device.operatorId) return undefined
  return `the operator is number ${operatorId} of its contract now, not ${device.operatorId}`
}

/**
 * Whether a node's URL is the proxy that only a server with an embedded chain offers; such an
 * operator has a faucet too.
 */
export const isEmbedded = (rpc: string): boolean => new URL(rpc).pathname.endsWith('/v1/chain')

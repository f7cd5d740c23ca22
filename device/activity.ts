// Publishes a summary of what a device's account used and paid with one operator: asks the operator
// for the figures, checks what the device can know of them, signs, gets the evidence (by a key that
// the contract has enrolled, or enrols now; else the operator's signature as attestor) and sends
// it. Owns that no second is reported twice. Called by the cli and activity-timer.ts.

import {
  type ActivityContracts,
  attestorEvidence,
  deviceEvidence,
  digestOf,
  enrolDevice,
  findActivityContracts,
  isAttestor,
  isDeviceEnrolled,
  type P256Point,
  publishActivity,
  readActivityPosition,
  readThreshold,
} from '../chain/activity-calls.ts'
import { ChainError } from '../chain/error.ts'
import type { RpcRequest } from '../chain/transactions.ts'
import {
  type Activity,
  activityJson,
  BY_ATTESTORS,
  BY_DEVICE,
  type DeviceEnrolment,
  deviceEnrolmentDigest,
  devicesDomain,
} from '../ethereum/activity.ts'
import { checksumAddress, parseAddress } from '../ethereum/address.ts'
import { recoverAddress, signDigest } from '../ethereum/signature.ts'
import { sessionQueryDigest } from '../ethereum/typed-data.ts'
import { lastEnd, NEVER, noteActivity, readActivityRecords } from './activities-file.ts'
import type { ChainReader } from './chain.ts'
import type { DeviceFile } from './device-file.ts'
import { DeviceError } from './error.ts'
import { drawTokens } from './funds.ts'
import { type JsonAnswer, refusalOf, requestJson } from './http.ts'
import type { PayingTo } from './operator-api.ts'
import { amount, count } from './session-view.ts'
import { openVouchers } from './vouchers-file.ts'

/** A P-256 key of the device that signs SHA-256 of a digest: r ‖ s, 64 bytes, low s. */
export interface ActivityKey extends P256Point {
  readonly sign: (digest: Buffer) => Promise<Buffer>
}

/** Where and for whom; `now` in Unix ms by the own clock. */
export interface ActivityDeps {
  readonly directory: string
  readonly device: DeviceFile
  readonly to: PayingTo
  readonly rpc: RpcRequest
  readonly chain: ChainReader
  /** Absent, or not taken by the operator: the operator's signature is the evidence. */
  readonly key: ActivityKey | undefined
  readonly progress: (line: string) => void
  readonly now: () => number
}

/** What came of it. */
export type Published =
  | { readonly kind: 'published'; readonly activity: Activity; readonly transaction: string }
  | { readonly kind: 'nothing-new' }

/** Figures may have changed between two questions: a session has just ended. */
const ATTEMPTS_MAX = 3
/** To bring an enrolment to the contract in; the operator wants it short (activity-desk.ts). */
const ENROLMENT_SECONDS = 1_800

/** What the next summary would say; undefined where there is nothing to tell. Publishes nothing. */
export async function nextSummary(deps: ActivityDeps): Promise<Activity | undefined> {
  const answer = await ask(deps)
  if (answer.status === 200) return readActivity(Object(answer.body).activity, deps)
  if (codeOf(answer) === 'nothing-new') return undefined
  throw problem(deps, answer)
}

/**
 * Publishes what is new. Throws DeviceError 'refused' where the operator's figures can't be right
 * or it does not attest, 'unavailable' where somebody does not answer or gas is missing; ChainError
 * where the contract refuses.
 */
export async function publishNow(deps: ActivityDeps): Promise<Published> {
  const { directory, device, to, rpc } = deps
  const contracts = await findActivityContracts(rpc, device.contract)
  for (let attempt = 1; ; attempt++) {
    const proposed = await nextSummary(deps)
    if (proposed === undefined) {
      const before = (await readActivityRecords(directory)).get(to.operatorId)
      await noteActivity(directory, to.operatorId, { ...NEVER, ...before, ...tried(deps) })
      return { kind: 'nothing-new' }
    }
    await checkProposed(proposed, contracts, deps)
    await drawTokens({ operatorUrl: to.url, amount: 0n, token: device.token }, to.account, deps)
    const byKey = await enrolledKey(contracts, deps)
    const verifier = byKey === undefined ? BY_ATTESTORS : BY_DEVICE
    const activity: Activity = { ...proposed, verifier }
    const digest = digestOf(BigInt(device.chainId), contracts.activities, activity)
    const signature = signDigest(digest, to.accountKey)
    const evidence =
      byKey === undefined
        ? await attested(activity, signature, digest, contracts, deps)
        : deviceEvidence(byKey, await byKey.sign(digest))
    if (evidence !== undefined) return send(activity, signature, evidence, contracts, deps)
    if (attempt === ATTEMPTS_MAX) {
      throw new DeviceError('unavailable', 'the figures change too fast; try again')
    }
  }
}

const tried = ({ now }: ActivityDeps) => ({ triedAtMs: Math.floor(now()) })

function ask(deps: ActivityDeps): Promise<JsonAnswer> {
  const { to } = deps
  const { account: consumer, operatorId: operator, domain } = to
  const question = async (time: number): Promise<JsonAnswer> => {
    const digest = sessionQueryDigest(domain, { consumer, operator, time })
    const signature = hex(signDigest(digest, to.accountKey))
    const body = { consumer: checksumAddress(consumer), time, signature }
    return requestJson(`${to.url}/v1/activity/query`, { body })
  }
  return inTheirTime(deps, question).then(({ answer }) => answer)
}

/** Asks by the own clock, Unix seconds, and once more by theirs where that is another one. */
async function inTheirTime(
  { now }: ActivityDeps,
  question: (time: number) => Promise<JsonAnswer>,
): Promise<{ answer: JsonAnswer; time: number }> {
  const time = Math.floor(now() / 1_000)
  const answer = await question(time)
  if (codeOf(answer) !== 'wrong-time' || answer.dateMs === undefined) return { answer, time }
  const theirs = Math.floor(answer.dateMs / 1_000)
  return { answer: await question(theirs), time: theirs }
}

/** What the device knows better than its operator: what it signed, and what it has published. */
async function checkProposed(
  activity: Activity,
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<void> {
  const { directory, to, rpc } = deps
  const { start, end, paid, nonce } = activity
  const position = await readActivityPosition(rpc, contracts, to.account)
  if (nonce !== position.nonce) {
    throw new DeviceError('unavailable', 'the operator has not seen the last summary yet: wait')
  }
  const records = await readActivityRecords(directory)
  // One that was sent and never mined leaves the chain's clock where it was.
  const own = [...records.values()].some(({ isPending }) => isPending) ? 0 : lastEnd(records)
  if (start < Math.max(position.end, own)) {
    throw new DeviceError(
      'refused',
      `the operator's figures begin at ${start}, before the last end`,
    )
  }
  if (end <= start) throw new DeviceError('refused', 'the operator gives an empty period')
  const { signed } = (await openVouchers(directory)).book(to.operatorId)
  const { highestVoucher, deposit } = await deps.chain.escrow(to.operatorId, to.account)
  if (paid > signed && paid > highestVoucher) {
    throw new DeviceError('refused', `the operator says ${paid} was paid, ${signed} was promised`)
  }
  if (paid > deposit) {
    throw new DeviceError('refused', `${paid} was paid, but only ${deposit} is in escrow now`)
  }
}

/** The key where the contract has it enrolled; asks for that where it has not. */
async function enrolledKey(
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<ActivityKey | undefined> {
  const { key, to, rpc } = deps
  if (key === undefined) return undefined
  try {
    if (!(await isDeviceEnrolled(rpc, contracts, to.operatorId, to.account, key))) {
      await enrolKey(key, contracts, deps)
    }
    return key
  } catch (error) {
    if (!(error instanceof DeviceError) && !(error instanceof ChainError)) throw error
    deps.progress(`the device's key can't speak for itself: ${error.message}`)
    return undefined
  }
}

async function enrolKey(
  { qx, qy }: ActivityKey,
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<void> {
  const { device, to, rpc } = deps
  await mustAttestAlone(contracts, deps)
  const chainId = BigInt(device.chainId)
  const domain = devicesDomain(chainId, contracts.devices)
  const { account: consumer, operatorId: operator, accountKey: privateKey } = to
  const at = (time: number): DeviceEnrolment => ({
    ...{ operator, consumer, qx, qy, validUntil: time + ENROLMENT_SECONDS },
  })
  const { answer, time } = await inTheirTime(deps, (said) => {
    const enrolment = at(said)
    const signature = hex(signDigest(deviceEnrolmentDigest(domain, enrolment), privateKey))
    const named = { ...enrolment, consumer: checksumAddress(consumer), qx: hex(qx), qy: hex(qy) }
    const body = { enrolment: named, signature }
    return requestJson(`${to.url}/v1/activity/key`, { body })
  })
  const digest = deviceEnrolmentDigest(domain, at(time))
  const signature = await attestorSignature(answer, digest, contracts, deps)
  await enrolDevice({ rpc, chainId, privateKey }, contracts, at(time), [signature])
}

/** Throws DeviceError 'refused' where more than the operator must sign, or nobody may. */
async function mustAttestAlone(
  contracts: ActivityContracts,
  { to, rpc }: ActivityDeps,
): Promise<void> {
  const needed = await readThreshold(rpc, contracts, to.operatorId)
  if (needed === 1) return
  const have = needed === 0 ? 'has named no attestors' : `wants ${needed} attestors`
  throw new DeviceError('refused', `operator ${to.operatorId} ${have}: it can't attest alone`)
}

/** The operator's signature as evidence; undefined where its figures have changed meanwhile. */
async function attested(
  activity: Activity,
  signature: Buffer,
  digest: Buffer,
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<string | undefined> {
  await mustAttestAlone(contracts, deps)
  const body = { activity: activityJson(activity), signature: hex(signature) }
  const answer = await requestJson(`${deps.to.url}/v1/activity`, { body })
  if (codeOf(answer) === 'figures-differ') return undefined
  return attestorEvidence(digest, [await attestorSignature(answer, digest, contracts, deps)])
}

/** The signature in an answer, by an attestor of the operator. Throws DeviceError. */
async function attestorSignature(
  answer: JsonAnswer,
  digest: Buffer,
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<Buffer> {
  const { to, rpc } = deps
  if (answer.status !== 200) throw problem(deps, answer)
  const said = Object(answer.body) as { attestor?: unknown; signature?: unknown }
  const attestor = typeof said.attestor === 'string' ? parseAddress(said.attestor) : undefined
  const text = typeof said.signature === 'string' ? said.signature : ''
  const bytes = Buffer.from(text.slice(2), 'hex')
  const isTheirs =
    attestor !== undefined &&
    recoverAddress(digest, bytes) === attestor &&
    (await isAttestor(rpc, contracts, to.operatorId, attestor))
  if (!isTheirs) throw new DeviceError('refused', `${to.url} signs as no attestor of its operator`)
  return bytes
}

async function send(
  activity: Activity,
  signature: Buffer,
  evidence: string,
  contracts: ActivityContracts,
  deps: ActivityDeps,
): Promise<Published> {
  const { directory, device, to, rpc } = deps
  const { end, nonce } = activity
  const before = (await readActivityRecords(directory)).get(to.operatorId) ?? NEVER
  const record = { end, nonce: `${nonce}`, isPending: true, ...tried(deps) }
  await noteActivity(directory, to.operatorId, record)
  const sender = { rpc, chainId: BigInt(device.chainId), privateKey: to.accountKey }
  try {
    const { transactionHash } = await publishActivity(
      ...([sender, contracts, activity, signature, evidence] as const),
    )
    await noteActivity(directory, to.operatorId, { ...record, isPending: false })
    return { kind: 'published', activity, transaction: transactionHash }
  } catch (error) {
    // The contract refused: nothing of it is published.
    if (error instanceof ChainError && error.code === 'transaction-failed') {
      await noteActivity(directory, to.operatorId, { ...before, ...tried(deps) })
    }
    throw error
  }
}

/** Strictly what the operator may say; about us, for it. Throws DeviceError 'refused'. */
function readActivity(from: unknown, { to }: ActivityDeps): Activity {
  try {
    const { consumer, evidenceHash } = from as { consumer: unknown; evidenceHash: unknown }
    if (parseAddress(String(consumer)) !== to.account) throw new RangeError('consumer')
    if (count(from, 'operator') !== to.operatorId) throw new RangeError('operator')
    if (!/^0x[0-9a-f]{64}$/.test(String(evidenceHash))) throw new RangeError('evidenceHash')
    return {
      ...{ consumer: to.account, operator: to.operatorId },
      ...{ start: count(from, 'start'), end: count(from, 'end') },
      ...{ bytesUp: amount(from, 'bytesUp'), bytesDown: amount(from, 'bytesDown') },
      ...{ sessions: count(from, 'sessions'), paid: amount(from, 'paid') },
      ...{ verifier: BY_ATTESTORS, nonce: amount(from, 'nonce') },
      evidenceHash: Buffer.from(String(evidenceHash).slice(2), 'hex'),
    }
  } catch (error) {
    throw new DeviceError('refused', `${to.url} tells of no activity that can be read`, error)
  }
}

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

function codeOf({ body }: JsonAnswer): string | undefined {
  const code = (body as { error?: { code?: unknown } } | null)?.error?.code
  return typeof code === 'string' ? code : undefined
}

function problem({ to }: ActivityDeps, answer: JsonAnswer): DeviceError {
  const text = `${to.url} does not attest: ${refusalOf(answer)}`
  return new DeviceError(answer.status >= 500 ? 'unavailable' : 'refused', text)
}

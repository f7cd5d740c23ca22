// The operator as attestor of activity summaries: says what the ledger has that no summary has told
// yet, and signs a summary that says exactly that; and of the metering keys that may speak for
// themselves. Owns which figures and keys are right and every reason to refuse; the contract sees
// to overlap and replay again. Called by http-activity.ts.

import type { MeteringKey } from '../accounting/session.ts'
import type { ClosedTotals, Storage } from '../accounting/storage.ts'
import {
  type Activity,
  activityDigest,
  BY_ATTESTORS,
  type DeviceEnrolment,
  deviceEnrolmentDigest,
} from '../ethereum/activity.ts'
import type { Address } from '../ethereum/address.ts'
import { recoverAddress, signDigest } from '../ethereum/signature.ts'
import type { Domain } from '../ethereum/typed-data.ts'
import type { ActivityBook, ConsumerActivity } from './activity-book.ts'
import { createBuckets } from './buckets.ts'
import { APP_ATTEST } from './usage-reports.ts'

/** Why a summary, or a key, is not attested. */
export type ActivityRefusal =
  | 'wrong-operator'
  | 'wrong-verifier'
  | 'bad-signature'
  | 'unknown-consumer'
  | 'overlap'
  | 'replay'
  | 'not-ended'
  | 'nothing-new'
  | 'figures-differ'
  | 'published-more'
  | 'not-ready'
  | 'too-many-requests'
  | 'wrong-time'
  | 'no-key'
  | 'key-expired'
  | 'software-key'
  | 'asserts-only'

/** What the ledger has for the next summary, or why there is none. */
export type Proposal =
  | { readonly activity: Activity }
  | { readonly refusal: ActivityRefusal; readonly message: string }

export type Attestation =
  | { readonly signature: Buffer }
  | { readonly refusal: ActivityRefusal; readonly message: string }

export interface ActivityDesk {
  /** The summary that would be attested now. Throws ChainError, StorageError. */
  propose(consumer: Address): Promise<Proposal>
  /** Signs a summary that the consumer has signed. Throws ChainError, StorageError. */
  attest(activity: Activity, signature: Buffer): Promise<Attestation>
  /** Signs an enrolment that the consumer has signed. Throws StorageError. */
  enrol(enrolment: DeviceEnrolment, signature: Buffer): Promise<Attestation>
}

export interface ActivityDeskDeps {
  readonly book: ActivityBook
  readonly storage: Pick<Storage, 'closedTotals'>
  readonly operator: number
  /** Of the Activities contract. */
  readonly domain: Domain
  /** Of the DeviceVerifier contract. */
  readonly devicesDomain: Domain
  readonly operatorKey: Uint8Array
  /** Who has a deposit with this operator; nobody else can publish. */
  readonly isConsumer: (account: Address) => boolean
  /** Those that the account has enrolled here, expired ones too. Throws StorageError. */
  readonly meteringKeys: (account: Address) => Promise<readonly MeteringKey[]>
  /** The clock of the books, Unix ms. */
  readonly now: () => number
  /** The time of day, which keys and blocks go by. */
  readonly wallNow: () => number
  /**
   * Seconds that a summary ends before now: on a chain with slots the block that takes it may carry
   * a time before it was sent.
   */
  readonly lagSeconds: number
}

/**
 * Adding up takes 2 ms for a thousand sessions, and a device needs it twice a day: who has very
 * many sessions must not have them added up all the time.
 */
const CONSUMER_LIMIT = { burst: 20, perSecond: 0.1, entriesMax: 20_000 }

/**
 * What is left of an enrolment's time, seconds: enough to be mined in. A key that counts no more
 * here can be brought to the contract for so long still.
 */
const ENROLMENT_LEFT = { min: 300, max: 3_600 }

const refuse = (refusal: ActivityRefusal, message: string) => ({ refusal, message })

/**
 * What the ledger has gained by `totals` since the summaries in `book`: of sessions over by then,
 * none twice, and none lost that came to the books late or was paid for after its end.
 */
export function nextActivity(o: {
  readonly consumer: Address
  readonly operator: number
  readonly end: number
  readonly totals: ClosedTotals
  readonly book: ConsumerActivity
}): Proposal {
  const { consumer, operator, end, totals, book } = o
  const told = book.byOperator.get(operator)
  const figures = {
    sessions: totals.sessions - Number(told?.sessions ?? 0n),
    bytesUp: totals.input - (told?.bytesUp ?? 0n),
    bytesDown: totals.output - (told?.bytesDown ?? 0n),
    paid: totals.paid - (told?.paid ?? 0n),
  }
  const { sessions, bytesUp, bytesDown, paid } = figures
  if (sessions < 0 || bytesUp < 0n || bytesDown < 0n || paid < 0n) {
    return refuse('published-more', 'more was published than the ledger of this operator has')
  }
  // The contract has one clock for a consumer, whatever the operator.
  const start = book.end || Math.floor((totals.firstStartedAtMs ?? 0) / 1_000)
  const isNothing = sessions === 0 && bytesUp === 0n && bytesDown === 0n && paid === 0n
  if (isNothing || start >= end) {
    return refuse('nothing-new', 'the ledger has nothing that was not published')
  }
  const evidenceHash = totals.idsHash
  return {
    activity: {
      ...{ consumer, operator, start, end, ...figures },
      ...{ verifier: BY_ATTESTORS, evidenceHash, nonce: BigInt(book.count) },
    },
  }
}

export function createActivityDesk(deps: ActivityDeskDeps): ActivityDesk {
  const { book, operator, domain } = deps
  const consumers = createBuckets(CONSUMER_LIMIT)

  const latestEnd = (): number => Math.floor(deps.now() / 1_000) - deps.lagSeconds

  /** Only for who has signed as the consumer: nobody else uses up its requests. */
  function turnedAway(consumer: Address) {
    if (!deps.isConsumer(consumer)) {
      return refuse('unknown-consumer', 'the account has no deposit with this operator')
    }
    if (consumers.take(consumer, 1, deps.now()) > 0) {
      return refuse('too-many-requests', 'this account asks too often; try again in a minute')
    }
    return undefined
  }

  async function expected(consumer: Address, end: number): Promise<Proposal> {
    const away = turnedAway(consumer)
    if (away !== undefined) return away
    const isRead = await book.catchUp()
    // What was published by the time of the ledger's answer is in the book, or its nonce is used.
    const published = book.consumer(consumer)
    // Anybody may publish, with an operator of its own: that must not stop who is in the book.
    if (!isRead || (book.isFull() && published.count === 0)) {
      return refuse('not-ready', 'the summaries on the chain are not read yet; try again')
    }
    const known = { ...published, byOperator: new Map(published.byOperator) }
    const totals = await deps.storage.closedTotals(consumer, end * 1_000)
    return nextActivity({ consumer, operator, end, totals, book: known })
  }

  return {
    propose: (consumer) => expected(consumer, latestEnd()),
    async attest(activity, signature) {
      const { consumer, end } = activity
      if (activity.operator !== operator) {
        return refuse('wrong-operator', `this is operator ${operator}`)
      }
      if (activity.verifier !== BY_ATTESTORS) {
        return refuse('wrong-verifier', `verifier ${BY_ATTESTORS} takes what is signed here`)
      }
      const digest = activityDigest(domain, activity)
      if (recoverAddress(digest, signature) !== consumer) {
        return refuse('bad-signature', 'the consumer did not sign this activity')
      }
      if (end > latestEnd()) return refuse('not-ended', `ends at ${latestEnd()} at the latest`)
      const right = await expected(consumer, end)
      const published = book.consumer(consumer)
      if (activity.nonce !== BigInt(published.count)) {
        return refuse('replay', `the consumer's next nonce is ${published.count}`)
      }
      if (activity.start < published.end) {
        return refuse('overlap', `what ended before ${published.end} was published`)
      }
      if ('refusal' in right) return right
      const differing = difference(activity, right.activity)
      if (differing !== undefined) return differing
      return { signature: signDigest(digest, deps.operatorKey) }
    },
    async enrol(enrolment, signature) {
      const { consumer, qx, qy, validUntil } = enrolment
      if (enrolment.operator !== operator) {
        return refuse('wrong-operator', `this is operator ${operator}`)
      }
      const digest = deviceEnrolmentDigest(deps.devicesDomain, enrolment)
      if (recoverAddress(digest, signature) !== consumer) {
        return refuse('bad-signature', 'the consumer did not sign this enrolment')
      }
      const nowMs = deps.wallNow()
      const nowSeconds = Math.floor(nowMs / 1_000)
      const { min, max } = ENROLMENT_LEFT
      if (validUntil < nowSeconds + min || validUntil > nowSeconds + max) {
        const span = `${min} to ${max} s from now`
        return refuse('wrong-time', `validUntil is ${span}; the time here is ${nowSeconds}`)
      }
      const away = turnedAway(consumer)
      if (away !== undefined) return away
      const point = Buffer.concat([Buffer.of(4), qx, qy]).toString('base64url')
      const keys = await deps.meteringKeys(consumer)
      const problem = problemOf(
        keys.find(({ publicKey }) => publicKey === point),
        nowMs,
      )
      return problem ?? { signature: signDigest(digest, deps.operatorKey) }
    },
  }
}

/** Why a key may not speak for itself; undefined where it may. */
function problemOf(key: MeteringKey | undefined, nowMs: number) {
  if (key === undefined) {
    return refuse('no-key', 'the account has not enrolled this metering key here')
  }
  if (key.expiresAtMs <= nowMs) {
    return refuse('key-expired', 'the metering key must be shown anew first')
  }
  if (key.trust !== 'hardware') {
    return refuse('software-key', 'nobody vouches that this metering key is in hardware')
  }
  if (key.scheme === APP_ATTEST) {
    return refuse('asserts-only', 'a key of App Attest makes no signature that the contract reads')
  }
  return undefined
}

const FIGURES = ['start', 'sessions', 'bytesUp', 'bytesDown', 'paid'] as const

/** The first figure that is not the ledger's. */
function difference(said: Activity, right: Activity) {
  for (const name of FIGURES) {
    if (said[name] === right[name]) continue
    return refuse('figures-differ', `${name}: ${said[name]} is said, ${right[name]} is right`)
  }
  if (Buffer.compare(said.evidenceHash, right.evidenceHash) === 0) return undefined
  return refuse('figures-differ', 'evidenceHash is not that of the ledger')
}

// How a metering key comes to count for an account: a nonce, evidence that answers it, and the
// account's own signature, so that nobody enrols a key for another. Owns the nonces: one an
// account, for five minutes, good for one try that its account signed. Refuses whoever has no
// deposit here. Called by http-metering.ts; what schemes are worth is in attestation.ts.

import { createHash } from 'node:crypto'
import type { Ledger } from '../accounting/ledger.ts'
import { StorageError } from '../accounting/storage.ts'
import { isRecord, readAccount, readSignature, type VoucherDomain } from '../accounting/voucher.ts'
import { challengeOf } from '../attestation/challenge.ts'
import { octetsOf } from '../attestation/evidence.ts'
import { POINT_BYTES } from '../attestation/p256.ts'
import type { AttestationRefusal } from '../attestation/verifier.ts'
import type { Mirror } from '../chain/mirror.ts'
import type { Address } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { meteringKeyDigest } from '../ethereum/typed-data.ts'
import { beginTpmKey, isKnownScheme, showKey, type Verifiers } from './attestation.ts'
import type { Log } from './log.ts'
import type { TpmBegun } from './tpm-enrolment.ts'

export type EnrolmentRefusal = AttestationRefusal | 'unknown-consumer' | 'storage-unavailable'

export interface RefusedEnrolment {
  readonly refusal: EnrolmentRefusal
  /** Of text chosen by the peer at most a certificate's name, bounded, and nothing secret. */
  readonly message: string
}

/** What evidence must answer; times are Unix seconds. */
export interface Challenge {
  /** 32 octets in base64url. */
  readonly nonce: string
  readonly expiresAt: number
  /** For a key in a TPM, whose first step was in the request. */
  readonly tpm?: TpmBegun['answer']
}

export interface Enrolled {
  readonly trust: 'software' | 'hardware'
  readonly scheme: string
  /** Unix seconds: from then on the key's reports count for nothing. */
  readonly expiresAt: number
}

export interface EnrolmentDeps {
  readonly domain: VoucherDomain
  readonly ledger: Pick<Ledger, 'knows' | 'enrol'>
  readonly committer: { durable(): Promise<void> }
  readonly mirror: Pick<Mirror, 'channel'>
  readonly ensureAccount: (account: Address) => Promise<void>
  readonly verifiers: Verifiers
  readonly reattestAfterMs: () => number
  readonly random: (length: number) => Buffer
  /** The time of day: certificates and what a device is told go by it. */
  readonly wallNow: () => number
  readonly log: Log
  /** Told of every outcome, for the metrics; `other` for a scheme that is not ours. */
  readonly count: (scheme: string, outcome: 'enrolled' | EnrolmentRefusal) => void
}

export interface Enrolment {
  /** `body` is parsed JSON of unknown shape. */
  challenge(body: unknown): Challenge | RefusedEnrolment
  enrol(body: unknown): Promise<Enrolled | RefusedEnrolment>
}

const NONCE_BYTES = 32
const NONCE_MS = 300_000
/** Of accounts with a deposit alone; some 200 bytes each. Ten addresses fill it in 100 s. */
const NONCES_MAX = 10_000
const SCHEME_CHARACTERS_MAX = 32

const refuse = (refusal: EnrolmentRefusal, message: string): RefusedEnrolment => ({
  ...{ refusal, message },
})
const malformed = (message: string): RefusedEnrolment => refuse('malformed', message)
const UNKNOWN = refuse('unknown-consumer', 'the account has no deposit with this operator')
const NO_ACCOUNT = malformed('consumer: 0x and 40 hex digits, EIP-55 if mixed')
const STORAGE_AWAY = refuse('storage-unavailable', 'keys cannot be stored now; try again')

/** A request in its one form; that the account signed is not yet checked. */
interface Request {
  readonly consumer: Address
  readonly scheme: string
  readonly publicKey: Buffer
  readonly evidence: unknown
  readonly signature: Buffer
}

export function createEnrolment(deps: EnrolmentDeps): Enrolment {
  const nonces = createNonces(deps.random)
  const { domain, ledger } = deps

  async function take(request: Request): Promise<Enrolled | RefusedEnrolment> {
    const { consumer, publicKey, scheme } = request
    const nowMs = deps.wallNow()
    const nonce = nonces.get(consumer, nowMs)
    if (nonce === undefined) {
      return refuse('challenge-mismatch', 'no nonce was asked for, or its five minutes are over')
    }
    const keyHash = createHash('sha256').update(publicKey).digest()
    const { operator } = domain
    const digest = meteringKeyDigest(domain.separator, { consumer, operator, keyHash, nonce })
    if (recoverAddress(digest, request.signature) !== consumer) {
      return refuse('bad-signature', 'the consumer did not sign for this key and nonce')
    }
    // Used up by its account's own try: before that anybody could take it away.
    nonces.drop(consumer)
    const shown = await showKey(deps.verifiers, scheme, request.evidence, {
      challenge: challengeOf(nonce, consumer, operator),
      nowSeconds: Math.floor(nowMs / 1_000),
      publicKey,
    })
    if (!shown.ok) {
      deps.log.info({ account: consumer, scheme, ...shown }, 'a metering key was refused')
      return refuse(shown.reason, shown.detail)
    }
    return keep(request, shown, nowMs)
  }

  async function keep(
    { consumer, publicKey, scheme }: Request,
    { trust, facts }: { readonly trust: Enrolled['trust']; readonly facts: object },
    nowMs: number,
  ): Promise<Enrolled | RefusedEnrolment> {
    const expiresAtMs = nowMs + deps.reattestAfterMs()
    try {
      await deps.ensureAccount(consumer)
      if (!ledger.knows(consumer)) return STORAGE_AWAY
      ledger.enrol({
        ...{ account: consumer, publicKey: publicKey.toString('base64url'), scheme, trust },
        ...{ enrolledAtMs: nowMs, expiresAtMs },
      })
      await deps.committer.durable()
    } catch (error) {
      if (error instanceof StorageError) return STORAGE_AWAY
      throw error
    }
    deps.log.info({ account: consumer, scheme, trust, facts }, 'metering key enrolled')
    return { trust, scheme, expiresAt: Math.floor(expiresAtMs / 1_000) }
  }

  /** Nothing is kept of it: the nonce stays good for every scheme. */
  function beginTpm(consumer: Address, given: Challenge, request: unknown) {
    const nonce = Buffer.from(given.nonce, 'base64url')
    const begun = beginTpmKey(deps.verifiers, request, {
      challenge: challengeOf(nonce, consumer, domain.operator),
      nowSeconds: Math.floor(deps.wallNow() / 1_000),
    })
    if (begun.ok) return { ...given, tpm: begun.answer }
    // Not signed by the account: anybody could fill the log with it.
    deps.log.debug({ account: consumer, scheme: 'tpm', ...begun }, 'a first step was refused')
    deps.count('tpm', begun.reason)
    return refuse(begun.reason, begun.detail)
  }

  return {
    challenge(body) {
      if (!isRecord(body)) return malformed('a JSON object is expected')
      const { consumer: account, tpm, ...others } = body
      if (Object.keys(others).length > 0) return malformed('consumer, and tpm for a key in one')
      const consumer = readAccount(account)
      if (consumer === undefined) return NO_ACCOUNT
      if (deps.mirror.channel(domain.operator, consumer) === undefined) return UNKNOWN
      const given = nonces.give(consumer, deps.wallNow())
      return tpm === undefined || 'refusal' in given ? given : beginTpm(consumer, given, tpm)
    },
    async enrol(body) {
      const request = readRequest(body)
      const isOurs = !('refusal' in request) && isKnownScheme(request.scheme)
      const known =
        'refusal' in request || deps.mirror.channel(domain.operator, request.consumer) !== undefined
      const outcome = known ? ('refusal' in request ? request : await take(request)) : UNKNOWN
      const scheme = isOurs ? request.scheme : 'other'
      deps.count(scheme, 'refusal' in outcome ? outcome.refusal : 'enrolled')
      return outcome
    },
  }
}

function readRequest(body: unknown): Request | RefusedEnrolment {
  if (!isRecord(body)) return malformed('a JSON object is expected')
  const { consumer: account, scheme, publicKey: key, evidence, signature: text, ...others } = body
  if (Object.keys(others).length > 0) return malformed('there is a field that is not known')
  const consumer = readAccount(account)
  if (consumer === undefined) return NO_ACCOUNT
  if (typeof scheme !== 'string' || scheme.length > SCHEME_CHARACTERS_MAX) {
    return malformed('scheme: a short text is expected')
  }
  const publicKey = octetsOf(key, POINT_BYTES)
  if (publicKey?.length !== POINT_BYTES || publicKey[0] !== 4) {
    return malformed('publicKey: 65 octets, uncompressed, in base64url')
  }
  const signature = readSignature(text)
  if (signature === undefined) return malformed('signature: 0x and 65 bytes in hex are expected')
  return { consumer, scheme, publicKey, evidence, signature }
}

/** The nonces that were given and not used, in the order in which they were given. */
function createNonces(random: EnrolmentDeps['random']) {
  const given = new Map<Address, { readonly nonce: Buffer; readonly untilMs: number }>()
  const get = (account: Address, nowMs: number): Buffer | undefined => {
    const found = given.get(account)
    return found !== undefined && found.untilMs > nowMs ? found.nonce : undefined
  }
  return {
    get,
    drop: (account: Address): void => void given.delete(account),
    give(account: Address, nowMs: number): Challenge {
      // Anybody can ask for one in another's name: it must not take the first one's away.
      let known = given.get(account)
      if (known === undefined || known.untilMs <= nowMs) {
        known = { nonce: random(NONCE_BYTES), untilMs: nowMs + NONCE_MS }
        given.delete(account)
        given.set(account, known)
      }
      for (const [other, { untilMs }] of given) {
        // For who asks for others in turn a refusal would be all it wants: the oldest go.
        if (untilMs > nowMs && given.size <= NONCES_MAX) break
        given.delete(other)
      }
      const { nonce, untilMs } = known
      return { nonce: nonce.toString('base64url'), expiresAt: Math.floor(untilMs / 1_000) }
    },
  }
}

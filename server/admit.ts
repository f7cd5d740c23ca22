// From a proven certificate to a reserved session, or one reason against it. Joins what certs/
// reads from the certificate, what the mirror knows of the account, and the rules of accounting/.
// Called once per conversation by access.ts, when TLS has proven that the device holds the key.

import {
  type Admission,
  type AdmissionRefusal,
  type AdmissionRules,
  type ChannelFacts,
  decideAdmission,
} from '../accounting/admission.ts'
import type { Ledger } from '../accounting/ledger.ts'
import type { NasPlace, Session } from '../accounting/session.ts'
import { StorageError } from '../accounting/storage.ts'
import { hasAllowance, type Tariff, withoutAllowance } from '../accounting/tariff.ts'
import {
  type CertificateRefusal,
  checkValidity,
  type DeviceIdentity,
  type Refused,
} from '../certs/identity.ts'
import type { Mirror } from '../chain/mirror.ts'
import type { Address } from '../ethereum/address.ts'
import type { EnsureAccount } from './accounts.ts'
import type { Payments } from './payments.ts'

/** Every reason a device with a working TLS handshake can be refused for. */
export type Refusal =
  | AdmissionRefusal
  | CertificateRefusal
  | 'certificate-revoked'
  | 'tariff-missing'
  | 'server-full'
  | 'storage-unavailable'

/** What admission needs from the rest of the server. */
export interface AdmitDeps {
  readonly mirror: Mirror
  readonly operatorId: number
  readonly ledger: Ledger
  readonly ensureAccount: EnsureAccount
  /** For the voucher a certificate may carry. */
  readonly payments: Pick<Payments, 'payVoucherUri'>
  /** The operator's account: who earns where no merchant is named. */
  readonly operatorAccount: Address
  /** The store can't be written, so nothing may begin. */
  readonly storageFailed: () => boolean
  readonly readIdentity: (der: Buffer) => DeviceIdentity | Refused
  /** The clock of the books. */
  readonly now: () => number
  /** The time of day, which certificates and the mirror are dated by. */
  readonly wallNow: () => number
  readonly random: (length: number) => Buffer
}

/** Where the device is, and the operator's terms there. */
export interface AdmitPlace {
  readonly nasPlace: NasPlace
  readonly merchant: Address | undefined
  readonly tariff: Tariff | undefined
  readonly rules: AdmissionRules
  readonly staleAfterMs: number
}

export type Admitted =
  | { readonly admitted: true; readonly session: Session }
  | {
      readonly admitted: false
      readonly reason: Refusal
      readonly detail: string
      readonly account?: Address
    }

/** How long one RPC may hold a conversation when the mirror is stale. */
const REFRESH_TIMEOUT_MS = 500

// RFC 8446 §6.2 alert numbers: the peer learns the kind of refusal, the log has the exact reason.
const ALERT_BAD_CERTIFICATE = 42
const ALERT_UNSUPPORTED_CERTIFICATE = 43
const ALERT_CERTIFICATE_REVOKED = 44
const ALERT_CERTIFICATE_EXPIRED = 45
const ALERT_ACCESS_DENIED = 49
const ALERT_INTERNAL_ERROR = 80

/** The TLS alert that carries a refusal to the peer. */
export function alertFor(reason: Refusal): number {
  switch (reason) {
    case 'certificate-expired':
      return ALERT_CERTIFICATE_EXPIRED
    case 'certificate-revoked':
      return ALERT_CERTIFICATE_REVOKED
    case 'certificate-key-unsupported':
      return ALERT_UNSUPPORTED_CERTIFICATE
    case 'chain-unavailable':
    case 'tariff-missing':
    case 'server-full':
    case 'storage-unavailable':
      return ALERT_INTERNAL_ERROR
    case 'no-escrow':
    case 'escrow-with-another-operator':
    case 'insufficient-escrow':
    case 'too-many-sessions':
    case 'debt':
    case 'too-many-newcomers':
    case 'prepay-required':
    case 'station-backoff':
      return ALERT_ACCESS_DENIED
    default:
      return ALERT_BAD_CERTIFICATE
  }
}

/**
 * Whether the mirror can be believed about this account now; asks the node once, briefly, where it
 * can't.
 */
async function mirrorIsCurrent(
  deps: AdmitDeps,
  place: AdmitPlace,
  account: Address,
): Promise<boolean> {
  const stale = deps.wallNow() - deps.mirror.heardAtMs() >= place.staleAfterMs
  const known = deps.mirror.channel(deps.operatorId, account) !== undefined
  // An outage changes nothing for known accounts until stale_after; of an unknown account the
  // mirror can't say "no deposit" while it is cut off, since the deposit may be in a block it has
  // not seen.
  if (!stale && (known || deps.mirror.connected())) return true
  return deps.mirror.refresh(REFRESH_TIMEOUT_MS)
}

/** Decides on one device; on yes the session is already in the table with its reserve taken. */
export async function admit(der: Buffer, place: AdmitPlace, deps: AdmitDeps): Promise<Admitted> {
  const identity = deps.readIdentity(der)
  if ('refusal' in identity) {
    return { admitted: false, reason: identity.refusal, detail: identity.detail }
  }
  const { account } = identity
  const refuse = (reason: Refusal, detail: string): Admitted => ({
    admitted: false,
    reason,
    detail,
    account,
  })
  const invalid = checkValidity(identity, Math.floor(deps.wallNow() / 1000))
  if (invalid !== undefined) return refuse(invalid.refusal, invalid.detail)
  if (place.tariff === undefined)
    return refuse('tariff-missing', `no tariff for ${place.nasPlace.nas}`)
  if (!(await mirrorIsCurrent(deps, place, account))) {
    return refuse('chain-unavailable', 'the chain node has not been heard for too long')
  }
  // RFC 9190 §5.4: revocation is checked at every authentication.
  if (deps.mirror.deviceKey(account, identity.spkiSha256) === 'disabled') {
    return refuse('certificate-revoked', 'the account disabled this key on chain')
  }
  if (deps.storageFailed()) return refuse('storage-unavailable', 'the store can not be written')
  try {
    await deps.ensureAccount(account)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    return refuse('storage-unavailable', error.message)
  }
  // Refused or not, the decision below is made on what the books hold then.
  if (identity.voucher !== undefined) deps.payments.payVoucherUri(identity.voucher, account)
  return reserve(account, place.tariff, place, deps)
}

/**
 * Whether `admit` would say yes now, as far as that is known without asking anyone; changes
 * nothing. For certificates whose key is not proven yet: those in tickets of TLS 1.2.
 */
export function wouldAdmit(der: Buffer, place: AdmitPlace, deps: AdmitDeps): boolean {
  const { tariff } = place
  const identity = deps.readIdentity(der)
  if ('refusal' in identity || tariff === undefined) return false
  const { account, spkiSha256 } = identity
  if (checkValidity(identity, Math.floor(deps.wallNow() / 1000)) !== undefined) return false
  if (deps.wallNow() - deps.mirror.heardAtMs() >= place.staleAfterMs) return false
  if (deps.mirror.deviceKey(account, spkiSha256) === 'disabled') return false
  if (deps.storageFailed() || deps.ledger.full) return false
  return decide(account, tariff, place, deps, deps.now()).admit
}

function decide(
  account: Address,
  tariff: Tariff,
  { nasPlace, merchant, rules }: AdmitPlace,
  deps: AdmitDeps,
  nowMs: number,
): Admission {
  const payee = merchant ?? deps.operatorAccount
  const standing = deps.ledger.standing(account, nasPlace, payee, nowMs)
  return decideAdmission(standing, channelFacts(account, deps), tariff, rules, nowMs)
}

/** What the chain says of the account now. */
export function channelFacts(
  account: Address,
  { mirror, operatorId }: Pick<AdmitDeps, 'mirror' | 'operatorId'>,
): ChannelFacts {
  const channel = mirror.channel(operatorId, account)
  const deposit = channel?.deposit ?? 0n
  return {
    deposit,
    highestVoucher: channel?.highestVoucher ?? 0n,
    pendingShift: channel?.pendingShift ?? 0n,
    // Only who has no deposit here is told of one elsewhere; the mirror sorts a list to find it.
    depositElsewhere:
      deposit === 0n && mirror.operatorsWithDeposit(account).some((other) => other !== operatorId),
  }
}

/** Decision and reserve in one synchronous step: nothing may be awaited between the two. */
function reserve(account: Address, tariff: Tariff, place: AdmitPlace, deps: AdmitDeps): Admitted {
  const { ledger, operatorAccount } = deps
  const { nasPlace } = place
  const merchant = place.merchant ?? operatorAccount
  const nowMs = deps.now()
  const decision = decide(account, tariff, place, deps, nowMs)
  if (!decision.admit) {
    return { admitted: false, reason: decision.reason, detail: decision.detail, account }
  }
  if (ledger.full) {
    return { admitted: false, reason: 'server-full', detail: 'the session table is full', account }
  }
  const { kind } = decision
  const isFree =
    kind === 'normal' && hasAllowance(tariff) && ledger.mayHaveAllowance(account, nowMs)
  const session = ledger.begin(
    {
      ...{ id: deps.random(16).toString('hex'), kind, account, merchant, place: nasPlace },
      ...{ tariff: isFree ? tariff : withoutAllowance(tariff), reserve: decision.reserve },
      endsAtMs: nowMs + decision.timeoutMs,
    },
    nowMs,
  )
  return { admitted: true, session }
}

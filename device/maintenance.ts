// What a running payer does beside paying: puts the profile's paths right after DIR moved, renews
// the certificate in time, and lets it carry a voucher for what is owed while there is no way to
// send one. Acts seldom; a failure is told and does not stop the paying. Called by run.ts at every
// step.

import { parseVoucherUri } from '../ethereum/voucher-uri.ts'
import { charge, intervalPrice } from './charge.ts'
import type { DeviceFile } from './device-file.ts'
import { octetsOf } from './meter.ts'
import { debtRefusal, isDebt } from './payer.ts'
import type { Policy } from './policy.ts'
import {
  carriedVoucher,
  isRenewalDue,
  mendPaths,
  renewCertificate,
  voucherUriOf,
} from './renewal.ts'
import type { RunEvent } from './run-events.ts'
import { knowledgeOf, type RunState } from './run-state.ts'
import type { Till } from './till.ts'
import type { OpenTill } from './tills.ts'

/** What is looked after; `now` in Unix ms by the own clock. */
export interface MaintenanceDeps {
  readonly directory: string
  readonly device: DeviceFile
  readonly accountKey: Buffer
  readonly policy: Policy
  readonly now: () => number
  readonly emit: (event: RunEvent) => void
}

/** A certificate has ten days left when it is renewed: an hour more or less is nothing. */
const RENEWAL_LOOK_MS = 3_600_000

/** Returns what run.ts calls as `maintain`. */
export function createMaintenance(
  deps: MaintenanceDeps,
): (open: OpenTill, state: RunState) => Promise<void> {
  const { directory, device, accountKey, emit } = deps
  let lookedAtMs: number | undefined
  /** What the certificate was last made for: one try for each amount. */
  let carried: bigint | undefined

  const renew = async (voucherUri: string | undefined): Promise<void> => {
    const nowSeconds = Math.floor(deps.now() / 1000)
    await renewCertificate({ directory, device, accountKey }, nowSeconds, voucherUri)
  }

  const look = async (): Promise<void> => {
    if (lookedAtMs === undefined && (await mendPaths(directory, device))) {
      emit({ event: 'renewed', what: 'paths' })
    }
    lookedAtMs = deps.now()
    if (!(await isRenewalDue(directory, Math.floor(deps.now() / 1000)))) return
    await renew(await carriedVoucher(directory))
    emit({ event: 'renewed', what: 'certificate' })
  }

  const carry = async ({ till, to }: OpenTill, amount: bigint): Promise<void> => {
    carried = amount
    const present = await carriedVoucher(directory)
    const said = present === undefined ? undefined : parseVoucherUri(present)
    if (said?.operator === to.operatorId && said.amount === amount) return
    // Durable before it is signed into a file that the supplicant may show at any moment.
    await till.signed(amount)
    await renew(voucherUriOf(to, amount))
    emit({ event: 'renewed', what: 'voucher' })
  }

  return async (open, state) => {
    try {
      if (lookedAtMs === undefined || deps.now() - lookedAtMs >= RENEWAL_LOOK_MS) await look()
      const amount =
        deps.device.kind === 'bound' ? amountToCarry(open.till, state, deps.policy) : 0n
      if (amount > 0n && amount !== carried) await carry(open, amount)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      lookedAtMs = deps.now()
      emit({ event: 'failed', what: 'certificate', message: error.message })
    }
  }
}

/**
 * The cumulative amount a certificate should carry: what is owed and a first interval; 0 for none.
 * Only while there is no connection, since with one the same is paid over HTTP, and named.
 */
export function amountToCarry(till: Till, state: RunState, policy: Policy): bigint {
  if (policy.certificateVoucher === 'off' || state.link?.isUp !== false) return 0n
  const { own } = knowledgeOf(state, till, policy)
  let arrears = 0n
  let first = 0n
  for (const session of till.sessions) {
    first = intervalPrice(session.terms)
    if (isDebt(session)) {
      if (debtRefusal({ own, policy }, session) === undefined) arrears += session.due
      continue
    }
    const seen = state.seen.get(session.id)
    if (session.state === 'closed' || seen === undefined) continue
    // The operator has not told how it ended: by the own clock and meter.
    const ms = seen.seenAtMs - session.startedAtMs
    const owed = charge(session.terms, ms, seen.meter === undefined ? 0n : octetsOf(seen.meter))
    if (owed > session.paid) arrears += owed - session.paid
  }
  if (arrears === 0n && policy.certificateVoucher !== 'prepay') return 0n
  const amount = till.book.taken + arrears + first
  const covered = till.deposit === undefined || amount <= till.deposit
  return covered && amount > till.book.taken ? amount : 0n
}

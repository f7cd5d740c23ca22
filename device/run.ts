// `device run`: watches the connection, asks the operator for the session, and does what payer.ts
// decides, one step after the other, until it is told to stop. Owns pauses, retries and what is
// told to the outside; pays nothing that till.ts has not made durable. Called by the cli.

import type { DeviceFile } from './device-file.ts'
import { DeviceError } from './error.ts'
import { reportEnds } from './last-report.ts'
import { linkOperator } from './network-block.ts'
import { countedIn, writeSeen } from './own-sessions.ts'
import { type Decision, debtRefusal, decide, isDebt, pickSession } from './payer.ts'
import type { Policy } from './policy.ts'
import { badService, FRESH_QUALITY, noteProbe } from './quality.ts'
import type { Readings } from './readings.ts'
import type { Roaming } from './roaming.ts'
import type { RunEvent } from './run-events.ts'
import { countLast, knowledgeOf, type RunState, remember, sample, tell } from './run-state.ts'
import type { SessionView } from './session-view.ts'
import type { Till } from './till.ts'
import type { OpenTill } from './tills.ts'
import type { Link, WpaControl } from './wpa-control.ts'

/** What a run is made of. */
export interface RunDeps {
  readonly directory: string
  readonly device: DeviceFile
  readonly policy: Policy
  readonly state: RunState
  readonly tillOf: (operatorId: number) => Promise<OpenTill>
  /** Absent: the connection is somebody else's business and taken to be up. */
  readonly control: WpaControl | undefined
  readonly roaming: Roaming | undefined
  readonly interfaceName: string | undefined
  /** That interface as it was since before its sessions; absent: none is counted whole. */
  readonly readings?: Pick<Readings, 'countedFor'> | undefined
  /** Pay for this session only, and end with it. */
  readonly sessionId: string | undefined
  readonly emit: (event: RunEvent) => void
  /** Deposits with the operator; throws where it fails. */
  readonly topUp: (operatorId: number, amount: bigint) => Promise<void>
  /** Looks after certificate and profile; called often, acts seldom. */
  readonly maintain: (open: OpenTill, state: RunState) => Promise<void>
  /** Resolves after the time, or at once when something happened or the run is to stop. */
  readonly pause: (ms: number) => Promise<void>
  readonly signal: AbortSignal
}

/** How a run ended: told to, its one session is over, or it left a network it cannot change. */
export type RunEnd = 'stopped' | 'session-over' | 'left'

const SAMPLE_MS = 5_000
/** A session is there as soon as the link is; until it is seen, ask this often for a while. */
const JOINING_ASK_MS = 1_000
const JOINING_MS = 20_000
const RETRY_FIRST_MS = 250
const RETRY_MAX_MS = 15_000
const REFUSED_PAUSE_MS = 5_000
const TOP_UP_AGAIN_MS = 60_000
/** hostapd on a cable drops who comes back within 5 s of being put off. */
const RECONNECT_AFTER_MS = 6_000
const ALWAYS_UP: Link = {
  isUp: true,
  isEap: true,
  isWifi: false,
  ssid: '',
  bssid: '',
  networkId: '',
  idText: '',
}

/** Runs until `signal`, or until there is nothing left to do. */
export async function runDevice(deps: RunDeps): Promise<RunEnd> {
  const { state, signal } = deps
  while (!signal.aborted) {
    const link = await watchLink(deps)
    await deps.roaming?.recover(link).catch((error) => failed(deps, 'wpa_supplicant', error))
    const open = await openTill(deps, link)
    if (open === undefined) {
      await deps.pause(RETRY_MAX_MS)
      continue
    }
    const { till } = open
    await sample(state, deps.interfaceName, till.now())
    await deps.maintain(open, state)
    const decision = decide(knowledgeOf(state, till, deps.policy))
    tellDebts(deps, till)
    const end = await act(deps, open, decision)
    if (end === undefined) continue
    tellDebts(deps, till)
    await writeSeen(deps.directory, state.seen)
    return end
  }
  await writeSeen(deps.directory, state.seen)
  return 'stopped'
}

async function openTill(deps: RunDeps, link: Link): Promise<OpenTill | undefined> {
  try {
    return await deps.tillOf(linkOperator(link.idText) ?? deps.device.operatorId)
  } catch (error) {
    failed(deps, 'operator', error)
    return undefined
  }
}

/** The link now; tells when it came or went, and forgets what belonged to the one before. */
async function watchLink(deps: RunDeps): Promise<Link> {
  const { state, control, emit } = deps
  const before = state.link
  const link = await statusOf(deps, control)
  state.link = link
  const isSame = before?.isUp === link.isUp && (!link.isUp || before.bssid === link.bssid)
  if (isSame) return link
  const open = await openTill(deps, link)
  const nowMs = open?.till.now() ?? 0
  if (open !== undefined) await countLast(state, deps.interfaceName, nowMs)
  state.quality = FRESH_QUALITY
  open?.till.outdate()
  if (link.isUp) {
    state.linkUpSinceMs = nowMs
    state.failures = 0
    state.connectedAtMs = before === undefined ? undefined : nowMs
    const operatorId = linkOperator(link.idText) ?? deps.device.operatorId
    if (control !== undefined) {
      emit({ event: 'connected', operatorId, ssid: link.ssid, bssid: link.bssid })
    }
  } else {
    state.previous = state.current ?? state.previous
    state.current = undefined
    emit({ event: 'disconnected' })
  }
  return link
}

async function statusOf(deps: RunDeps, control: WpaControl | undefined): Promise<Link> {
  if (control === undefined) return ALWAYS_UP
  try {
    return await control.status()
  } catch (error) {
    failed(deps, 'wpa_supplicant', error)
    return { ...ALWAYS_UP, isUp: false }
  }
}

/** One decision carried out; a result ends the run. */
async function act(deps: RunDeps, open: OpenTill, decision: Decision): Promise<RunEnd | undefined> {
  const { state } = deps
  const { till } = open
  if (decision.do !== 'stop' && decision.do !== 'ask' && state.stoppedFor !== undefined) {
    state.stoppedFor = undefined
    deps.emit({ event: 'paying-again' })
  }
  switch (decision.do) {
    case 'ask':
      return ask(deps, till)
    case 'resend':
      return pay(deps, till, { ...decision, why: 'again' })
    case 'pay':
      return pay(deps, till, decision)
    case 'wait':
      return idle(deps, till, decision.untilMs)
    case 'top-up':
      topUp(deps, till, decision.amount)
      return undefined
    case 'stop':
      return stopped(deps, till, decision)
    case 'leave':
      return leave(deps, till, decision.why)
  }
}

async function ask(deps: RunDeps, till: Till): Promise<RunEnd | undefined> {
  const { state } = deps
  try {
    if (till.deposit === undefined) await till.readDeposit(timeoutOf(state))
    const roundTripMs = await till.ask(timeoutOf(state))
    state.failures = 0
    state.quality = noteProbe(state.quality, roundTripMs)
    const isRunning = till.sessions.some(
      ({ id, state: is }) => id === state.current && is !== 'closed',
    )
    if (!isRunning) await countLast(state, deps.interfaceName, till.now())
    const { seen, ends } = state
    const last = { till, seen, ends, timeoutMs: timeoutOf(state), pause: deps.pause }
    if (await reportEnds(last)) await till.ask(timeoutOf(state))
  } catch (error) {
    state.quality = noteProbe(state.quality, undefined)
    await retryLater(deps, 'sessions', error)
    // On a network of another kind the operator may be far away, and that is no fault of it.
    const { isUp, isEap } = state.link ?? ALWAYS_UP
    const why = isUp && isEap ? badService(state.quality, deps.policy, till.now()) : undefined
    return why === undefined ? undefined : stopped(deps, till, { do: 'stop', why, untilMs: 0 })
  }
  return follow(deps, till)
}

/** Finds the session of this connection among those the operator told of. */
async function follow(deps: RunDeps, till: Till): Promise<RunEnd | undefined> {
  const { state, emit, sessionId, control } = deps
  const before = state.current
  const sessions =
    sessionId === undefined ? till.sessions : till.sessions.filter(({ id }) => id === sessionId)
  const { connectedAtMs, left, previous } = state
  const isUp = state.link?.isUp === true
  const was = { before: before ?? previous, connectedAtMs, left, isWatched: control !== undefined }
  state.current = isUp ? pickSession(sessions, was) : undefined
  if (before !== undefined && before !== state.current) {
    const due = till.sessions.find(({ id }) => id === before)?.due ?? 0n
    emit({ event: 'session-over', session: before, due })
    await writeSeen(deps.directory, state.seen)
    state.closedAtMs = till.now()
  }
  const session = sessions.find(({ id }) => id === state.current)
  if (session === undefined) {
    const { own } = knowledgeOf(state, till, deps.policy)
    const isPayable = (session: SessionView): boolean =>
      isDebt(session) && debtRefusal({ own, policy: deps.policy }, session) === undefined
    const isOver = sessionId !== undefined && !sessions.some(isPayable)
    return isOver && (before !== undefined || !isJoining(state, till)) ? 'session-over' : undefined
  }
  if (session.id === before) return undefined
  state.closedAtMs = undefined
  state.paidAtMs = undefined
  const { interfaceName, readings } = deps
  const counting = { interfaceName, readings, ageMostMs: till.ageMostMs(session) }
  await remember(state, session, counting, till.now())
  await writeSeen(deps.directory, state.seen)
  const { id, tariff, terms, startedAtMs, report } = session
  emit({ event: 'session', session: id, tariff, terms, startedAtMs })
  const isWhole = state.seen.get(id)?.isFromStart === true
  if (interfaceName !== undefined && report !== undefined && !isWhole) {
    emit({ event: 'not-signed', session: id })
  }
  return undefined
}

const isJoining = (state: RunState, till: Till): boolean =>
  till.now() - state.linkUpSinceMs < JOINING_MS

async function pay(
  deps: RunDeps,
  till: Till,
  o: { readonly session: string; readonly amount: bigint; readonly why: string },
): Promise<undefined> {
  const { state, emit } = deps
  const { session, amount, why } = o
  if (why === 'behind') {
    const late = till.sessions.find(({ id }) => id === session)
    if (late !== undefined) emit({ event: 'due', session, due: late.due, atMs: late.dueAtMs })
  }
  const usage = countedIn(state.seen.get(session))
  const paid = await till.pay(session, amount, usage, timeoutOf(state))
  if (paid.kind === 'paid') {
    state.failures = 0
    if (session === state.current) state.paidAtMs = till.now()
    const { credited } = paid.receipt
    emit({ event: 'paid', session, amount, credited, why })
    await writeSeen(deps.directory, state.seen)
  } else if (paid.kind === 'later') {
    await retryLater(deps, 'payment', new DeviceError('unavailable', paid.message), paid.afterMs)
  } else if (paid.kind === 'refused') {
    failed(deps, 'payment', new DeviceError('refused', paid.message))
    if (paid.code === 'over-deposit') await till.readDeposit(timeoutOf(state))
    // Without receipts the user has no evidence: no more money goes to this session.
    if (paid.code === 'receipt-invalid') tell(state.left, session)
    await deps.pause(REFUSED_PAUSE_MS)
  } else if (paid.kind === 'unproven') {
    const message = 'the operator claims a higher voucher and does not show it'
    failed(deps, 'payment', new DeviceError('refused', message))
    await deps.pause(REFUSED_PAUSE_MS)
  }
  return undefined
}

async function idle(deps: RunDeps, till: Till, untilMs: number): Promise<undefined> {
  const { state, control } = deps
  const nowMs = till.now()
  const isUp = state.link?.isUp === true
  if (isUp && state.current === undefined && isJoining(state, till)) {
    till.outdate()
    await deps.pause(JOINING_ASK_MS)
    return undefined
  }
  // Put off and all paid: the access point has forgotten us, and on a cable does not say so.
  const { closedAtMs } = state
  const mayReturn = closedAtMs !== undefined && nowMs - closedAtMs >= RECONNECT_AFTER_MS
  if (control !== undefined && mayReturn && !till.sessions.some(isDebt)) {
    state.closedAtMs = undefined
    await control.reconnect().catch((error) => failed(deps, 'wpa_supplicant', error))
  }
  await deps.roaming?.consider(state.link)
  await deps.pause(Math.min(untilMs - nowMs, SAMPLE_MS))
  return undefined
}

function topUp(deps: RunDeps, till: Till, amount: bigint): void {
  const { state, emit } = deps
  // In the background: a chain takes seconds, and the interval goes on.
  state.topUpNotBeforeMs = Number.POSITIVE_INFINITY
  deps
    .topUp(till.operatorId, amount)
    .then(() => till.readDeposit(timeoutOf(state)))
    .then(() => emit({ event: 'topped-up', amount }))
    .catch((error) => failed(deps, 'top-up', error))
    .finally(() => {
      state.topUpNotBeforeMs = till.now() + TOP_UP_AGAIN_MS
    })
}

async function stopped(
  deps: RunDeps,
  till: Till,
  { why, untilMs }: Extract<Decision, { do: 'stop' }>,
): Promise<RunEnd | undefined> {
  const { state, emit } = deps
  if (state.stoppedFor !== why) emit({ event: 'stopped-paying', why })
  state.stoppedFor = why
  if (why === 'escrow-empty') {
    await till.readDeposit(timeoutOf(state))
  } else {
    const from = state.link
    if ((await deps.roaming?.escape(from)) === true) {
      emit({ event: 'left', why, ssid: from?.ssid ?? '', bssid: from?.bssid ?? '' })
      // What was lost was lost there; the other one is judged by what it does.
      state.quality = FRESH_QUALITY
      till.outdate()
      await deps.pause(JOINING_ASK_MS)
      return undefined
    }
  }
  await deps.pause(untilMs - till.now())
  // Only an answer can show that service is good again.
  till.outdate()
  return undefined
}

async function leave(deps: RunDeps, till: Till, why: string): Promise<RunEnd | undefined> {
  const { state, emit, control } = deps
  const from = state.link
  if (state.current !== undefined) tell(state.left, state.current)
  state.current = undefined
  emit({ event: 'left', why, ssid: from?.ssid ?? '', bssid: from?.bssid ?? '' })
  till.outdate()
  if (deps.sessionId !== undefined) return 'left'
  if (control === undefined) return undefined
  const hasGone = await deps.roaming?.escape(from)
  if (hasGone !== true && from !== undefined && from.bssid !== '') {
    await control.avoid(from.bssid).catch((error) => failed(deps, 'wpa_supplicant', error))
  }
  return undefined
}

/** Says once of each debt why it is not paid. */
function tellDebts({ state, emit, policy }: RunDeps, till: Till): void {
  const { own } = knowledgeOf(state, till, policy)
  for (const debt of till.sessions.filter(isDebt)) {
    const why = debtRefusal({ own, policy }, debt)
    if (why === undefined || !tell(state.toldDebts, debt.id)) continue
    emit({ event: 'debt-refused', session: debt.id, why })
  }
}

/** Waits longer after each failure, but tries a few times in every interval. */
async function retryLater(
  deps: RunDeps,
  what: string,
  error: unknown,
  afterMs?: number,
): Promise<void> {
  const { state } = deps
  if (state.failures === 0) failed(deps, what, error)
  const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** state.failures, retryMaxMs(state))
  state.failures += 1
  await deps.pause(Math.min(afterMs ?? pauseMs, 4 * RETRY_MAX_MS))
}

function retryMaxMs({ current, seen }: RunState): number {
  const intervalMs = seen.get(current ?? '')?.terms.intervalMs ?? RETRY_MAX_MS
  return Math.min(RETRY_MAX_MS, Math.max(1_000, intervalMs / 4))
}

/** An answer that comes after the interval is over is as good as none. */
function timeoutOf({ current, seen }: RunState): number {
  const intervalMs = seen.get(current ?? '')?.terms.intervalMs ?? RETRY_MAX_MS
  return Math.min(10_000, Math.max(2_000, intervalMs / 2))
}

function failed({ emit }: RunDeps, what: string, error: unknown): void {
  if (!(error instanceof Error)) throw error
  emit({ event: 'failed', what, message: error.message })
}

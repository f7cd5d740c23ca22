// `datanet device shift`: moves escrow of a device from one operator to another. The chain takes
// its time, so the command can be run again, or told to wait; device/shift.ts sees to it that
// nothing is asked for twice.

import { resolve } from 'node:path'
import { ChainError } from '../chain/error.ts'
import { readAccountKey } from '../device/account-key.ts'
import { parseAmount, shown } from '../device/amounts.ts'
import { openChain, readChain } from '../device/chain.ts'
import { DeviceError } from '../device/error.ts'
import { readDevice } from '../device/folder.ts'
import {
  lookAtShift,
  orderShift,
  type PendingShift,
  type ShiftDeps,
  type ShiftState,
  takeShiftBack,
} from '../device/shift.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments, usage } from './arguments.ts'
import { destinationOf, enrolledOperator } from './device-operators.ts'
import { CommandError, Exit, exitOf } from './exit.ts'
import { command, near } from './next.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'device shift'

export const help = `usage: datanet device shift DIR AMOUNT --to URL|NUMBER [options]
       datanet device shift DIR [--wait] [--from URL|NUMBER]
       datanet device shift DIR --cancel [--from URL|NUMBER]

Moves AMOUNT whole tokens of the escrow of DIR from one operator to another of the same contract.
It takes two steps: the shift is asked for, with a bond; and when the time for challenges is over
and the operator has made a block after it, it is completed. Without --wait this command says what
is awaited and ends; run it again (with AMOUNT or without) to go on. Nothing is asked for twice.

What this device has promised in vouchers stays where it is. Should more be asked for than is left,
as with a lost vouchers.json, operator or merchants challenge: they cut the shift to what is
unspent and keep the bond. While a shift is pending the operator takes no voucher for the amount,
and opens sessions only for what is paid ahead.

  --to URL|NUMBER    the operator it goes to; the device need not be enrolled there yet
  --from URL|NUMBER  the operator of DIR it comes from (default: the one DIR was made with)
  --wait             stay until it has arrived
  --cancel           take a pending shift back, with its bond
  --json             {"state": "pending" | "arrived" | "cancelled" | "cut", "from", "to", "amount",
                     "requestedAt", "challengeEndsAt", "waitsFor", "dueAt", "isCut", …}

The bond comes from the account's own tokens; on an embedded chain the faucet gives it. The
wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 0 asked for, under way or arrived; 64 usage, 69 operator or chain does not answer,
tokens are missing, or a challenge left nothing; 73 another shift is pending or device run pays for
DIR (stop it while the shift is asked for), 77 password, 78 DIR is damaged.
`

const options = {
  to: { type: 'string' },
  from: { type: 'string' },
  wait: { type: 'boolean' },
  cancel: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

/** Asks, looks or takes back; prints where the shift stands. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: VERB,
    positionals: ['DIR'],
    optional: ['AMOUNT'],
    options,
  })
  const text: string | undefined = words.AMOUNT
  if (flags.cancel === true && (text ?? flags.to) !== undefined) {
    throw usage(VERB, '--cancel takes neither AMOUNT nor --to')
  }
  if ((text === undefined) !== (flags.to === undefined)) {
    throw usage(VERB, 'AMOUNT and --to go together')
  }
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const from = enrolledOperator(flags.from ?? `${device.operatorId}`, device, directory)
  const amount = text === undefined ? undefined : parseAmount(text, device.token.decimals)
  const link = openChain(from.rpc)
  try {
    const { contract, token } = device
    const chain = readChain(link.rpc, contract)
    if ((await chain.operator(from.operatorId)) === undefined) {
      const problem = `operator ${from.operatorId} is not in the contract of ${near(directory)}`
      throw new CommandError(Exit.configuration, `${problem} any more`)
    }
    const to =
      flags.to === undefined
        ? undefined
        : await destinationOf(flags.to, device, chain, link.rpc, seconds(terminal))
    if (to?.operatorId === from.operatorId) {
      throw usage(VERB, `the escrow is with operator ${from.operatorId} already`)
    }
    const accountKey = await readAccountKey(directory, device, () => knownPassword(terminal))
    const chainId = BigInt(device.chainId)
    const deps: ShiftDeps = {
      ...{ directory, device, from: from.operatorId, accountKey, chain },
      access: { rpc: link.rpc, chainId, contract, token: token.address },
      ...{ progress: terminal.err, now: terminal.now },
    }
    if (to?.isEnrolled === false) {
      const way = command('device', 'add-operator', near(directory), 'URL')
      terminal.err(`the device is not enrolled with operator ${to.operatorId} yet: ${way}`)
    }
    const order =
      to === undefined || amount === undefined ? undefined : { to: to.operatorId, amount }
    const first = await begin(flags.cancel, order, deps)
    const state = flags.wait === true ? await wait(first, deps, terminal) : first
    return await report(state, flags.json === true, deps, terminal)
  } finally {
    link.close()
  }
}

const seconds = ({ now }: Terminal): number => Math.floor(now() / 1_000)

function begin(
  cancel: boolean | undefined,
  order: { readonly to: number; readonly amount: bigint } | undefined,
  deps: ShiftDeps,
): Promise<ShiftState> {
  if (cancel === true) return takeShiftBack(deps)
  return order === undefined ? lookAtShift(deps) : orderShift(order, deps)
}

/** Between two looks: soon where it is due, else now and then, for a challenge may come. */
const LOOK_MS_MIN = 1_000
const LOOK_MS_MAX = 30_000
/** With the pauses between, a node may be away for a quarter of an hour. */
const FAILURES_MAX = 30

async function wait(first: ShiftState, deps: ShiftDeps, terminal: Terminal): Promise<ShiftState> {
  let state = first
  let failures = 0
  let told = ''
  while (state.state === 'pending') {
    const line = awaited(state)
    if (line !== told) terminal.err(line)
    told = line
    const leftMs = state.step.dueAt * 1_000 - terminal.now()
    const pauseMs = Math.min(Math.max(leftMs, LOOK_MS_MIN), LOOK_MS_MAX)
    await new Promise((done) => setTimeout(done, failures === 0 ? pauseMs : LOOK_MS_MAX))
    try {
      state = await lookAtShift(deps)
      failures = 0
    } catch (error) {
      failures += 1
      if (failures > FAILURES_MAX || !isPassing(error)) throw error
      terminal.err(`datanet: ${exitOf(error).message}; trying again`)
    }
  }
  return state
}

/** The window closed under a transaction, or the node is away: the shift stays what it was. */
const isPassing = (error: unknown): boolean =>
  error instanceof ChainError || (error instanceof DeviceError && error.code === 'unavailable')

const instant = (at: number): string => new Date(at * 1_000).toISOString()

function awaited({ step }: PendingShift): string {
  switch (step.waitsFor) {
    case 'challenge':
      return `waiting: it may be challenged until ${instant(step.challengeEndsAt)}`
    case 'block': {
      const next =
        step.blockFromAt === undefined ? '' : ` (the next begins ${instant(step.blockFromAt)})`
      return `waiting for a block of the operator that began after the request${next}`
    }
    case 'window':
      return `waiting for the operator's open window, ${instant(step.dueAt)}`
    case 'nothing':
      return 'due now'
  }
}

async function report(
  state: ShiftState,
  json: boolean,
  deps: ShiftDeps,
  terminal: Terminal,
): Promise<number> {
  const { device, from, directory } = deps
  if (state.state === 'none') {
    const ask = command('device', 'shift', near(directory), '10', '--to', 'URL')
    throw new DeviceError('usage', `no shift away from operator ${from} is pending: ${ask}`)
  }
  if (json) terminal.out(JSON.stringify(await asJson(state, deps)))
  else for (const line of await asText(state, deps)) terminal.out(line)
  if (state.state !== 'cut') return Exit.ok
  const why =
    'all of it is promised in vouchers: a challenge left nothing to move, and took the bond'
  terminal.err(`datanet: ${device.name}: ${why}`)
  return Exit.unavailable
}

async function deposits(state: ShiftState, { chain, device, from }: ShiftDeps) {
  const to =
    state.state === 'pending' ? state.shift.to : state.state === 'arrived' ? state.to : from
  const [left, there] = await Promise.all(
    [from, to].map(async (id) => (await chain.escrow(id, device.account)).deposit),
  )
  return { to, left: left ?? 0n, there: there ?? 0n }
}

async function asText(state: ShiftState, deps: ShiftDeps): Promise<string[]> {
  const { device, from, directory } = deps
  const { to, left, there } = await deposits(state, deps)
  const escrow = `escrow    ${shown(left, device.token)} with operator ${from}`
  if (state.state === 'cancelled') return ['shift     taken back', escrow]
  if (state.state === 'cut' || state.state === 'none')
    return ['shift     nothing left of it', escrow]
  const both = `${escrow}, ${shown(there, device.token)} with operator ${to}`
  if (state.state === 'arrived') {
    return [`shift     ${shown(state.amount, device.token)} arrived with operator ${to}`, both]
  }
  const { shift, step, isCut } = state
  const cut = isCut ? ', cut by a challenge, which took the bond' : ''
  const block =
    step.blockFromAt === undefined
      ? 'made'
      : `awaited of operator ${from}, the next begins ${instant(step.blockFromAt)}`
  const again = command('device', 'shift', near(directory), '--from', `${from}`)
  return [
    `shift     ${shown(shift.amount, device.token)} to operator ${to}, asked for ${instant(shift.requestedAt)}${cut}`,
    `challenge until ${instant(step.challengeEndsAt)}`,
    `block     ${block}`,
    `next      after ${instant(step.dueAt)}: ${again}`,
    both,
  ]
}

async function asJson(state: ShiftState, deps: ShiftDeps): Promise<object> {
  const { device, from } = deps
  const { to, left, there } = await deposits(state, deps)
  const { symbol, decimals } = device.token
  const base = { state: state.state, account: checksumAddress(device.account), from }
  const sums = { token: symbol, decimals, depositFrom: `${left}` }
  if (state.state === 'arrived') {
    return { ...base, to, amount: `${state.amount}`, ...sums, depositTo: `${there}` }
  }
  if (state.state !== 'pending') return { ...base, ...sums }
  const { shift, step, isCut } = state
  const { waitsFor, challengeEndsAt, blockFromAt = null, dueAt } = step
  const times = { requestedAt: shift.requestedAt, challengeEndsAt, blockFromAt, dueAt }
  const amounts = { amount: `${shift.amount}`, bond: `${shift.bond}`, isCut }
  return { ...base, to, ...amounts, waitsFor, ...times, ...sums, depositTo: `${there}` }
}

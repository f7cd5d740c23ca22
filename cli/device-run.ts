// `datanet device run`: the payer of a device as a program. Reads flags and password, takes the
// lock of DIR, prints what happens, stops cleanly on a signal; device/run.ts does the work.

import { flushCompileCache } from 'node:module'
import { resolve } from 'node:path'
import { readAccountKey } from '../device/account-key.ts'
import type { Published } from '../device/activity.ts'
import { createActivityTimer } from '../device/activity-timer.ts'
import { type DeviceFile, operatorsOf, type PolicyText, policyOf } from '../device/device-file.ts'
import { readDevice } from '../device/folder.ts'
import { createMaintenance } from '../device/maintenance.ts'
import { isInterfaceName, readCounters } from '../device/meter.ts'
import { readSeen } from '../device/own-sessions.ts'
import { type Readings, watchInterface } from '../device/readings.ts'
import { createRoaming } from '../device/roaming.ts'
import { runDevice } from '../device/run.ts'
import { jsonLine, type RunEvent, sentence } from '../device/run-events.ts'
import { freshState } from '../device/run-state.ts'
import { createTills, type MeteringKeyChoice, type OpenTill } from '../device/tills.ts'
import { lockPayer, openVouchers } from '../device/vouchers-file.ts'
import { openWpaControl, type WpaControl } from '../device/wpa-control.ts'
import { readArguments, usage } from './arguments.ts'
import { Exit } from './exit.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'device run'

export const help = `usage: datanet device run DIR [options]

Pays for the connection of a device as it goes, until it is stopped (SIGTERM, Ctrl-C). Each interval
is paid before it ends; never more than the agreed tariff and the device's own meter allow (5 % and
1 MB more at most), never above the deposit. A restart pays nothing twice.

  --wpa-control SOCKETS  wpa_supplicant's control folder, as /run/wpa_supplicant: wait for its
                         connections, join the best network that DIR's operators list (price and
                         reliability), leave a bad one, come back after being put off
  --interface IF         count this interface's octets and sign the count, for the operator to
                         compare with the access point's (needed with --wpa-control). Start it
                         some seconds before joining: a session that began earlier is not signed
  --session ID           pay for this session only, and end with it
                         (with neither: pay for the account's newest session)
  --metering-key auto|tpm|software   what signs the count of --interface: a key in this machine's
                         TPM 2.0 (tpm2-tools; $TPM2TOOLS_TCTI or /dev/tpmrm0), which operators may
                         trust more, or one in DIR; auto (default): the TPM's where there is one and
                         the operator takes it. Which it is, is told, and why. One in a TPM that
                         the operator took signs what is published, too (see device activity)
  --json                 one JSON object a line on stdout: connected, session, paid, due,
                         stopped-paying, left, …; without it, lines for people on stderr

Policy, also as "policy" in device.json (perMinuteMax, silentSeconds, …); amounts in whole tokens:
  --per-minute-max A  --per-megabyte-max A   leave where more is asked (default: no limit)
  --debt-max A           pay old debts up to this (default: what their terms can add up to)
  --topup-below A  --topup A   deposit so much when less than that is left
  --silent-seconds N     bad service: sent, and nothing received for so long (default 30)
  --probes-lost-max N    bad service: so many questions to the operator unanswered (default 5)
  --round-trip-max-ms N  bad service: the median of five answers took longer (default 5000)
  --certificate-voucher off|arrears|prepay   what the certificate carries for the next join while
                         there is no connection (default arrears)
  --activity off|daily|exit   publish what was used, under the account's name, on the chain: never,
                         once a day, or also at the end (default daily; see device activity)
While service is bad nothing is paid, and another known network is joined if there is one.

The wallet's password comes from $DATANET_PASSWORD, else it is asked for (a direct device needs
none). Exit codes: 0 stopped or its session is over, 64 usage, 69 it left a network that asks too
much, 73 another payer runs for DIR, 77 password, 78 DIR is damaged.
`

const amountFlags = {
  'per-minute-max': 'perMinuteMax',
  'per-megabyte-max': 'perMegabyteMax',
  'debt-max': 'debtMax',
  'topup-below': 'topupBelow',
  topup: 'topup',
} as const
const numberFlags = {
  'silent-seconds': 'silentSeconds',
  'probes-lost-max': 'probesLostMax',
  'round-trip-max-ms': 'roundTripMaxMs',
} as const

const text = { type: 'string' } as const
const options = {
  'wpa-control': text,
  interface: text,
  session: text,
  json: { type: 'boolean' },
  'per-minute-max': text,
  'per-megabyte-max': text,
  'debt-max': text,
  'topup-below': text,
  topup: text,
  'silent-seconds': text,
  'probes-lost-max': text,
  'round-trip-max-ms': text,
  'certificate-voucher': text,
  activity: text,
  'metering-key': text,
} as const

type Flags = { readonly [Name in keyof typeof options]?: string | boolean | undefined }

/** Runs until a signal or the end of its session. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, { verb: VERB, positionals: ['DIR'], options })
  const place = placeOf(flags)
  const said = policyText(flags)
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const policy = policyOf({ ...device.policy, ...said }, device.token.decimals)
  if ((policy.topUp === undefined) !== (policy.topUpBelow === undefined)) {
    throw usage(VERB, '--topup and --topup-below go together')
  }
  const lock = lockPayer(directory)
  const stop = new AbortController()
  const halt = (): void => stop.abort()
  process.once('SIGTERM', halt).once('SIGINT', halt)
  const pauses = createPauses(stop.signal)
  const { interfaceName } = place
  const readings = interfaceName === undefined ? undefined : await watchInterface(interfaceName)
  const control = controlOf(place, terminal.now, readings, pauses.wake)
  const emit = printer(flags.json === true, device, terminal)
  try {
    const accountKey = await readAccountKey(directory, device, () => knownPassword(terminal))
    const vouchers = await openVouchers(directory)
    const { now } = terminal
    const tillOf = createTills({
      ...{ directory, device, accountKey, vouchers, now },
      // Without an interface there is no meter to report.
      ...(interfaceName !== undefined && {
        reports: { emit, meteringKey: place.meteringKey, environment: process.env },
      }),
    })
    const timer = createActivityTimer({
      ...{ directory, when: policy.activity, now, emit },
      publish: (open) => publish(directory, device, open, place.meteringKey, terminal),
    })
    const maintain = createMaintenance({ directory, device, accountKey, policy, now, emit })
    await tellStart(place, emit)
    // A payer ends with its machine more often than in peace: the next one finds the cache.
    flushCompileCache()
    const end = await runDevice({
      ...{ directory, device, policy, tillOf, control, emit },
      state: await freshState(await readSeen(directory), interfaceName),
      ...{ interfaceName, readings },
      sessionId: place.sessionId,
      roaming:
        control === undefined
          ? undefined
          : createRoaming({ control, operators: operatorsOf(device), now, pause: pauses.pause }),
      topUp: (operatorId, amount) => topUp(device, operatorId, amount, accountKey, terminal),
      maintain: async (open, state) => {
        await maintain(open, state)
        timer.step(open)
      },
      pause: pauses.pause,
      signal: stop.signal,
    })
    await timer.end()
    emit({ event: 'stopped' })
    return end === 'left' ? Exit.unavailable : Exit.ok
  } finally {
    control?.close()
    readings?.close()
    process.off('SIGTERM', halt).off('SIGINT', halt)
    lock.release()
  }
}

function controlOf(
  { wpaControl: directory, interfaceName }: Place,
  now: () => number,
  readings: Readings | undefined,
  wake: () => void,
): WpaControl | undefined {
  if (directory === undefined || interfaceName === undefined) return undefined
  return openWpaControl({ directory, interfaceName, now }, (event) => {
    if (event === 'connected') void readings?.take(true)
    wake()
  })
}

interface Place {
  readonly wpaControl: string | undefined
  readonly interfaceName: string | undefined
  readonly sessionId: string | undefined
  readonly meteringKey: MeteringKeyChoice
}

function placeOf(flags: {
  readonly 'metering-key'?: string | undefined
  readonly 'wpa-control'?: string | undefined
  readonly interface?: string | undefined
  readonly session?: string | undefined
}): Place {
  const { interface: interfaceName, session: sessionId, 'wpa-control': wpaControl } = flags
  if (interfaceName !== undefined && !isInterfaceName(interfaceName)) {
    throw usage(VERB, `--interface ${JSON.stringify(interfaceName)} is no interface name`)
  }
  if (wpaControl !== undefined && interfaceName === undefined) {
    throw usage(VERB, '--wpa-control needs --interface')
  }
  if (sessionId !== undefined && !/^[0-9a-f]{32}$/.test(sessionId)) {
    throw usage(VERB, '--session takes 32 hex digits')
  }
  const meteringKey = meteringKeyOf(flags['metering-key'])
  if (flags['metering-key'] !== undefined && interfaceName === undefined) {
    throw usage(VERB, '--metering-key needs --interface: without it there is no count to sign')
  }
  return { wpaControl, interfaceName, sessionId, meteringKey }
}

/** An interface that comes later is counted from then on; a misspelt one never comes. */
async function tellStart({ interfaceName }: Place, emit: (event: RunEvent) => void): Promise<void> {
  emit({ event: 'started', pid: process.pid })
  if (interfaceName === undefined || (await readCounters(interfaceName)) !== undefined) return
  const message = `${interfaceName} is not there: nothing is counted or signed until it is`
  emit({ event: 'failed', what: 'interface', message })
}

function meteringKeyOf(flag: string | undefined): MeteringKeyChoice {
  if (flag === undefined) return 'auto'
  if (flag === 'auto' || flag === 'tpm' || flag === 'software') return flag
  throw usage(VERB, '--metering-key is auto, tpm or software')
}

function policyText(flags: Flags): PolicyText {
  const said: Record<string, string | number> = {}
  for (const [flag, name] of Object.entries(amountFlags)) {
    const value = flags[flag as keyof typeof amountFlags]
    if (typeof value === 'string') said[name] = value
  }
  for (const [flag, name] of Object.entries(numberFlags)) {
    const value = flags[flag as keyof typeof numberFlags]
    if (typeof value !== 'string') continue
    if (!/^[1-9]\d{0,8}$/.test(value)) throw usage(VERB, `--${flag} takes a whole number above 0`)
    said[name] = Number(value)
  }
  const { activity, 'certificate-voucher': voucher } = flags
  if (activity !== undefined) {
    if (activity !== 'off' && activity !== 'daily' && activity !== 'exit') {
      throw usage(VERB, '--activity is off, daily or exit')
    }
    said['activity'] = activity
  }
  if (voucher === undefined) return said
  if (voucher === 'off' || voucher === 'arrears' || voucher === 'prepay') {
    return { ...said, certificateVoucher: voucher }
  }
  throw usage(VERB, '--certificate-voucher is off, arrears or prepay')
}

function printer(
  json: boolean,
  { token }: DeviceFile,
  terminal: Terminal,
): (event: RunEvent) => void {
  return (event) => {
    if (json) terminal.out(jsonLine(event, terminal.now()))
    else terminal.err(sentence(event, token))
  }
}

/** Pauses that end early: when the link changes, and for good when the run is to stop. */
function createPauses(signal: AbortSignal) {
  let wakeNow: (() => void) | undefined
  const wake = (): void => wakeNow?.()
  signal.addEventListener('abort', wake)
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        wakeNow = undefined
        resolve()
      }
      const timer = setTimeout(done, Math.max(0, ms))
      wakeNow = done
    })
  return { pause, wake }
}

/** Loads the chain library once a day. */
async function publish(
  directory: string,
  device: DeviceFile,
  { to }: OpenTill,
  meteringKey: MeteringKeyChoice,
  { now, env, err: progress }: Terminal,
): Promise<Published> {
  const [{ openChain, readChain }, { publishNow }, { findActivityKey }] = await Promise.all([
    import('../device/chain.ts'),
    import('../device/activity.ts'),
    import('../device/activity-key.ts'),
  ])
  const operator = operatorsOf(device).find(({ operatorId }) => operatorId === to.operatorId)
  const link = openChain((operator ?? device).rpc)
  try {
    const place = { directory, operatorId: to.operatorId }
    const key = meteringKey === 'software' ? undefined : await findActivityKey(place, env)
    const chain = readChain(link.rpc, device.contract)
    const where = { directory, device, to, rpc: link.rpc, chain }
    return await publishNow({ ...where, key, progress, now })
  } finally {
    link.close()
  }
}

/** Loads the chain library only now: most runs never need it. */
async function topUp(
  device: DeviceFile,
  operatorId: number,
  amount: bigint,
  accountKey: Buffer,
  terminal: Terminal,
): Promise<void> {
  const [{ openChain, readChain }, { depositTokens }] = await Promise.all([
    import('../device/chain.ts'),
    import('../device/funds.ts'),
  ])
  const operator = operatorsOf(device).find((one) => one.operatorId === operatorId) ?? device
  const { contract, token } = device
  const link = openChain(operator.rpc)
  try {
    await depositTokens(
      {
        ...{ accountKey, parts: [{ operatorId, amount }], contract, token },
        operatorUrl: operator.operatorUrl,
        chainId: BigInt(device.chainId),
      },
      {
        rpc: link.rpc,
        chain: readChain(link.rpc, contract),
        progress: terminal.err,
        nowSeconds: Math.floor(terminal.now() / 1000),
      },
    )
  } finally {
    link.close()
  }
}

// `datanet device activity`: shows what a device's account has used since its last published
// summary, and publishes it. device/activity.ts does the work.

import { resolve } from 'node:path'
import { readAccountKey } from '../device/account-key.ts'
import { nextSummary, type Published, publishNow } from '../device/activity.ts'
import { findActivityKey } from '../device/activity-key.ts'
import { shown } from '../device/amounts.ts'
import { openChain, readChain } from '../device/chain.ts'
import { type DeviceFile, operatorsOf } from '../device/device-file.ts'
import { readDevice } from '../device/folder.ts'
import { createTills } from '../device/tills.ts'
import { openVouchers } from '../device/vouchers-file.ts'
import { type Activity, BY_DEVICE } from '../ethereum/activity.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { enrolledOperator } from './device-operators.ts'
import { Exit, exitOf } from './exit.ts'
import { command, near } from './next.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device activity DIR [--publish] [--operator URL|NUMBER] [--json]

Shows what the account of DIR has used and paid with each of its operators and has not published
yet: sessions that are over, octets, money, as the operator's ledger has them. Where the access
point does not tell of the end, the operator may take minutes to close a session. With --publish the
summary goes to the chain, for everybody to read, under the account's name.

The summary is signed by the account. Its evidence is the signature of the metering key in this
machine's TPM, where device run --interface has shown it to the operator for this account: then the
contract enrols it; else the operator's signature, which checks it against its ledger. Such a key is
public then: it shows which accounts use the same machine. Evidence proves who reported, not that it
is true. Each session is published once, in the first summary after its end. The account pays the
gas; on an embedded chain the faucet gives it.

  --publish              publish it (device run does so once a day: --activity daily)
  --operator URL|NUMBER  with this operator of DIR only
  --json                 {"activities": [{"operator", "published", "transaction", "start", "end",
                         "sessions", "bytesUp", "bytesDown", "paid", "nonce", "verifier"}]}

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 0 published, or there is nothing new; 64 usage, 69 operator or chain does not answer or
refuses, 77 password, 78 DIR is damaged.
`

const options = {
  publish: { type: 'boolean' },
  operator: { type: 'string' },
  json: { type: 'boolean' },
} as const

const NOTHING = 'nothing new to publish: a session counts when its operator has closed it'

/** A summary, and the transaction that published it. */
interface Told {
  readonly activity: Activity
  readonly transaction: string | undefined
}

/** Prints one block of lines for each operator that has something new. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const verb = 'device activity'
  const { flags, words } = readArguments(args, { verb, positionals: ['DIR'], options })
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const { now } = terminal
  const operators =
    flags.operator === undefined
      ? operatorsOf(device)
      : [enrolledOperator(flags.operator, device, directory)]
  const accountKey = await readAccountKey(directory, device, () => knownPassword(terminal))
  const vouchers = await openVouchers(directory)
  const tillOf = createTills({ directory, device, accountKey, vouchers, now })
  const told: Told[] = []
  let failures = 0
  for (const { operatorId, rpc: url } of operators) {
    const link = openChain(url)
    try {
      const { to } = await tillOf(operatorId)
      const chain = readChain(link.rpc, device.contract)
      const progress = terminal.err
      const place = { directory, operatorId }
      const key = flags.publish === true ? await findActivityKey(place, terminal.env) : undefined
      const deps = { ...{ directory, device, to, rpc: link.rpc, chain }, key, progress, now }
      const one = flags.publish === true ? toldOf(await publishNow(deps)) : await look(deps)
      if (one !== undefined) told.push(one)
    } catch (error) {
      failures += 1
      terminal.err(`datanet: operator ${operatorId}: ${exitOf(error).message}`)
    } finally {
      link.close()
    }
  }
  if (flags.json === true) terminal.out(JSON.stringify({ activities: told.map(asJson) }))
  else if (told.length > 0) for (const line of lines(told, device, directory)) terminal.out(line)
  else if (failures === 0) terminal.out(NOTHING)
  return failures > 0 ? Exit.unavailable : Exit.ok
}

async function look(deps: Parameters<typeof nextSummary>[0]): Promise<Told | undefined> {
  const activity = await nextSummary(deps)
  return activity === undefined ? undefined : { activity, transaction: undefined }
}

function toldOf(published: Published): Told | undefined {
  if (published.kind === 'nothing-new') return undefined
  return { activity: published.activity, transaction: published.transaction }
}

const instant = (seconds: number): string =>
  new Date(seconds * 1_000).toISOString().replace('.000Z', 'Z')

function lines(told: readonly Told[], device: DeviceFile, directory: string): string[] {
  const next = command('device', 'activity', near(directory), '--publish')
  const shownLines = told.flatMap(({ activity, transaction }) => [
    `operator  ${activity.operator}: ${instant(activity.start)} to ${instant(activity.end)}`,
    `used      ${activity.sessions} sessions, ${activity.bytesUp} octets up, ${activity.bytesDown} down`,
    `paid      ${shown(activity.paid, device.token)}`,
    transaction === undefined
      ? 'state     not published'
      : `state     published by ${evidenceBy(activity)} in ${transaction}`,
  ])
  return told.some(({ transaction }) => transaction === undefined)
    ? [...shownLines, `next      ${next}`]
    : shownLines
}

const evidenceBy = ({ verifier }: Activity): string =>
  verifier === BY_DEVICE ? "the device's key" : "the operator's word"

function asJson({ activity, transaction }: Told): object {
  const { operator, start, end, sessions, bytesUp, bytesDown, paid, nonce, verifier } = activity
  return {
    ...{ account: checksumAddress(activity.consumer), operator },
    ...{ published: transaction !== undefined, transaction: transaction ?? null },
    ...{ start, end, sessions, bytesUp: `${bytesUp}`, bytesDown: `${bytesDown}` },
    ...{ paid: `${paid}`, nonce: `${nonce}`, verifier },
  }
}

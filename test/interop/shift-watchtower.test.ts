// A device asks to move away what it has promised, while its operator is gone. Only the program of
// a merchant still runs, with nobody to sign for: it alone challenges, and what arrives in the end
// is what was unspent, to the unit.
// Mostly waits: for periods of 12 s and a challenge of 20 s.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { readChannel, tokenBalance } from '../../chain/calls.ts'
import { readShift } from '../../chain/shift-calls.ts'
import { sealAccount } from '../../device/keystore.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { deviceOf, TIMING, TOKEN } from './notary-rig.ts'
import { datanet as program, SECRET, temporaryDirectory, waitFor } from './server.ts'
import { PASSWORD, shiftRig } from './shift-rig.ts'

t.setTimeout(170_000)

interface Line {
  readonly event?: string
  readonly amount?: string
}

/** `datanet merchant run`; what it logs. */
function runMerchant(t: Test, cwd: string, name: string): { lines: Line[]; child: ChildProcess } {
  const child = spawn(process.execPath, [program, 'merchant', 'run', name], {
    ...{ cwd, stdio: ['ignore', 'ignore', 'pipe'] },
    env: { ...process.env, DATANET_PASSWORD: PASSWORD },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: Line[] = []
  if (child.stderr === null) throw new Error('no stderr')
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('{')) lines.push(JSON.parse(line))
  })
  return { lines, child }
}

t.test("with the operator gone a merchant's watchtower challenges alone", async (t) => {
  const directory = temporaryDirectory(t)
  const rig = await shiftRig(t, directory)
  const { access, datanet, node } = rig
  const merchantKey = randomBytes(32)
  const merchant = accountOf(merchantKey)
  const client = `  - { name: cafe, ipaddr: 127.0.0.12/32, secret: ${SECRET}, merchant: "${checksumAddress(merchant)}" }`
  const [a, b] = await Promise.all([rig.operator('a', client), rig.operator('b')])

  writeFileSync(join(directory, 'backup.json'), await sealAccount(merchantKey, PASSWORD, 1_024))
  const enrolled = ['--operator', a.server().url]
  const created = await datanet(
    'merchant',
    'create',
    'cafe',
    ...enrolled,
    '--wallet',
    'backup.json',
  )
  t.equal(created.code, 0, created.errors)
  await node.give(merchant, 0)
  const agent = runMerchant(t, directory, 'cafe')
  const has = (event: string) => agent.lines.some((line) => line.event === event)

  const made = await datanet('device', 'create', 'eve', ...enrolled)
  t.equal(made.code, 0, made.errors)
  const key = await rig.keyOf('eve')
  const consumer = accountOf(key)
  await node.give(consumer, 12)
  t.equal((await datanet('device', 'topup', 'eve', '10')).code, 0)
  await waitFor(
    () => has('registered'),
    3 * TIMING.beta * 1_000,
    () => 'the merchant did not join',
  )

  // Paid by a program of its own: this folder's book of vouchers knows nothing of it.
  const payer = deviceOf(key, { access, operatorId: a.id }, a.server, () => 1)
  let session = ''
  const isJoined = async (): Promise<boolean> => {
    session = await payer.join(2).catch(() => '')
    return session !== ''
  }
  await waitFor(isJoined, 15_000, () => 'not admitted')
  const spent = TOKEN * 3n + 7n
  t.ok(await payer.pay(session, spent))
  // Her first block may be one from before the payment.
  let owed = 0n
  const isOwed = async (): Promise<boolean> => {
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const status = await datanet('merchant', 'status', 'cafe', '--json')
    owed = BigInt(JSON.parse(status.out).withdrawable)
    return owed > 0n
  }
  await waitFor(isOwed, 4 * TIMING.beta * 1_000, () => 'no block that owes her anything')
  t.ok(owed <= spent, `${owed} of it is hers`)

  await a.server().stop()
  const signed = () => agent.lines.filter(({ event }) => event === 'signed').length
  const signedBefore = signed()
  const channel = await readChannel(access, a.id, consumer)
  t.equal(channel.highestVoucher, 0n, 'the contract has seen no voucher')
  const asked = await datanet('device', 'shift', 'eve', '10', '--to', `${b.id}`, '--json')
  t.equal(asked.code, 0, asked.errors)
  await waitFor(
    () => has('challenged'),
    30_000,
    () => JSON.stringify(agent.lines.slice(-5)),
  )
  const shift = await readShift(access, a.id, consumer)
  t.equal(shift.amount, 10n * TOKEN - spent, 'cut to what is unspent, to the unit')
  t.equal(await tokenBalance(access, merchant), TOKEN, 'the bond is hers')
  t.equal(signed(), signedBefore, 'she signed nothing meanwhile')

  await a.restart()
  const arrived = await datanet('device', 'shift', 'eve', '--wait', '--json')
  t.match(JSON.parse(arrived.out), { state: 'arrived', amount: `${10n * TOKEN - spent}` })
  t.equal((await readChannel(access, a.id, consumer)).deposit, spent)
  t.equal((await readChannel(access, b.id, consumer)).deposit, 10n * TOKEN - spent)
  const paid = await datanet('merchant', 'withdraw', 'cafe', '--json')
  t.match(JSON.parse(paid.out), { paid: `${owed}` }, 'and she is paid in full')
  t.equal(await tokenBalance(access, merchant), TOKEN + owed)
})

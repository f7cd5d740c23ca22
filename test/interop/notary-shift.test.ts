// A device whose book of vouchers is lost asks to move away all it has: the operator's own server
// challenges, and exactly what is unspent arrives. Beside it one that owes nothing, unchallenged.
// Mostly waits: for periods of 12 s and a challenge of 20 s.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readChannel, tokenBalance } from '../../chain/calls.ts'
import { readShift } from '../../chain/shift-calls.ts'
import { openAccount } from '../../device/keystore.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { deviceOf, notaryRig, TOKEN } from './notary-rig.ts'
import { addressOf } from './payers.ts'
import { createDevice, runDatanet, temporaryDirectory } from './server.ts'
import { PASSWORD } from './shift-rig.ts'

t.setTimeout(170_000)

t.test('a shift is challenged where a voucher stands against it, and else arrives', async (t) => {
  const directory = temporaryDirectory(t)
  const rig = await notaryRig(t, { directory, merchants: 0 })
  const { access, operatorId, anotherOperator } = rig.payers
  const other = await anotherOperator(randomBytes(32))
  const operator = (await (await fetch(`${rig.server().url}/v1/operator`)).json()) as {
    account: string
  }
  for (const name of ['spender', 'saver']) {
    await createDevice(rig.server(), name, ['--deposit', '900'])
  }
  const datanet = (...args: string[]) => runDatanet(args, { cwd: directory })
  const shift = (name: string, ...args: string[]) => datanet('device', 'shift', name, ...args)
  const wallet = readFileSync(join(directory, 'spender', 'wallet.json'), 'utf8')
  const key = await openAccount(wallet, PASSWORD)
  const consumer = accountOf(key)
  // Paid by a program of its own: the folder's book of vouchers knows nothing of it.
  const spender = deviceOf(key, { access, operatorId }, rig.server, () => 1)
  const session = await spender.join(0)
  const spent = 3n * TOKEN + 5n
  t.ok(await spender.pay(session, spent))
  const treasury = await balanceOf(operator.account)
  async function balanceOf(account: string): Promise<bigint> {
    return tokenBalance(access, addressOf(account))
  }

  t.equal((await readChannel(access, operatorId, consumer)).highestVoucher, 0n)
  const to = ['--to', `${other}`]
  for (const [name, amount] of [
    ['spender', '900'],
    ['saver', '400'],
  ] as const) {
    // The faucet gives the bond.
    const asked = await shift(name, amount, ...to, '--json')
    t.match(asked, { code: 0, errors: /drew 1 DNT from the faucet/ })
  }
  await rig.server().logged((line) => line['msg'] === 'notary: shift challenged', 15_000)
  const cut = await readShift(access, operatorId, consumer)
  t.equal(cut.amount, 900n * TOKEN - spent, 'to what is unspent, to the unit')
  t.equal(await balanceOf(operator.account), treasury + TOKEN, 'the bond is the challenger’s')
  t.notOk(await spender.pay(session, 1n), 'nothing is taken for what is to move')
  const seen = await shift('spender', '900', ...to)
  t.match(seen, { code: 0, out: /^shift .*896\.99\d+ DNT to operator .*cut by a challenge/m })

  const [left, whole] = await Promise.all([
    shift('spender', '--wait', '--json'),
    shift('saver', '400', ...to, '--wait', '--json'),
  ])
  t.equal(left.code, 0, left.errors)
  t.match(JSON.parse(left.out), {
    ...{ state: 'arrived', amount: `${900n * TOKEN - spent}` },
    ...{ depositFrom: `${spent}`, depositTo: `${900n * TOKEN - spent}` },
  })
  t.match(JSON.parse(whole.out), {
    ...{ state: 'arrived', amount: `${400n * TOKEN}` },
    ...{ depositFrom: `${500n * TOKEN}`, depositTo: `${400n * TOKEN}` },
  })
  t.equal(await balanceOf(consumer), 0n, 'her bond is gone')
  const saver = JSON.parse((await datanet('device', 'status', 'saver', '--json')).out)
  t.equal(saver.tokenBalance, `${TOKEN}`, 'his is back')
  const again = await shift('spender', '1', ...to)
  t.match(again, { code: 69, errors: /at most 0 DNT can be moved/ })
})

// A device moves escrow from one real operator to another by its command line: asked for once
// however often it is run, told while it waits, there when it has arrived.
// Mostly waits: for periods of 12 s and a challenge of 20 s.

import { join } from 'node:path'
import t from 'tap'
import { readChannel, tokenBalance } from '../../chain/calls.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { TOKEN } from './notary-rig.ts'
import { eapolTest, temporaryDirectory, waitFor } from './server.ts'
import { shiftRig } from './shift-rig.ts'

t.setTimeout(170_000)

t.test('unchallenged it arrives, and opens a session there', async (t) => {
  const directory = temporaryDirectory(t)
  const rig = await shiftRig(t, directory)
  const { access, datanet } = rig
  const [a, b] = await Promise.all([rig.operator('a'), rig.operator('b')])
  const [urlA, urlB] = [a.server().url, b.server().url]

  const both = ['--operator', urlA, '--operator', urlB]
  const made = await datanet('device', 'create', 'alice', ...both, '--json')
  t.equal(made.code, 0, made.errors)
  const account = parseAddress(JSON.parse(made.out).account)
  if (account === undefined) throw new Error(made.out)
  const depositAt = async (id: number) => (await readChannel(access, id, account)).deposit
  const shift = (...args: string[]) => datanet('device', 'shift', 'alice', ...args)
  const tokens = async () => (await tokenBalance(access, account)) / TOKEN

  await rig.node.give(account, 10)
  const toppedUp = await datanet('device', 'topup', 'alice', '10')
  t.match(toppedUp, { code: 0, out: `escrow    10 DNT with operator ${a.id}\n` })
  t.match(await shift('4', '--to', urlB), { code: 69, errors: /0 DNT, 1 DNT needed/ }, 'the bond')
  await rig.node.give(account, 5)
  t.match(await shift('11', '--to', urlB), { code: 69, errors: /at most 10 DNT can be moved/ })
  t.match(await shift('1', '--to', urlA), { code: 64, errors: /already/ })
  t.match(await shift(), { code: 64, errors: /no shift .* is pending/ })
  t.match(await shift('--cancel'), { code: 64, errors: /no shift .* is pending/ })
  t.match(await shift('1', '--to', '77'), { code: 69, errors: /operator 77 is not known/ })

  const asked = await shift('4', '--to', urlB, '--json')
  t.equal(asked.code, 0, asked.errors)
  const pending = { state: 'pending', from: a.id, to: b.id, amount: `${4n * TOKEN}`, isCut: false }
  t.match(JSON.parse(asked.out), { ...pending, depositFrom: `${10n * TOKEN}` })
  t.equal(await tokens(), 4n, 'the bond is pulled')
  const again = await shift('4', '--to', `${b.id}`, '--json')
  t.match(JSON.parse(again.out), { ...pending, requestedAt: JSON.parse(asked.out).requestedAt })
  t.equal(await tokens(), 4n, 'and once only')
  t.match(await shift('3', '--to', urlB), { code: 73, errors: /a shift of 4 DNT .* is pending/ })
  const status = await datanet('device', 'status', 'alice', '--json')
  t.match(JSON.parse(status.out), {
    escrows: [
      { operatorId: a.id, deposit: `${10n * TOKEN}`, shift: { to: b.id, amount: `${4n * TOKEN}` } },
      { operatorId: b.id, deposit: '0', shift: null },
    ],
  })
  t.match((await datanet('device', 'status', 'alice')).out, /^shift +4 DNT from operator/m)

  const dir = join(directory, 'alice')
  const atA = () => eapolTest(a.server(), dir)
  const atB = () =>
    eapolTest(b.server(), dir, { edit: (conf) => conf.slice(conf.lastIndexOf('network={')) })
  await waitFor(
    async () => !(await atA()).ok,
    15_000,
    () => 'A lets in who has not paid ahead',
  )
  t.notOk((await atB()).ok, 'nothing has arrived yet')

  // Taken back, asked for again: a bond at a time.
  t.match(await shift('--cancel'), { code: 0, out: /taken back/ })
  t.equal(await tokens(), 5n)
  t.match(await shift('4', '--to', urlB), { code: 0, out: /^block .* awaited/m })
  const arrived = await shift('--wait', '--json')
  t.equal(arrived.code, 0, arrived.errors)
  t.match(JSON.parse(arrived.out), { state: 'arrived', to: b.id, amount: `${4n * TOKEN}` })
  t.same([await depositAt(a.id), await depositAt(b.id)], [6n * TOKEN, 4n * TOKEN])
  t.equal(await tokens(), 5n, 'the bond is back')
  await waitFor(
    async () => (await atB()).ok,
    15_000,
    () => 'B does not let it in',
  )
  t.match(await shift(), { code: 64, errors: /no shift .* is pending/ })

  const split = ['topup', 'alice', '3', '--operator', `${a.id}`, '--operator', urlB, '--json']
  const halves = JSON.parse((await datanet('device', ...split)).out)
  t.match(halves.deposits, [
    { deposit: `${75n * (TOKEN / 10n)}` },
    { deposit: `${55n * (TOKEN / 10n)}` },
  ])

  // A new account has nothing to deposit here: the line to go on with splits it all the same.
  const bob = await datanet('device', 'create', 'bob', ...both, '--deposit', '2')
  const line = new RegExp(`device topup bob 2 --operator ${a.id} --operator ${b.id}`)
  t.match(bob, { code: 69, errors: line })
  await rig.node.give(accountOf(await rig.keyOf('bob')), 2)
  const words = line.source.split(' ')
  t.match(await datanet(...words), {
    ...{
      code: 0,
      out: `escrow    1 DNT with operator ${a.id}\nescrow    1 DNT with operator ${b.id}\n`,
    },
  })
})

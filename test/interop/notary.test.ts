// Blocks of a real server on its real chain: merchants register, devices pay, a block a period is
// signed by everybody and notarized; who is away is locked and loses nothing.
// Mostly waits: for periods of 12 s.

import t from 'tap'
import { tokenBalance } from '../../chain/calls.ts'
import type { MerchantDouble } from './merchants.ts'
import { admin, type NotaryRig, notaryRig, TOKEN } from './notary-rig.ts'
import { addressOf } from './payers.ts'
import { earned } from './receipts.ts'
import { type RunningServer, runDatanet, temporaryDirectory } from './server.ts'

const lines = (server: RunningServer, msg: string) =>
  server.log().filter((line) => line['msg'] === `notary: ${msg}`)

function pair({ merchants }: NotaryRig): [MerchantDouble, MerchantDouble] {
  const [first, second] = merchants
  if (first === undefined || second === undefined) throw new Error('two merchants')
  return [first, second]
}

t.setTimeout(240_000)

t.test('what devices promise is owed and paid; who is away loses nothing', async (t) => {
  const rig = await notaryRig(t, {
    ...{ directory: temporaryDirectory(t), merchants: 2, commission: '10' },
  })
  const [here, away] = pair(rig)
  await Promise.all([here.register(), away.register()])
  t.same([here.id(), away.id()].sort(), [2, 3])
  t.equal((await here.post('proposal', { ...here.query(), id: 9 })).status, 404)
  const device = await rig.device()
  const [one, two, own] = [await device.join(1), await device.join(2), await device.join(0)]
  t.ok(await device.pay(one, 2n * TOKEN))
  t.ok(await device.pay(two, 2n * TOKEN))
  // On a busy machine the first block may come before both can answer it.
  const isIn = async () => (await rig.status()).missing.length === 0
  await rig.signing(
    rig.merchants,
    async () => here.owed() > 0n && away.owed() > 0n && (await isIn()),
  )
  t.equal(here.owed(), (18n * TOKEN) / 10n, 'the commission is off')

  // Three blocks without the second, which answers the first with something else; its access point
  // goes on to earn.
  const from = (await rig.status()).k
  let hasAnswered = false
  let paidAt = from
  await rig.signing([here], async () => {
    const { k } = await rig.status()
    if (!hasAnswered) hasAnswered = await away.answerWrongly()
    if (k >= paidAt) {
      paidAt = k + 1
      for (const session of [one, two, own]) await device.pay(session, TOKEN)
    }
    return k >= from + 3
  })
  t.same((await rig.status()).missing, [away.id()])
  const [locking] = lines(rig.server(), 'block notarized').filter(
    (line) => Number(line['k']) > from && (line['newlyMissing'] as number[]).length > 0,
  )
  t.match(locking, { locked: 1, newlyMissing: [away.id()], returning: [] })

  t.match(lines(rig.server(), 'signatures not valid'), [{ culprits: [away.id()] }])

  // It comes back: in the next block again, with all of it.
  await rig.signing(rig.merchants, isIn)
  await rig.signing(rig.merchants, async () => (await rig.status()).waiting === '0')
  await rig.server().logged((line) => line['msg'] === 'notary: old locks dropped', 15_000)
  await rig.signing(rig.merchants, async () => away.owed() === (await earned(away)))
  t.equal(await earned(here), here.owed())
  const due = away.owed()
  t.equal(await away.withdraw(), due)
  t.equal(await here.withdraw(), await earned(here))
  for (const bad of [
    'no block in this period; its credits go into the next',
    'not done; it is tried again',
  ]) {
    t.same(lines(rig.server(), bad), [], bad)
  }

  // The operator's own: what it earned itself, and the commission.
  const { own: earnings } = (await admin(rig.server(), '/v1/notary')) as { own: string }
  const operator = (await (await fetch(`${rig.server().url}/v1/operator`)).json()) as {
    account: string
  }
  const balance = () => tokenBalance(rig.payers.access, addressOf(operator.account))
  const before = await balance()
  await admin(rig.server(), '/v1/notary/withdraw', 'POST')
  await rig.server().logged((line) => line['msg'] === 'notary: own earnings paid out', 20_000)
  t.ok(BigInt(earnings) > 3n * TOKEN, `${earnings} of its own`)
  t.equal((await balance()) - before, BigInt(earnings))

  // Nothing new: a block is made where one is asked for.
  const { k: idle } = await rig.status()
  const data = `${rig.server().directory}/data`
  const config = rig.server().configPath
  const told = await runDatanet(['notarize', '--now', '--data', data, '--config', config], {
    cwd: rig.server().directory,
  })
  t.match(told, { code: 0, out: /asked for/ })
  await rig.signing(rig.merchants, async () => (await rig.status()).k > idle)
})

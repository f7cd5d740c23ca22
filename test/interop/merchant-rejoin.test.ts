// Leaving and coming back on a real server and its chain, with the merchant's real program: what
// devices pay where an account has left waits for it, and is paid to the unit once it is back.
// Mostly waits: for periods of 12 s.

import t from 'tap'
import { merchantProgram } from './merchant-program.ts'
import { notaryRig, type Status, TOKEN } from './notary-rig.ts'
import { earned } from './receipts.ts'
import { runDatanet, temporaryDirectory, waitFor } from './server.ts'

t.setTimeout(175_000)
const WITHIN_MS = 60_000

t.test('D4: out, earning all the same, back with --rejoin, and paid exactly', async (t) => {
  const rig = await notaryRig(t, { directory: temporaryDirectory(t), merchants: 1 })
  const [merchant] = rig.merchants
  const [key] = rig.keys
  if (merchant === undefined || key === undefined) throw new Error('one merchant')
  const cafe = await merchantProgram(t, { key, url: rig.server().url })
  const until = async (what: string, done: (status: Status) => boolean) => {
    let status = await rig.status()
    const look = async () => {
      status = await rig.status()
      return done(status)
    }
    await waitFor(look, WITHIN_MS, () => `${what}: ${JSON.stringify(status)} ${cafe.log()}`)
    return status
  }
  const says = (words: string) =>
    waitFor(
      () => cafe.log().includes(words),
      WITHIN_MS,
      () => `no "${words}": ${cafe.log()}`,
    )

  cafe.start()
  const device = await rig.device()
  const session = await device.join(1)
  await until('registered', ({ merchants }) => merchants === 2)
  t.ok(await device.pay(session, 2n * TOKEN))
  await until('signed and notarized', ({ k, waiting }) => k > 0 && waiting === '0')

  // Beside the running agent, which stays and says how to come back.
  const dir = { cwd: cafe.dir, env: { DATANET_PASSWORD: 'a password of tests' } }
  const exit = await runDatanet(['merchant', 'exit', cafe.dir, '--json'], dir)
  t.equal(exit.code, 0, exit.errors)
  t.match(exit.errors, new RegExp(`merchant: "${merchant.account}".*--rejoin`, 'i'))
  const first = JSON.parse(exit.out) as { paid: string; hasLeft: boolean }
  t.match(first, { paid: `${2n * TOKEN}`, hasLeft: true })
  await says('only watching; merchant run --rejoin joins again')
  await cafe.kill()

  const out = await until('out', ({ merchants }) => merchants === 1)
  t.ok(await device.pay(session, 3n * TOKEN), 'its access point goes on to earn')
  await until('waiting', ({ waiting }) => waiting === `${3n * TOKEN}`)
  t.match(await cafe.verb('status'), {
    standing: 'exited',
    withdrawable: '0',
    earningAt: ['Shop 1'],
  })
  const shown = await runDatanet(['merchant', 'status', cafe.dir], dir)
  t.match(shown.out, /^waiting {7}at the operator, until merchant run --rejoin: .*\(Shop 1\)$/m)

  cafe.start('--rejoin')
  await says("joining again after the operator's next block")
  await until('back', ({ merchants }) => merchants === 2)
  t.ok(await device.pay(session, 5n * TOKEN))
  await until('signed', ({ k, waiting, missing }) => {
    return k > out.k && waiting === '0' && missing.length === 0
  })
  const rest = BigInt(String((await cafe.verb('withdraw'))['paid']))
  t.equal(rest, 8n * TOKEN, 'what came in while it was out, and since')
  await merchant.recall()
  t.equal(BigInt(first.paid) + rest, await earned(merchant), 'all that receipts say, and no more')
  t.match(await cafe.verb('status'), { standing: 'active', withdrawable: '0' })
})

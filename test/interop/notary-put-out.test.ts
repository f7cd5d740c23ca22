// D37 on a real server and its chain, with the merchant's real program: away for eta blocks it is
// put out, is paid what was locked, joins again, and gets what was earned for it meanwhile.
// Mostly waits: for periods of 12 s.

import t from 'tap'
import { merchantProgram } from './merchant-program.ts'
import { notaryRig, type Status, TOKEN } from './notary-rig.ts'
import { earned } from './receipts.ts'
import { temporaryDirectory } from './server.ts'

t.setTimeout(240_000)

t.test('D37: put out, paid by claim, back, and paid the rest', async (t) => {
  const rig = await notaryRig(t, {
    ...{ directory: temporaryDirectory(t), merchants: 1, eta: 2 },
  })
  const [merchant] = rig.merchants
  const [key] = rig.keys
  if (merchant === undefined || key === undefined) throw new Error('one merchant')
  const cafe = await merchantProgram(t, { key, url: rig.server().url })
  const until = async (what: string, done: (status: Status) => boolean | Promise<boolean>) => {
    const ends = Date.now() + 60_000
    for (;;) {
      const status = await rig.status()
      if (await done(status)) return status
      if (Date.now() > ends) {
        const said = rig.server().log().slice(-6)
        throw new Error(`${what}: ${JSON.stringify(status)} ${JSON.stringify(said)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }

  cafe.start()
  const device = await rig.device()
  const [session, own] = [await device.join(1), await device.join(0)]
  await until('registered', ({ merchants }) => merchants === 2)
  t.ok(await device.pay(session, 2n * TOKEN))
  await until('signed and notarized', ({ k, waiting }) => k > 0 && waiting === '0')
  await cafe.kill()

  // Absent for two blocks while its access point goes on to earn.
  let paidAt = 0
  await until('put out', async ({ k, merchants }) => {
    if (k > paidAt && merchants > 1) {
      paidAt = k
      await device.pay(session, TOKEN)
      await device.pay(own, TOKEN)
    }
    return merchants === 1
  })
  const [line] = rig
    .server()
    .log()
    .filter(({ msg }) => /merchant put out/.test(String(msg)))
  const status = await cafe.verb('status')
  const credit = BigInt(String(status['credit']))
  t.match(status, { standing: 'put out', withdrawable: '0', locks: [] })
  t.ok(credit > 0n)
  t.match(line, { credited: `${credit}`, missingSince: Number })
  const metrics = await (await fetch(`${rig.server().url}/metrics`)).text()
  t.match(metrics, /^datanet_merchants_put_out_total 1$/m)
  t.match(metrics, /^datanet_merchants\{standing="missing"\} 0$/m)
  const claimed = BigInt(String((await cafe.verb('withdraw'))['paid']))
  t.equal(claimed, credit, 'withdraw claims it')
  t.equal(BigInt(String((await cafe.verb('status'))['credit'])), 0n)

  // Back: its program joins by itself, under a new id, and what no lock had paid is in a block.
  cafe.start()
  await until('registered again', ({ merchants }) => merchants === 2)
  await merchant.recall()
  t.not(merchant.id(), status['merchantId'])
  const { k } = await rig.status()
  await until('signed again', (now) => now.k > k && now.waiting === '0' && now.missing.length === 0)
  await cafe.kill()
  const rest = BigInt(String((await cafe.verb('withdraw'))['paid']))
  t.ok(rest > 0n)
  t.equal(claimed + rest, await earned(merchant), 'all that receipts say, and no more')
})

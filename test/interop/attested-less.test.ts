// Two meters over one real session: an access point that counts nothing, and a device that signs
// 30 % less than its access point tells of, which dispute, ledger and reliability show.
// Mostly waits: for intervals of payments.

import t from 'tap'
import { account, attestedOctets, MEGABYTE, openInterface, served } from './attested-rig.ts'
import { runDatanet, waitFor } from './server.ts'

t.setTimeout(170_000)
const { send } = await openInterface(t, '203.0.113')

t.test('an access point that counts nothing, billed by attested', async (t) => {
  const { payer, look } = await served(t, 'attested')
  // While it flows: each report is paid with the payment that it comes with.
  const flows = async (): Promise<boolean> => {
    await send(0.05)
    const session = await look()
    return payer.paid().length >= 4 && attestedOctets(session) > 0 && session['due'] === '0'
  }
  await waitFor(flows, 30_000, () => JSON.stringify(payer.lines()))
  t.match(await look(), { inputOctets: '0', outputOctets: '0' })
  t.equal(await payer.end('SIGTERM'), 0)
})

t.test('a device that signs 30 % less is seen as well', async (t) => {
  const { server, get, account: payerAccount, payer, until } = await served(t, 'accounting')
  await until('a first report', ({ attested }) => attested !== null && attested !== undefined)
  await send(14)
  const session = await until('14 MB signed', (one) => attestedOctets(one) >= 14 * MEGABYTE)
  const moved = Math.floor(attestedOctets(session) / 0.7)
  for (const status of ['Interim-Update', 'Stop']) await account(server, session, status, moved)
  const disputed = await until('a dispute', (one) => one['disputed'] === true)
  t.equal(disputed['ratedOctets'], `${moved}`, 'the bill is the access point’s')
  t.match(await get('/v1/disputes'), { disputes: [{ nasOctets: `${moved}`, trust: 'software' }] })
  const known = await get(`/v1/accounts/${payerAccount}`)
  t.match(known, { disagreements: 1, reliability: /0\.\d/ })
  t.match(known, { meteringKeys: [{ scheme: 'software', trust: 'software' }] })
  const cwd = server.directory
  const ask = async (...words: string[]): Promise<string> => {
    const { out, errors } = await runDatanet([...words, '--config', server.configPath], { cwd })
    t.equal(errors, '')
    return out
  }
  const [total, signed] = [moved, attestedOctets(disputed)].map((one) => (one / 1e6).toFixed(1))
  const charged = `, disputed +\\S+ +${total} .* {2}${signed} MB, software\n`
  t.match(await ask('sessions', '--all'), new RegExp(` SIGNED\n.*${charged}`))
  const figures = `usage-disagreement +${total} +${signed} +software\n`
  t.match(await ask('ledger', '--disputes'), new RegExp(` OTHER MB +KEY\n.*${figures}`))
  const { disputes } = JSON.parse(await ask('ledger', '--disputes', '--json'))
  t.match(disputes, [{ session: session['id'], account: payerAccount }])
  const payerLines = /^reliability {2}0\.\d{3}\nintervals .*\n.*\ndisputes {5}1\nkey {10}software,/m
  t.match(await ask('reliability', payerAccount), payerLines)
  t.match(
    await ask('reliability'),
    / RELIABILITY\nCorner {2}- {2,}0x\w{40} {2}[01] +0 +[01] +[01]\.\d{3}$/m,
  )
  t.equal(await payer.end('SIGTERM'), 0)
})

// Two meters over one real session: datanet device run signs what its interface has carried, while
// FreeRADIUS's radclient tells of 30 % more, as an access point that lies would. The bill follows
// billing.usage, the dispute shows both figures, and both sides' reliability tells of it.
// Mostly waits: for intervals of payments.

import t from 'tap'
import {
  account,
  attestedOctets,
  type Json,
  MEGABYTE,
  openInterface,
  served,
} from './attested-rig.ts'
import type { Payer } from './payer-process.ts'
import { type RunningServer, waitFor } from './server.ts'

t.setTimeout(170_000)
const { send } = await openInterface(t, '198.51.100')

const sequenceOf = ({ attested }: Json): number => Number((attested as Json)['sequence'])

/** Its account has signed less than was counted: the device is told, and enrols its key again. */
async function shownAnew(server: RunningServer, payer: Payer): Promise<void> {
  const words = () => JSON.stringify(payer.lines())
  await waitFor(() => payer.lines().some(({ why }) => why === 'key-expired'), 10_000, words)
  const again = /datanet_metering_keys_total\{scheme="software",outcome="enrolled"\} 2/
  const enrolled = async () => again.test(await (await fetch(`${server.url}/metrics`)).text())
  await waitFor(enrolled, 10_000, words)
}

const hasLeft = (payer: Payer): boolean => payer.lines().some(({ event }) => event === 'left')

for (const usage of ['attested', 'higher'] as const) {
  t.test(`an access point that tells of 30 % more, billed by ${usage}`, async (t) => {
    const { server, get, account: payerAccount, payer, until } = await served(t, usage)
    await until('a first report', ({ attested }) => attested !== null && attested !== undefined)
    await send(20)
    const session = await until('20 MB signed', (one) => attestedOctets(one) >= 20 * MEGABYTE)
    t.match(session, { attested: { trust: 'software', disagrees: false }, disputed: false })
    const honest = attestedOctets(session)
    const told = Math.floor(honest * 1.3)
    await account(server, session, 'Interim-Update', told)
    if (usage === 'attested') {
      const disputed = await until('a dispute', (one) => one['disputed'] === true)
      const before = payer.paid().length
      await waitFor(
        () => payer.paid().length > before,
        10_000,
        () => payer.errors(),
      )
      t.notOk(hasLeft(payer), 'it goes on paying what is asked')
      await shownAnew(server, payer)
      const sequence = sequenceOf(disputed) + 1
      await until('reports go on', (one) => sequenceOf(one) > sequence)
    } else {
      const words = () => JSON.stringify(payer.lines())
      await waitFor(() => hasLeft(payer), 10_000, words)
      t.match(
        payer.lines().find(({ event }) => event === 'left'),
        { why: 'asks-too-much' },
      )
    }
    await account(server, session, 'Stop', told)
    const isOver = (one: Json) => one['state'] === 'closed' && one['disputed'] === true
    const over = await until('the end, and a dispute', isOver)
    const rated = Number(over['ratedOctets'])
    if (usage === 'attested') t.equal(rated, attestedOctets(over), 'what the device has signed')
    else t.equal(rated, told, 'what the access point told')
    t.match(await get('/v1/disputes'), {
      disputes: [
        {
          ...{ session: session['id'], account: payerAccount, kind: 'usage-disagreement' },
          ...{ nasOctets: `${told}`, trust: 'software', sequence: /./ },
        },
      ],
    })
    t.match(await get(`/v1/accounts/${payerAccount}`), { disagreements: 1 })
    const { accessPoints } = (await get('/v1/access-points')) as { accessPoints: Json[] }
    const [point = {}] = accessPoints
    t.match(point, { ssid: 'Corner', history: { sessions: 1, disputed: 1 } })
    t.ok(Number(point['reliability']) < 1)
    t.equal(await payer.end('SIGTERM'), 0)
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    t.match(metrics, /datanet_usage_reports_total\{outcome="accepted"\} [1-9]/)
    t.match(metrics, /datanet_metering_keys_total\{scheme="software",outcome="enrolled"\} [1-9]/)
  })
}

// Both liars caught on a real access point: hostapd and wpa_supplicant on cables, EAP-TLS,
// `datanet device run --interface`, traffic that tc shapes and the kernel counts at both ends.
// First two honest sides, then an access point that tells of 30 % more and a device that signs 30 %
// less, billed by what devices sign, or by the lower figure. Needs root.
// Mostly waits: for shaped traffic, and for intervals of payments and accounting.

import t from 'tap'
import { bothLie, type Scene, stay } from './liars.ts'
import { type Json, openScene } from './wired-meters.ts'

t.setTimeout(170_000)

async function reliabilityOf(scene: Scene, account: string): Promise<number> {
  return Number((await scene.get(`/v1/accounts/${account}`))['reliability'])
}

t.test('who lies is caught, at a real access point; two honest ones are not', async (t) => {
  const scene = await openScene(t, 'attested')
  const [anna, bert, lars] = await Promise.all(['anna', 'bert', 'lars'].map(scene.device))
  if (anna === undefined || bert === undefined || lars === undefined) throw new Error('no device')

  await stay(await scene.visit('anna', 'honest'))
  t.same(await scene.get('/v1/disputes'), { disputes: [] })
  t.match(await scene.get(`/v1/accounts/${anna}`), { disagreements: 0, reliability: 1 })

  await bothLie(t, scene, 'attested', { honest: 'anna', liar: 'lars' })
  await scene.billBy('lower')
  await bothLie(t, scene, 'lower', { honest: 'bert', liar: 'lars' })

  const { disputes } = (await scene.get('/v1/disputes')) as { disputes: Json[] }
  t.equal(disputes.length, 4)
  const { sessions } = (await scene.sessions('--all')) as { sessions: Json[] }
  t.equal(sessions.filter(({ disputed }) => disputed === true).length, 4, 'datanet sessions')

  // One session does not say whose fault it was. The others of each side do.
  const { accessPoints } = (await scene.get('/v1/access-points')) as { accessPoints: Json[] }
  const [honest = {}, lying = {}] = accessPoints
  t.match(honest, { ssid: 'Honest', history: { sessions: 3, disputed: 2 }, reliability: 0.75 })
  t.match(lying, { ssid: 'Lying', history: { sessions: 2, disputed: 2 }, reliability: 0.714 })
  t.match(await scene.get(`/v1/accounts/${lars}`), { disagreements: 2 })
  for (const account of [anna, bert]) {
    t.match(await scene.get(`/v1/accounts/${account}`), { disagreements: 1 })
    t.ok((await reliabilityOf(scene, lars)) < (await reliabilityOf(scene, account)))
  }
})

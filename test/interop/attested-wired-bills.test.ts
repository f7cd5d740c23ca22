// The two liars of attested-wired.test.ts where the bill is not the device's figure: by what the
// access point tells, and by the higher figure. Needs root.
// Mostly waits: for shaped traffic, and for intervals of payments and accounting.

import t from 'tap'
import { bothLie } from './liars.ts'
import { openScene } from './wired-meters.ts'

t.setTimeout(170_000)

t.test('who lies is caught; the bill follows billing.usage all the same', async (t) => {
  const scene = await openScene(t, 'accounting')
  await Promise.all(['anna', 'bert', 'lars', 'olga'].map(scene.device))
  await bothLie(t, scene, 'accounting', { honest: 'anna', liar: 'lars' })
  await scene.billBy('higher')
  await bothLie(t, scene, 'higher', { honest: 'bert', liar: 'olga' })
})

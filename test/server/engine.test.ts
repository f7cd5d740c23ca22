// Which TLS engine the server takes, and what it says where that is not the one it could have had.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadNativeTlsEngine } from '../../eap/native.ts'
import { EXIT_CONFIGURATION } from '../../server/explain.ts'
import { createMetrics } from '../../server/metrics.ts'
import { chooseEngine } from '../../server/runtime.ts'
import { server } from '../eap/credentials.ts'

const config = {
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
} as const
const missing = () => ({ unavailable: 'no addon here' })

t.test('eap.engine: what is chosen, with the addon and without', async (t) => {
  const cases = [
    ['auto', loadNativeTlsEngine, 'native', undefined],
    ['native', loadNativeTlsEngine, 'native', undefined],
    ['node', loadNativeTlsEngine, 'node', undefined],
    ['auto', missing, 'node', 'no addon here'],
    ['node', missing, 'node', undefined],
  ] as const
  for (const [choice, load, name, fallback] of cases) {
    const chosen = chooseEngine(choice, config, load)
    t.same([chosen.engine.name, chosen.fallback], [name, fallback], `${choice} -> ${name}`)
  }
})

t.test('native, and it is not there: a start error that says why', async (t) => {
  t.throws(() => chooseEngine('native', config, missing), {
    exitCode: EXIT_CONFIGURATION,
    message: /eap\.engine is native, .*no addon here/,
  })
})

t.test('a key pair that does not fit is refused by both, not passed on to the other', async (t) => {
  for (const choice of ['auto', 'native', 'node'] as const) {
    t.throws(() => chooseEngine(choice, { ...config, certificatePem: 'x' }), choice)
  }
})

t.test('the metric names one engine', async (t) => {
  const metrics = createMetrics()
  metrics.tlsEngine.set({ engine: 'native' }, 1)
  t.match(await metrics.registry.metrics(), /^datanet_tls_engine\{engine="native"\} 1$/m)
  t.ok(
    readFileSync(new URL('../../config/example.yaml', import.meta.url), 'utf8').includes('native'),
  )
})

import { Registry } from 'prom-client'
import t from 'tap'
import { tallied } from '../../server/tally.ts'

// Counters beside prom-client: whoever reads the metrics must see every one, once.

const HEAD = '# HELP packets_total Packets\n# TYPE packets_total counter\n'

t.test('what was counted is in the metrics, however often they are read', async (t) => {
  const registry = new Registry()
  const labelNames = ['nas', 'code'] as const
  const packets = tallied({
    ...{ name: 'packets_total', help: 'Packets', labelNames, registers: [registry] },
  })
  t.equal(await registry.metrics(), HEAD, 'nothing yet')
  packets.inc({ nas: 'a', code: '2' })
  packets.inc({ code: '2', nas: 'a' })
  packets.inc({ nas: 'a', code: '3' })
  packets.inc({ nas: '2', code: 'a' })
  const lines = [
    'packets_total{nas="a",code="2"} 2',
    'packets_total{nas="a",code="3"} 1',
    'packets_total{nas="2",code="a"} 1',
  ]
  t.equal(await registry.metrics(), `${HEAD}${lines.join('\n')}\n`)
  t.equal(await registry.metrics(), `${HEAD}${lines.join('\n')}\n`, 'read again')
  packets.inc({ nas: 'a', code: '3' })
  t.match(await registry.metrics(), 'packets_total{nas="a",code="3"} 2')
})

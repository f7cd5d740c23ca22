// Printed commands paste as they are: a real shell reads back the very words.

import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import t from 'tap'
import { command, near, shellQuote, testLine } from '../../cli/next.ts'

t.test('a shell reads back every quoted word as it was', async (t) => {
  const words = [
    'plain',
    '/a/b-c_d.e',
    'a b',
    "it's",
    '$HOME',
    '`x`',
    '*',
    '~',
    '"',
    '\\',
    'é',
    '',
    '#',
    '!',
    ';',
    'a\nb',
  ]
  const line = words.map(shellQuote).join(' ')
  const { stdout } = spawnSync('sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8' })
  t.same(stdout.split('\0').slice(0, -1), words)
  t.equal(shellQuote('/home/a/b-c.d'), '/home/a/b-c.d', 'no quotes where none are needed')
  t.equal(command('device', 'topup', 'my phone', '10'), "npx datanet device topup 'my phone' 10")
})

t.test('DIR is named from here, never as an option', async (t) => {
  t.equal(near(resolve('alice')), 'alice')
  t.equal(near(resolve('-x')), './-x')
  t.equal(near(resolve('..', 'alice')), resolve('..', 'alice'))
})

t.test(
  'the eapol_test line: host of the operator, its port, 1812 where it does not say',
  async (t) => {
    const cases: [string, number | undefined, string][] = [
      ['http://127.0.0.1:8080', undefined, '-a 127.0.0.1 -p 1812'],
      ['http://localhost:1', 2000, '-a 127.0.0.1 -p 2000'],
      ['http://[::1]:1', 2000, '-a ::1 -p 2000'],
      ['https://aaa.example/x', 2000, '-a ADDRESS -p 2000'],
    ]
    for (const [operatorUrl, authPort, radius] of cases) {
      const line = testLine({ directory: resolve('a b'), kind: 'bound', operatorUrl, authPort })
      t.equal(line, `eapol_test -c 'a b/wpa_supplicant.conf' ${radius} -s SECRET`)
    }
  },
)

import t from 'tap'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'
import { banner, httpUrl } from '../../server/banner.ts'

const read = parseConfig(defaultConfigText({ secret: 'a'.repeat(24) }), {}, () => '')
if (!('config' in read)) throw new Error('config')
const { config } = read
const at = (port: number, host = '0.0.0.0') => ({ host, port })

t.test('the four lines, with the ports and the secret of this server', async (t) => {
  const listening = { auth: at(1812), accounting: at(1813), http: at(8080, '127.0.0.1') }
  const lines = banner(config, listening, Buffer.from('the-secret'), 'data').split('\n')
  t.equal(lines[0], '1 enrol   DATANET_PASSWORD=… npx datanet device create alice --deposit 10')
  t.equal(
    lines[1],
    '2 test    eapol_test -c alice/wpa_supplicant.conf -a 127.0.0.1 -p 1812 -s the-secret',
  )
  t.match(lines[2], /^3 AP {6}RADIUS server [\d.]+, auth 1812, accounting 1813; /)
  t.match(lines[2], / add it with: npx datanet client add NAME IP$/)
  t.equal(lines[3], 'ready     console http://127.0.0.1:8080/')
})

t.test('other ports and another data directory are named where a command needs them', async (t) => {
  const listening = { auth: at(11_812), accounting: at(11_813), http: at(18_080) }
  const text = banner(config, listening, undefined, '/srv/wifi')
  t.match(text, /--deposit 10 --operator http:\/\/127\.0\.0\.1:18080\n/)
  t.match(text, /-p 11812 -s SECRET\n/)
  t.match(text, /client add NAME IP --data \/srv\/wifi\n/)
  t.equal(httpUrl(at(8080, '::1')), 'http://[::1]:8080')
})

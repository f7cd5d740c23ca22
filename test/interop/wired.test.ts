// A real authenticator and a real supplicant: hostapd (driver=wired) in one network namespace,
// wpa_supplicant in another, a virtual cable between them, and our server as the RADIUS server.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  daemon,
  hostapdConf,
  layCable,
  STATION_INTERFACE,
  startHostapd,
  wiredProfile,
} from './cable.ts'
import { datanet, run, startServer, temporaryDirectory, testConfig, waitFor } from './server.ts'

t.test('hostapd and wpa_supplicant authenticate through our server', async (t) => {
  const directory = temporaryDirectory(t)
  const { inAp, inStation } = await layCable(t)
  const server = await startServer(t, { directory, config: testConfig(), prefix: inAp })
  const create = ['device', 'create', 'carol', '--deposit', '10', '--operator', server.url]
  const made = await run('ip', [...inAp.slice(1), process.execPath, datanet, ...create], {
    cwd: directory,
    env: { DATANET_PASSWORD: 'a wired password' },
  })
  t.equal(made.code, 0, made.errors)

  const wifi = readFileSync(join(directory, 'carol', 'wpa_supplicant.conf'), 'utf8')
  const wiredPath = join(directory, 'wired.conf')
  writeFileSync(wiredPath, wiredProfile(wifi))

  const hostapd = await startHostapd(t, inAp, directory, hostapdConf(server))
  const link = ['-i', STATION_INTERFACE, '-D', 'wired', '-c', wiredPath]
  const supplicant = daemon(t, inStation, ['wpa_supplicant', '-t', ...link])
  await waitFor(
    () => /CTRL-EVENT-CONNECTED|CTRL-EVENT-EAP-FAILURE/.test(supplicant()),
    30_000,
    () => `wpa_supplicant: ${supplicant()}\nhostapd: ${hostapd()}`,
  )
  t.match(supplicant(), /CTRL-EVENT-EAP-SUCCESS/)
  t.match(supplicant(), /CTRL-EVENT-CONNECTED/)
  t.match(hostapd(), /ap0: STA 02:11:00:00:00:02 IEEE 802\.1X: authenticated/)
  const login = await server.logged((line) => String(line['msg']).startsWith('Login OK'))
  t.match(login, { station: '02-11-00-00-00-02', tls: '1.3' })
})

// Which settings of a profile a moved folder leaves behind, and which are the person's own choice.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { wpaSupplicantConf } from '../../certs/profiles/wpa_supplicant.ts'
import type { DeviceFile } from '../../device/folder.ts'
import { movedPaths } from '../../device/moved.ts'
import { CONTRACT, genuine, OPERATOR_ACCOUNT, TOKEN } from './operator-double.ts'

const place = realpathSync(mkdtempSync(join(tmpdir(), 'datanet-moved-')))
t.teardown(() => rmSync(place, { recursive: true, force: true }))

const device: DeviceFile = {
  version: 1,
  name: 'alice',
  kind: 'bound',
  account: OPERATOR_ACCOUNT,
  operatorUrl: 'http://127.0.0.1:8080',
  operatorId: 1,
  operatorName: 'Corner',
  serverName: genuine.serverName,
  serverSpkiSha256: genuine.spkiSha256,
  contract: CONTRACT,
  chainId: 31337,
  rpc: 'http://127.0.0.1:8080/v1/chain',
  token: { address: TOKEN, symbol: 'DNT', decimals: 18 },
  privateKey: 'key.pem',
}
const confOf = (directory: string, keyPath = join(directory, 'key.pem')): string =>
  wpaSupplicantConf({
    ...{ kind: 'bound', realm: 'corner.datanet.invalid', serverName: 'a.b', keyPath },
    ...{ caPath: join(directory, 'operator-ca.pem'), certificatePath: join(directory, 'cert.pem') },
  })
const settingsOf = async (conf: string, directory: string, more: Partial<DeviceFile> = {}) =>
  (await movedPaths(conf, { ...device, ...more }, directory)).map(({ setting }) => setting)

t.test('all three where DIR moved, none where it did not', async (t) => {
  const all = ['ca_cert', 'client_cert', 'private_key']
  t.same(await settingsOf(confOf('/old/alice'), '/old/alice'), [])
  t.same(await settingsOf(confOf('/old/alice'), '/new/alice'), all)
  t.same(await settingsOf(confOf("/o'ld/é"), '/new/alice'), all, 'written as hex')
  const [first] = await movedPaths(confOf("/o'ld/é"), device, "/n'ew")
  const hex = Buffer.from("/n'ew/operator-ca.pem").toString('hex')
  t.match(first, { named: "/o'ld/é/operator-ca.pem", line: `ca_cert=${hex}` })
  t.same(await settingsOf('', '/new'), [], 'no profile, nothing to say')
})

t.test('what the person chose is left alone', async (t) => {
  const conf = confOf('/new').replace(/ca_cert=.*/, 'ca_cert="hash://server/sha256/00"')
  t.same(await settingsOf(conf, '/new'), [])
  t.same(await settingsOf(confOf('/new', '/etc/keys/mine.pem'), '/new'), [])
  const elsewhere = { privateKey: '/etc/keys/key.pem' }
  t.same(await settingsOf(confOf('/new', '/etc/keys/key.pem'), '/new', elsewhere), [])
})

t.test('the same files by another name are not moved', async (t) => {
  const real = join(place, 'real')
  mkdirSync(real)
  for (const name of ['operator-ca.pem', 'cert.pem', 'key.pem']) writeFileSync(join(real, name), '')
  symlinkSync(real, join(place, 'link'))
  t.same(await settingsOf(confOf(real), join(place, 'link')), [])
})

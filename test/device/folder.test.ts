// DIR on a real file system: whole or absent, never over anything, strict when read back.

import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { deviceJson, readDevice, readFolderFile, writeFolder } from '../../device/folder.ts'
import { CONTRACT, genuine, OPERATOR_ACCOUNT, TOKEN } from './operator-double.ts'

const place = mkdtempSync(join(tmpdir(), 'datanet-folder-'))
t.teardown(() => rmSync(place, { recursive: true, force: true }))

const device = {
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
} as const

const files = [
  { name: '.gitignore', content: '*\n' },
  { name: 'key.pem', content: 'secret' },
  { name: 'device.json', content: deviceJson(device as never) },
]

t.test('DIR is written whole, for its owner only', async (t) => {
  const directory = join(place, 'alice')
  await writeFolder(directory, files)
  t.equal(lstatSync(directory).mode & 0o777, 0o700)
  for (const { name } of files) t.equal(lstatSync(join(directory, name)).mode & 0o777, 0o600, name)
  t.equal(readFileSync(join(directory, '.gitignore'), 'utf8'), '*\n')
  t.same(await readDevice(directory), device)
  t.match(readFileSync(join(directory, 'device.json'), 'utf8'), /0x5FbDB2315678/, 'EIP-55 out')
  t.same(readdirSync(place), ['alice'], 'no temporary folder is left')
})

t.test('whatever has the name stays as it is', async (t) => {
  mkdirSync(join(place, 'empty'))
  writeFileSync(join(place, 'file'), 'x')
  symlinkSync(join(place, 'nowhere'), join(place, 'link'))
  const before = readdirSync(place)
  for (const name of ['alice', 'empty', 'file', 'link']) {
    const message = /exists already/
    await t.rejects(writeFolder(join(place, name), files), { code: 'exists', message }, name)
  }
  await t.rejects(writeFolder(join(place, 'no/such'), files), {
    code: 'unavailable',
    message: /there is no folder .*no: make it/,
  })
  await t.rejects(writeFolder(join(place, 'file/x'), files), { code: 'unavailable' })
  t.same(readdirSync(place), before)
  t.same(readdirSync(join(place, 'empty')), [])
})

t.test('a failure in the middle leaves nothing', async (t) => {
  const directory = join(place, 'bob')
  const before = readdirSync(place)
  const twice = [...files, { name: 'key.pem', content: 'again' }]
  await t.rejects(writeFolder(directory, twice), { code: 'EEXIST' })
  await t.rejects(writeFolder(directory, [{ name: 'no/such', content: '' }]), { code: 'ENOENT' })
  t.notOk(existsSync(directory))
  t.same(readdirSync(place), before)
})

t.test('two at once: one wins, whole', async (t) => {
  const directory = join(place, 'carol')
  const attempts = Array.from({ length: 5 }, () => writeFolder(directory, files))
  const results = await Promise.allSettled(attempts)
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  t.same(readdirSync(directory).sort(), ['.gitignore', 'device.json', 'key.pem'])
  t.same(
    readdirSync(place).filter((name) => name.includes('.new-')),
    [],
  )
})

t.test('reading what is not a DIR', async (t) => {
  await t.rejects(readDevice(join(place, 'nobody')), { code: 'usage', message: /device create/ })
  await t.rejects(readDevice(join(place, 'file')), { code: 'usage' })
  const cases: [string, string, RegExp][] = [
    ['not-json', 'device', /is not JSON/],
    ['list', '[]', /malformed/],
    ['version', JSON.stringify({ ...device, version: 2 }), /version is malformed/],
    ['rpc', JSON.stringify({ ...device, rpc: 'x' }), /rpc is malformed/],
    ['account', JSON.stringify({ ...device, account: '0x1' }), /account is malformed/],
    ['long', ' '.repeat(65 * 1024), /too long/],
  ]
  for (const [name, text, message] of cases) {
    mkdirSync(join(place, name))
    writeFileSync(join(place, name, 'device.json'), text)
    await t.rejects(readDevice(join(place, name)), { code: 'damaged', message }, name)
  }
  await t.rejects(readFolderFile(place, 'list'), { code: 'permission' })
})

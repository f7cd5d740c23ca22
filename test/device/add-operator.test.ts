// A device with more than one operator: `device add-operator` adds a block, a CA and an entry, each
// once; and a run pays the operator whose block made the connection.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type DeviceFile, deviceJson, operatorsOf } from '../../device/device-file.ts'
import { readDevice } from '../../device/folder.ts'
import { createTills } from '../../device/tills.ts'
import { openVouchers } from '../../device/vouchers-file.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { datanet } from '../cli/terminal-double.ts'
import {
  CONTRACT,
  genuine,
  type Lies,
  OPERATOR_ACCOUNT,
  startDouble,
  TOKEN,
} from './operator-double.ts'
import { accountKey, payingTo } from './payer-double.ts'

const CONF = 'network={\n\tssid="Home"\n}\n'
const device: DeviceFile = {
  ...{ version: 1, name: 'alice', kind: 'bound', account: payingTo('http://a').account },
  ...{ operatorUrl: 'http://127.0.0.1:8080', operatorId: 1, operatorName: 'Corner' },
  ...{ serverName: genuine.serverName, serverSpkiSha256: genuine.spkiSha256 },
  ...{ contract: CONTRACT, chainId: 31337, rpc: 'http://127.0.0.1:8080/v1/chain' },
  token: { address: TOKEN, symbol: 'DNT', decimals: 18 },
  privateKey: 'key.pem',
  policy: { perMinuteMax: '0.5' },
}

function folder(t: { teardown(f: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-add-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'device.json'), deviceJson(device))
  writeFileSync(join(directory, 'wpa_supplicant.conf'), CONF)
  return directory
}

type Teardown = { teardown(f: () => void | Promise<void>): void }

async function add(t: Teardown, lies: Lies, flags: readonly string[] = [], into?: string) {
  const directory = into ?? folder(t)
  const { url } = await startDouble(t, lies)
  const words = ['device', 'add-operator', directory, url, ...flags]
  return { directory, url, ...(await datanet(words)) }
}

const SECOND: Lies = { answer: { operatorId: 2, name: 'Café "2"' } }

t.test('a further operator: one block, one CA, one entry more', async (t) => {
  const { directory, url, code, out } = await add(t, SECOND, ['--json', '--ssid', 'Other'])
  t.equal(code, 0)
  t.same(JSON.parse(out), {
    ...{ operatorId: 2, operatorName: 'Café "2"', operatorUrl: url, directory },
    operatorAccount: checksumAddress(OPERATOR_ACCOUNT),
  })
  const after = await readDevice(directory)
  t.match(after, device, 'what was there stays')
  t.match(operatorsOf(after), [
    { operatorId: 1 },
    { operatorId: 2, operatorUrl: url, operatorAccount: OPERATOR_ACCOUNT },
  ])
  const conf = readFileSync(join(directory, 'wpa_supplicant.conf'), 'utf8')
  t.ok(conf.startsWith(CONF))
  const block = conf.slice(CONF.length)
  for (const line of [`ca_cert="${join(directory, 'operator-2-ca.pem')}"`, 'ssid="Other"']) {
    t.ok(block.includes(`\t${line}\n`), line)
  }
  t.match(block, /\n\tid_str="datanet:2"\n\}\n$/)
  const ca = readFileSync(join(directory, 'operator-2-ca.pem'), 'utf8')
  t.equal(ca.trim(), genuine.caCertificatePem.trim())
})

t.test('an interrupted run is taken up where it stopped', async (t) => {
  const first = await add(t, SECOND)
  const conf = readFileSync(join(first.directory, 'wpa_supplicant.conf'), 'utf8')
  writeFileSync(join(first.directory, 'device.json'), deviceJson(device))
  const second = await add(t, SECOND, [], first.directory)
  t.equal(second.code, 0, second.err)
  t.equal(readFileSync(join(first.directory, 'wpa_supplicant.conf'), 'utf8'), conf)
})

t.test('the operator it has is asked at its new URL, and once there is there', async (t) => {
  const { directory, url, code, out } = await add(t, {})
  t.equal(code, 0)
  t.match(out, new RegExp(`at ${url} is number 1`))
  const after = await readDevice(directory)
  t.same(after, { ...device, operatorUrl: url, rpc: after.rpc })
  t.ok(after.rpc.startsWith(url) || after.rpc === device.rpc)
  t.equal(readFileSync(join(directory, 'wpa_supplicant.conf'), 'utf8'), CONF)
  const again = await datanet(['device', 'add-operator', directory, url])
  t.match(again, { code: 73, err: /enrolled with operator 1 already/ })
  const second = await add(t, SECOND, [], directory)
  const moved = await add(t, SECOND, [], directory)
  t.equal(moved.code, 0)
  const urls = operatorsOf(await readDevice(directory)).map(({ operatorUrl }) => operatorUrl)
  t.same(urls, [url, moved.url])
  t.not(moved.url, second.url)
})

const REFUSED: readonly [name: string, lies: Lies, code: number, message: RegExp][] = [
  ['another chain', { answer: { operatorId: 2, chainId: 5 }, chainId: 5 }, 69, /on chain 5/],
  [
    'a key that is not in the contract',
    { ...SECOND, serverKey: '00'.repeat(32) },
    69,
    /not the one in the contract/,
  ],
]

t.test('who is not added, and that nothing changed', async (t) => {
  for (const [name, lies, code, message] of REFUSED) {
    const { directory, ...said } = await add(t, lies)
    t.match(said, { code, err: message }, name)
    t.same(readdirSync(directory).sort(), ['device.json', 'wpa_supplicant.conf'], name)
    t.equal(readFileSync(join(directory, 'wpa_supplicant.conf'), 'utf8'), CONF, name)
    t.equal(readFileSync(join(directory, 'device.json'), 'utf8'), deviceJson(device), name)
  }
})

t.test('each operator has its own till, and no other has one', async (t) => {
  const { directory, url } = await add(t, SECOND)
  const enrolled = await readDevice(directory)
  const vouchers = await openVouchers(directory)
  const tillOf = createTills({ directory, device: enrolled, accountKey, vouchers, now: () => 0 })
  const { till, to } = await tillOf(2)
  t.match([till.operatorId, to.url, to.operatorAccount], [2, url, OPERATOR_ACCOUNT])
  t.equal((await tillOf(2)).till, till)
  await till.signed(7n)
  t.equal(vouchers.book(1).signed, 0n)
  await t.rejects(tillOf(3), { code: 'usage', message: /not enrolled with operator 3/ })
})

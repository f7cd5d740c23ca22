// What keeps a server from starting, each tried on the real process: one line that says what to do,
// an exit code for scripts, nothing on stdout, no chain left running.

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeOperatorCertificates } from '../../certs/operator.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { type FailedStart, failToStart, noneLeft, place } from './failing.ts'
import { startNode } from './node.ts'
import { datanet, run, startServer, temporaryDirectory, testConfig } from './server.ts'

const UNAVAILABLE = 69
const PERMISSION = 77
const CONFIGURATION = 78
/** A published development key (account 0 of "test test … junk"). */
const PUBLISHED_KEY = 'ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80'
/** Two processors: more starts at once only wait for each other. */
const AT_ONCE = 3

interface Case {
  readonly name: string
  /** undefined: the file is not there. */
  readonly config: string | undefined
  readonly code: number
  readonly says: RegExp
  readonly operatorKey?: string
  readonly prefix?: readonly string[]
  readonly withinMs?: number
  /** A directory that was used before; else each case has its own. */
  readonly directory?: string
}

const base = temporaryDirectory(t)

/** Tries every case, a few at a time, and checks what each left on the terminal. */
async function refuseAll(t: Test, cases: readonly Case[]): Promise<void> {
  const waiting = cases.map((one, i) => ({
    one,
    directory: one.directory ?? place(base, `${t.name.slice(0, 4)}${i}`, one.operatorKey),
  }))
  const results = new Map<Case, { start: FailedStart; directory: string }>()
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { one, directory } = next
      const config = one.config === undefined ? {} : { config: one.config }
      const prefix = one.prefix === undefined ? {} : { prefix: one.prefix }
      results.set(one, { start: await failToStart({ directory, ...config, ...prefix }), directory })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  for (const [one, { start, directory }] of results) {
    t.comment(`${one.name}: ${start.code} ${start.said.join(' | ')}`)
    t.equal(start.code, one.code, `${one.name}: exit code`)
    t.equal(start.said.length, 1, `${one.name}: one line`)
    t.match(start.said[0], /^datanet: \S/, `${one.name}: from datanet`)
    t.match(start.said[0], one.says, `${one.name}: says what to do`)
    t.equal(start.out, '', `${one.name}: nothing on stdout`)
    t.ok(start.tookMs < (one.withinMs ?? 20_000), `${one.name}: ${Math.round(start.tookMs)} ms`)
    await noneLeft(join(directory, 'data'))
  }
  t.equal(results.size, cases.length)
}

const tcpPort = (t: Test): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
    t.teardown(() => server.close())
  })

const udpPort = (t: Test): Promise<number> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1', () => resolve(socket.address().port))
    t.teardown(() => socket.close())
  })

/** The test configuration with one address replaced. */
function listening(key: 'auth' | 'accounting' | 'http', endpoint: string): string {
  const before = key === 'http' ? 'listen: "127.0.0.1:0"' : `${key}: "127.0.0.1:0"`
  const after = before.replace('127.0.0.1:0', endpoint)
  return testConfig().replace(before, after)
}

t.test('a wrong configuration: every problem at once, with its line', async (t) => {
  const directory = place(base, 'wrong')
  const config = testConfig({ more: 'sessions: { max: 5 parsecs }\nwifi: 1\n' }).replace(
    'nas_type: hostapd',
    'nas_type: toaster',
  )
  const lineOf = (text: string): number =>
    config.split('\n').findIndex((line) => line.includes(text)) + 1
  const path = join(directory, 'datanet.yaml')
  const wanted = [
    [`${path}:${lineOf('toaster')}: clients[0].nas_type: `, /must be/],
    [`${path}:${lineOf('parsecs')}: sessions.max: `, /must be/],
    [`${path}:${lineOf('wifi')}: wifi: `, /\S/],
  ] as const
  const served = await failToStart({ directory, config })
  t.equal(served.code, CONFIGURATION)
  t.equal(served.out, '')
  const checked = await run(process.execPath, [datanet, 'check', '--config', path])
  t.equal(checked.code, CONFIGURATION)
  t.equal(checked.out, '')
  for (const lines of [served.said, checked.errors.split('\n')]) {
    for (const [start, what] of wanted) {
      const line = lines.find((one) => one.startsWith(start))
      t.match(line?.slice(start.length), what, `${start} ${JSON.stringify(lines)}`)
    }
  }
  t.equal(served.said.length, wanted.length + 1, 'and the last line says what to do')
  t.match(served.said.at(-1), `datanet: not started: correct the 3 problems above in ${path}`)
  const absent = await run(process.execPath, [datanet, 'check', '--config', `${path}.old`])
  t.equal(absent.code, CONFIGURATION)
  t.match(absent.errors, /^datanet: \S+datanet\.yaml\.old does not exist; [^\n]*--config\n$/)
  const json = await run(process.execPath, [datanet, 'check', '--config', path, '--json'])
  t.equal(json.code, CONFIGURATION)
  const told = JSON.parse(json.out)
  t.match(told, { file: path, ok: false })
  t.equal(told.problems.length, wanted.length)
  t.match(told.problems.map((one: { path: string }) => one.path).sort(), [
    'clients[0].nas_type',
    'sessions.max',
    'wifi',
  ])
})

t.test('files that are missing or wrong', async (t) => {
  const pair = (name: string, first: string, second: string): string => {
    writeFileSync(join(base, `${name}.crt`), first)
    writeFileSync(join(base, `${name}.key`), second)
    return `certificate: { cert: ../${name}.crt, key: ../${name}.key }`
  }
  const made = ['One', 'Two'].map((operatorName) =>
    makeOperatorCertificates({ operatorName, nowSeconds: 1_790_000_000, random: randomBytes }),
  )
  const [certificate = '', otherKey = ''] = [made[0]?.certificatePem, made[1]?.keyPem]
  const absent = 'certificate: { cert: absent.crt, key: absent.key }'
  const config = testConfig()
  await refuseAll(t, [
    {
      name: '--config names no file',
      config: undefined,
      code: CONFIGURATION,
      says: /datanet\.yaml does not exist.*--config/,
    },
    {
      name: 'garbage for an operator key',
      ...{ config, operatorKey: 'not a key\n', code: CONFIGURATION },
      says: /data\/operator-key holds no private key.*put the right file back/,
    },
    {
      name: 'a number that is no key of the curve',
      ...{ config, operatorKey: '0'.repeat(64), code: CONFIGURATION },
      says: /data\/operator-key holds no private key/,
    },
    {
      name: 'a certificate with the key of another',
      config: testConfig({ eap: pair('mixed', certificate, otherKey) }),
      code: CONFIGURATION,
      says: /eap\.certificate: .*mixed\.key is not the key of .*mixed\.crt/,
    },
    {
      name: 'a certificate file that holds none',
      config: testConfig({ eap: pair('garbage', 'garbage', otherKey) }),
      code: CONFIGURATION,
      says: /eap\.certificate: .*garbage\.crt does not hold a certificate/,
    },
    {
      name: 'a certificate that is not there',
      config: testConfig({ eap: absent }),
      code: CONFIGURATION,
      says: /eap\.certificate: .*absent\.crt does not exist/,
    },
  ])
})

t.test('addresses that cannot be had', async (t) => {
  const inUse = `127.0.0.1:${await udpPort(t)}`
  const httpInUse = `127.0.0.1:${await tcpPort(t)}`
  const taken = (key: string): Pick<Case, 'code' | 'says'> => ({
    code: UNAVAILABLE,
    says: new RegExp(`is in use: stop the program .* or set ${key} to another port`),
  })
  await refuseAll(t, [
    { name: 'auth in use', config: listening('auth', inUse), ...taken('radius.auth') },
    {
      name: 'accounting in use',
      config: listening('accounting', inUse),
      ...taken('radius.accounting'),
    },
    { name: 'http in use', config: listening('http', httpInUse), ...taken('http.listen') },
    {
      name: 'an address of another machine',
      config: listening('auth', '192.0.2.7:0'),
      code: CONFIGURATION,
      says: /192\.0\.2\.7 is no address of this machine: correct radius\.auth/,
    },
    {
      name: 'a port that needs a right',
      config: listening('auth', '127.0.0.1:812'),
      // Root without the one capability is refused like any other user.
      prefix: ['setpriv', '--bounding-set=-net_bind_service'],
      code: PERMISSION,
      says: /127\.0\.0\.1:812 is not permitted: set radius\.auth to a port above 1023/,
    },
  ])
})

t.test('chains that are not the right one', async (t) => {
  const directory = place(base, 'served')
  const node = await startNode(t, directory)
  const url = node.chain.url
  const external = (contract: string, rpc = url): string =>
    testConfig({ chain: `rpc: "${rpc}", contract: "${contract}"` })
  const nobody = `0x${'5'.repeat(40)}`
  const poor = randomBytes(32)
  const config = external(node.contract)

  const server = await startServer(t, { directory, config })
  await refuseAll(t, [
    {
      name: 'two servers on one data directory',
      ...{ config, directory, code: UNAVAILABLE },
      says: /another server is using .*served\/data; stop it, or choose another --data/,
    },
    {
      name: 'no node there (ws)',
      config: external(nobody, 'ws://127.0.0.1:1'),
      ...{ code: UNAVAILABLE, withinMs: 10_000 },
      says: /no answer from the Ethereum node at 127\.0\.0\.1:1 .*correct chain\.rpc/,
    },
    {
      name: 'no node there (http)',
      config: external(nobody, 'http://127.0.0.1:1'),
      ...{ code: UNAVAILABLE, withinMs: 10_000 },
      says: /no answer from the Ethereum node at 127\.0\.0\.1:1 .*correct chain\.rpc/,
    },
    {
      name: 'no contract at the address',
      ...{ config: external(nobody), code: CONFIGURATION },
      says: /no contract at 0x5{40} on chain 31337.*check chain\.contract/,
    },
    {
      name: 'another contract at the address',
      ...{ config: external(node.token), code: CONFIGURATION },
      says: /is not a Datanet contract.*check chain\.contract/,
    },
    {
      name: 'an operator account without gas',
      ...{ config, operatorKey: poor.toString('hex'), code: UNAVAILABLE },
      says: new RegExp(`${accountOf(poor)}.*gas`, 'i'),
    },
  ])
  t.equal(await server.stop(), 0)
  const auto = await failToStart({ directory: place(base, 'auto'), config: external('auto') })
  t.equal(auto.code, CONFIGURATION)
  const line = auto.said[0]
  t.match(line, /:\d+: chain\.contract: must be the address of the contract on that chain/)

  // From here on the same node says that it is Ethereum's main chain.
  await node.rpc('anvil_setChainId', 1)
  await refuseAll(t, [
    {
      name: 'another chain id than the one in the data directory',
      ...{ config, directory, code: CONFIGURATION },
      says: /is of chain 1, but .*served\/data\/chain is of chain 31337; correct chain\.rpc/,
    },
    {
      name: 'a published key on a public chain',
      ...{ config, operatorKey: PUBLISHED_KEY, code: CONFIGURATION },
      says: /0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266 is a development account.*key of your own/,
    },
  ])
})

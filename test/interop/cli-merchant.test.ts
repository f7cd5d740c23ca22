// `datanet merchant create` and what the other verbs say to a DIR that is not there, not theirs or
// locked, against an operator double; the account of a backup, and one account with two operators.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { datanet } from '../cli/terminal-double.ts'
import { CONTRACT, startDouble } from '../device/operator-double.ts'
import { merchantPrograms } from './merchant-process.ts'
import { waitFor } from './server.ts'

const directory = mkdtempSync(join(tmpdir(), 'datanet-cli-merchant-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const double = await startDouble(t)
const env = { DATANET_PASSWORD: 'a password of tests', DATANET_OPERATOR: double.url }
const at = (name: string): string => join(directory, name)

t.test('create writes DIR whole, and says what the operator has to do', async (t) => {
  const made = await datanet(['merchant', 'create', 'cafe', '--out', at('cafe')], { env })
  t.equal(made.code, 0, made.err)
  t.same(readdirSync(at('cafe')).sort(), ['.gitignore', 'merchant.json', 'wallet.json'])
  t.equal(statSync(at('cafe')).mode & 0o777, 0o700)
  t.equal(statSync(join(at('cafe'), 'wallet.json')).mode & 0o777, 0o600)
  const merchant = JSON.parse(readFileSync(join(at('cafe'), 'merchant.json'), 'utf8'))
  t.match(merchant, { operatorId: 1, operatorUrl: double.url, chainId: 31337, fromBlock: 0 })
  t.equal(merchant.contract.toLowerCase(), CONTRACT)
  t.ok(made.out.includes(`merchant: "${merchant.account}"`))
  t.notOk(JSON.stringify(merchant).includes('rivateKey'), 'no secret in it')
  const again = await datanet(['merchant', 'create', 'cafe', '--out', at('cafe')], { env })
  t.equal(again.code, 73)
})

t.test('the account of a keystore: a backup, or one that earns elsewhere already', async (t) => {
  const wallet = join(at('cafe'), 'wallet.json')
  const args = ['merchant', 'create', 'again', '--out', at('again'), '--wallet', wallet, '--json']
  const wrong = await datanet(args, { env: { ...env, DATANET_PASSWORD: 'another' } })
  t.equal(wrong.code, 77)
  const made = await datanet(args, { env })
  t.equal(made.code, 0, made.err)
  const first = JSON.parse(readFileSync(join(at('cafe'), 'merchant.json'), 'utf8'))
  t.equal(JSON.parse(made.out).account, first.account)
  t.equal(readFileSync(wallet, 'utf8'), readFileSync(join(at('again'), 'wallet.json'), 'utf8'))
  const none = await datanet([...args.slice(0, 5), at('none'), '--json'], { env })
  t.equal(none.code, 64, 'a keystore that is not there')
})

t.test('a block counts for the merchant where it counts for the operator', async (t) => {
  const confirmationsOf = async (name: string): Promise<number> => {
    const made = await datanet(['merchant', 'create', name, '--out', at(name)], { env })
    t.equal(made.code, 0, made.err)
    return JSON.parse(readFileSync(join(at(name), 'merchant.json'), 'utf8')).confirmations
  }
  double.lies = { answer: { confirmations: 12 } }
  t.equal(await confirmationsOf('public'), 12)
  double.lies = {}
  t.equal(await confirmationsOf('unsaid'), 1)
})

t.test('an operator that is not there, or not what it says', async (t) => {
  const gone = { ...env, DATANET_OPERATOR: 'http://127.0.0.1:1' }
  const nobody = await datanet(['merchant', 'create', 'x', '--out', at('x')], { env: gone })
  t.match(nobody, { code: 69, err: /no operator answers/ })
  double.lies = { serverKey: 'ab'.repeat(32) }
  const liar = await datanet(['merchant', 'create', 'x', '--out', at('x')], { env })
  double.lies = {}
  t.match(liar, { code: 69, err: /not to be trusted/ })
  t.notOk(readdirSync(directory).includes('x'), 'nothing was written')
})

t.test("DIRs that are none, damaged, or somebody else's", async (t) => {
  for (const verb of ['status', 'withdraw', 'exit', 'run']) {
    const none = await datanet(['merchant', verb, at('nobody')], { env })
    t.match(none, { code: 64, err: /give the DIR that/ }, verb)
  }
  const path = join(at('again'), 'merchant.json')
  const text = readFileSync(path, 'utf8')
  for (const wrong of ['{', text.replace(/"contract": ".*"/, '"contract": "0x"')]) {
    writeFileSync(path, wrong)
    t.match(await datanet(['merchant', 'withdraw', at('again')], { env }), { code: 78 })
  }
  writeFileSync(path, text)
  const locked = { env: { ...env, DATANET_PASSWORD: 'another' } }
  t.match(await datanet(['merchant', 'withdraw', at('again')], locked), { code: 77 })
  t.notOk(readdirSync(at('again')).includes('merchant.sqlite'), 'a wrong password leaves nothing')
  const to = await datanet(['merchant', 'withdraw', at('again'), '--to', '0x12'], { env })
  t.match(to, { code: 64, err: /is not an address/ })
})

t.test('one merchant run on a DIR; the other verbs work beside it', async (t) => {
  const { create, run, startAgent } = merchantPrograms(t, double.url)
  await create('pub')
  const started = async () => {
    const agent = startAgent('pub')
    const isThere = () => agent.lines.some(({ event }) => event === 'started')
    await waitFor(isThere, 20_000, () => JSON.stringify(agent.lines))
    return agent
  }
  const first = await started()
  const second = await run('merchant', 'run', 'pub')
  t.match(second, { code: 73, err: /merchant run works on .*pub already: stop it first\n$/ })
  // The double's chain knows no blocks: they get that far.
  for (const verb of ['status', 'withdraw', 'exit']) {
    t.match(await run('merchant', verb, 'pub'), { code: 69, err: /eth_getBlockByNumber/ }, verb)
  }
  await first.kill()
  const next = await started()
  t.match(await run('merchant', 'run', 'pub'), { code: 73 }, 'kill -9 left a lock that is free')
  await next.kill()
})

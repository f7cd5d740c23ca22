// The first configuration, new secrets, and adding a client without disturbing what the operator
// wrote.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { defaultConfigText } from '../../config/default.ts'
import { addClient } from '../../config/edit.ts'
import { parseConfig } from '../../config/parse.ts'
import { newSecret } from '../../config/secret.ts'

const SECRET = newSecret(Buffer.from('a fixed text of at least 24 bytes'))
const EXAMPLE = readFileSync(new URL('../../config/example.yaml', import.meta.url), 'utf8')
const ROOF = { name: 'roof', ipaddr: '198.51.100.0/24', secret: SECRET }

const anyEnv = { LOBBY_SECRET: SECRET, LOBBY_COA_SECRET: SECRET, PLAY_DECRYPTION_KEY: SECRET }
const parse = (text: string) => parseConfig(text, anyEnv, () => SECRET)

function textOf(result: ReturnType<typeof addClient>): string {
  if ('problems' in result) throw new Error(JSON.stringify(result.problems))
  return result.text
}

t.test('product §2: the first configuration has loopback, hostapd and standard', async (t) => {
  const result = parse(defaultConfigText({ secret: SECRET }))
  if ('problems' in result) throw new Error(JSON.stringify(result.problems))
  t.same(result.warnings, [])
  const [loopback] = result.config.clients
  t.equal(result.config.clients.length, 1)
  t.equal(loopback?.name, 'loopback')
  t.equal(loopback?.ipaddr.text, '127.0.0.1/32')
  t.equal(loopback?.nasType, 'hostapd')
  t.equal(loopback?.tariff, 'standard')
  t.equal(loopback?.merchant, undefined)
  t.equal(loopback?.secret.toString(), SECRET)
  t.same([...result.config.tariffs.keys()], ['standard'])
  const named = parse(defaultConfigText({ secret: SECRET, operatorName: 'Café "x": # {y}' }))
  t.equal('config' in named && named.config.operator.name, 'Café "x": # {y}')
})

t.test('X8 a new secret has 24 characters or more, one per byte, all typeable', async (t) => {
  t.equal(newSecret(Buffer.alloc(24)).length, 24)
  t.equal(newSecret(Buffer.alloc(32)).length, 32)
  const all = newSecret(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)))
  t.equal(new Set(all).size, 32)
  t.match(all, /^[2-9a-km-z]+$/)
  t.notMatch(all, /[01lo]/)
  t.throws(() => newSecret(Buffer.alloc(23)), { message: /24 random bytes, not 23/ })
})

t.test('an added client is the only difference in the file', async (t) => {
  const added = `  - name: roof\n    ipaddr: 198.51.100.0/24\n    secret: ${SECRET}\n`
  const first = defaultConfigText({ secret: SECRET })
  const texts: Record<string, string> = {
    'first start': first,
    'example with comments and references': EXAMPLE,
    'clients last, no newline': `${first.replace(/clients:\n( .*\n)+/, '')}clients:\n  - name: a
    ipaddr: 192.0.2.1
    secret: ${SECRET} # trailing`,
    'block text last': first
      .replace('    tariff: standard\n', `    secret_file: >-\n      x\n`)
      .replace(/ {4}secret: .*\n/, ''),
  }
  for (const [name, text] of Object.entries(texts)) {
    const after = textOf(addClient(text, ROOF))
    t.equal(after.replace(added, ''), text.endsWith('\n') ? text : `${text}\n`, name)
    const result = parse(after)
    t.equal('config' in result && result.config.clients.at(-1)?.name, 'roof', name)
  }
  const flush = first
    .replace('  - name', '- name')
    .replaceAll(/^ {4}(?=(ip|se|na|tariff:))/gm, '  ')
  const windows = textOf(addClient(flush.replaceAll('\n', '\r\n'), ROOF))
  t.ok(windows.includes(`- name: roof\r\n  ipaddr: 198.51.100.0/24\r\n  secret: ${SECRET}\r\n`))
})

t.test('lists written in other ways are extended too, comments kept', async (t) => {
  const tariffs = 'tariffs: { standard: { per_minute: "1", per_megabyte: "1" } } # prices\n'
  const operator = '# ours\noperator: { name: x }\n'
  const flow = `[{ name: a, ipaddr: 192.0.2.1, secret: $\{LOBBY_SECRET} }]`
  for (const clients of ['', 'clients: [] # none yet\n', `clients: ${flow}\n`]) {
    const after = textOf(addClient(operator + clients + tariffs, ROOF))
    t.match(after, /# ours/)
    t.match(after, /# prices/)
    const result = parse(after)
    if ('problems' in result) throw new Error(JSON.stringify(result.problems))
    t.equal(result.config.clients.at(-1)?.ipaddr.text, '198.51.100.0/24')
    t.equal(result.config.clients.length, clients.includes('LOBBY') ? 2 : 1)
  }
})

t.test('an addition that would not be valid is refused and names why', async (t) => {
  const text = defaultConfigText({ secret: SECRET })
  const second = text.replace('chain:', '  gold: { per_minute: "1", per_megabyte: "1" }\n\nchain:')
  const cases: [string, string, Partial<typeof ROOF>, path: string, says: RegExp][] = [
    ['name taken', text, { name: 'loopback' }, 'clients[1].name', /same as in clients\[0\]/],
    ['address taken', text, { ipaddr: '127.0.0.1' }, 'clients[1].ipaddr', /same as in/],
    ['bad name', text, { name: 'a b' }, 'clients[1].name', /letters/],
    ['YAML in the name', text, { name: 'x\n    coa: {}' }, 'clients[1].name', /letters/],
    ['bad address', text, { ipaddr: 'ap.example' }, 'clients[1].ipaddr', /IP address/],
    ['weak secret', text, { secret: 'short' }, 'clients[1].secret', /12 characters/],
    ['two tariffs', second, {}, 'clients[1].tariff', /standard, gold/],
    ['file not valid', `${text}log: {}\nlgo: {}\n`, {}, 'lgo', /did you mean log/],
    ['not YAML', `${text}"`, {}, '(file)', /line/],
  ]
  for (const [name, before, change, path, says] of cases) {
    const result = addClient(before, { ...ROOF, ...change })
    const problems = 'problems' in result ? result.problems : []
    t.same([problems.length, problems[0]?.path], [1, path], name)
    t.match(problems[0]?.message, says, name)
  }
})

// The table of verbs: help, mistakes in one line with exit 64, and a few real processes.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { verbs } from '../../cli/dispatch.ts'
import { exitOf } from '../../cli/exit.ts'
import { datanet } from './terminal-double.ts'

t.test('help lists every verb there is and no other', async (t) => {
  const { code, out } = await datanet(['--help'])
  t.equal(code, 0)
  for (const { name } of verbs) t.match(out, `  ${name} `)
  t.equal((await datanet(['help'])).out, out)
  t.match(await datanet([]), { code: 64, out: '', err: out })
})

t.test('the version of package.json, alone on its line', async (t) => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  for (const word of ['--version', '-v', 'version']) {
    t.match(await datanet([word]), { code: 0, out: JSON.parse(text).version, err: '' })
  }
})

t.test('each verb explains itself, with its options and exit codes', async (t) => {
  for (const { name } of verbs) {
    for (const flag of ['--help', '-h']) {
      const { code, out, err } = await datanet([...name.split(' '), flag])
      t.equal(code, 0, name)
      t.equal(err, '', name)
      t.ok(out.startsWith(`usage: datanet ${name}`), name)
    }
    const { out } = await datanet([...name.split(' '), 'word', '--help'])
    for (const line of out.split('\n')) t.ok(line.length <= 100, `${name}: ${line}`)
  }
  const group = await datanet(['device', '--help'])
  t.match(group, { code: 0, out: /device topup/ })
  t.notMatch(group.out, /chain status/)
})

t.test('what cannot be understood: one line, exit 64, the way to the help', async (t) => {
  const cases: [string[], RegExp][] = [
    [['frobnicate'], /no verb "frobnicate"; npx datanet --help/],
    [['--versions'], /no verb "--versions"/],
    [['reload', 'now'], /unexpected word "now"/],
    [['device'], /there is device create, device status, device topup/],
    [['device', 'fly'], /no verb "device fly": there is device create/],
    [['device', 'pay', 'a'], /--once is missing/],
    [['device', 'pay'], /DIR is missing; see: npx datanet device pay --help/],
    [['device', 'pay', 'nobody-here', '--once'], /does not exist; give the DIR/],
    [['device', 'run'], /DIR is missing; see: npx datanet device run --help/],
    [['device', 'run', 'nobody-here'], /does not exist; give the DIR/],
    [['device', 'run', 'a', '--wpa-control', 'b'], /--wpa-control needs --interface/],
    [['device', 'run', 'a', '--interface', '../b'], /"\.\.\/b" is no interface name/],
    [['device', 'run', 'a', '--session', 'b'], /--session takes 32 hex digits/],
    [['device', 'run', 'a', '--silent-seconds', '0'], /--silent-seconds takes a whole number/],
    [['device', 'run', 'a', '--probes-lost-max', '1.5'], /--probes-lost-max takes a whole/],
    [['device', 'run', 'a', '--metering-key', 'b'], /is auto, tpm or software/],
    [['device', 'run', 'a', '--metering-key', 'tpm'], /--metering-key needs --interface/],
    [['device', 'run', 'a', '--certificate-voucher', 'b'], /is off, arrears or prepay/],
    [['device', 'add-operator', 'a'], /URL is missing; see: npx datanet device add-operator/],
    [['device', 'add-operator', 'nobody-here', 'http://a'], /does not exist; give the DIR/],
    [['chain', '--json'], /there is chain status/],
    [['secret', '--frob'], /Unknown option '--frob'; see: npx datanet secret --help/],
    [['secret', 'word'], /unexpected word "word"/],
    [['check', '--config'], /argument missing; see: npx datanet check --help/],
    [['check', '--config='], /--config needs a value/],
    [['device', 'create'], /NAME is missing; see: npx datanet device create --help/],
    [['device', 'create', 'a', '--kind', 'other'], /--kind is bound or direct/],
    [['device', 'create', 'a', '--kind', 'direct', '--key', 'f'], /--key is for --kind bound/],
    [['device', 'create', '../a'], /NAME "..\/a" must be letters/],
    [['device', 'topup', 'a'], /AMOUNT is missing/],
    [['device', 'status', 'nobody-here'], /does not exist; give the DIR/],
    [['client', 'add', 'a'], /IP\|CIDR is missing/],
    [['serve', 'now'], /unexpected word "now"/],
  ]
  for (const [args, message] of cases) {
    const { code, out, err } = await datanet(args)
    t.equal(code, 64, args.join(' '))
    t.equal(out, '')
    t.match(err, message)
    t.notMatch(err, /\n/, 'one line')
    t.ok(err.startsWith('datanet: '))
  }
})

t.test('failures of the system get the exit code that fits', async (t) => {
  const system = (code: string) => Object.assign(new Error(`${code}: x`), { code })
  t.equal(exitOf(system('EACCES')).code, 77)
  t.equal(exitOf(system('ENOSPC')).code, 73)
  t.equal(exitOf(new Error('a\n  b')).code, 1)
  t.equal(exitOf(new Error('a\n  b')).message, 'a b')
  t.equal(exitOf('text').message, 'text')
})

t.test('as a process: exit code, streams, and nothing heavy loaded for a secret', async (t) => {
  const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
  const run = (...args: string[]) => spawnSync(process.execPath, args, { encoding: 'utf8' })
  const secret = run(main, 'secret')
  t.equal(secret.status, 0)
  t.match(secret.stdout, /^[2-9a-z]{24,}\n$/)
  t.equal(secret.stderr, '')
  const wrong = run(main, 'nonsense')
  t.match(wrong, { status: 64, stdout: '', stderr: /^datanet: no verb "nonsense"; .*\n$/ })
  const launcher = fileURLToPath(new URL('../../cli/datanet.mjs', import.meta.url))
  t.match(run(launcher, 'secret', '--json'), { status: 0, stdout: /^\{"secret":"[2-9a-z]+"\}\n$/ })
})

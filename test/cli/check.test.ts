// `datanet check`: every problem with its line, exit 78, never a secret.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { defaultConfigText } from '../../config/default.ts'
import { datanet } from './terminal-double.ts'

const place = mkdtempSync(join(tmpdir(), 'datanet-check-'))
t.teardown(() => rmSync(place, { recursive: true, force: true }))
const good = defaultConfigText({ secret: 'qw94tcccu9cvebqzauq82mvf33svabjb' })
const write = (name: string, text: string): string => {
  const path = join(place, name)
  writeFileSync(path, text)
  return path
}

t.test('a good file, named or found in DATA', async (t) => {
  const file = write('datanet.yaml', good)
  t.match(await datanet(['check', '--config', file]), { code: 0, out: `${file}: OK` })
  t.match(await datanet(['check', '--data', place]), { code: 0, out: /: OK$/ })
  t.match(await datanet(['check'], { env: { DATANET_DATA: place } }), { code: 0 })
  const { out } = await datanet(['check', '--config', file, '--json'])
  t.match(JSON.parse(out), { file, ok: true, problems: [] })
})

t.test('every problem at once as FILE:line: path: message, exit 78', async (t) => {
  const bad = good
    .replace('127.0.0.1/32', '127.0.0.300')
    .replace('nas_type: hostapd', 'nas_tipe: x')
  const file = write('bad.yaml', bad)
  const { code, out, err } = await datanet(['check', '--config', file])
  t.equal(code, 78)
  t.equal(out, '')
  const lines = err.split('\n')
  t.ok(lines.length >= 2)
  const wrongLine = bad.split('\n').findIndex((line) => line.includes('127.0.0.300')) + 1
  t.ok(
    lines.some((line) => line.startsWith(`${file}:${wrongLine}: clients[0].ipaddr: `)),
    err,
  )
  t.ok(
    lines.some((line) => line.includes('nas_tipe')),
    err,
  )
  const json = await datanet(['check', '--config', file, '--json'])
  t.equal(json.code, 78)
  t.equal(JSON.parse(json.out).problems.length, lines.length)
  t.notMatch(err + json.out, 'qw94tcccu9cvebqzauq82mvf33svabjb')
})

t.test('secrets from the environment, and from files beside the configuration', async (t) => {
  const secret = 'qw94tcccu9cvebqzauq82mvf33svabjb'
  const fromEnv = write('env.yaml', good.replace(secret, ['$', '{AP_SECRET}'].join('')))
  t.match(await datanet(['check', '--config', fromEnv]), {
    code: 78,
    err: /AP_SECRET, which is not set/,
  })
  t.match(await datanet(['check', '--config', fromEnv], { env: { AP_SECRET: secret } }), {
    code: 0,
  })
  write('ap.secret', `${secret}\n`)
  const fromFile = write('file.yaml', good.replace(/secret: .*/, 'secret_file: ap.secret'))
  t.match(await datanet(['check', '--config', fromFile]), { code: 0 })
})

t.test('no such file', async (t) => {
  const file = join(place, 'none.yaml')
  t.match(await datanet(['check', '--config', file]), {
    code: 78,
    err: /none\.yaml does not exist/,
  })
  t.match(await datanet(['check', '--config', place]), {
    code: 77,
    err: /cannot be read \(EISDIR\)/,
  })
})

t.test('files of evidence are read, too', async (t) => {
  const file = write('tpm.yaml', `${good}attestation: { tpm: { roots: [makers.pem] } }\n`)
  const line = good.split('\n').length
  t.match(await datanet(['check', '--config', file]), {
    code: 78,
    err: `${file}:${line}: attestation.tpm.roots[0]: names ${join(place, 'makers.pem')}, which does`,
  })
})

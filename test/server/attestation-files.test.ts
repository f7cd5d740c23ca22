// The files that the section `attestation` names, read from a real folder: what is in them comes
// into force, and what is wrong with one is told with its key, its line and what to do.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { TPM_VENDOR_ROOTS } from '../../attestation/roots/tpm.ts'
import { checkConfig } from '../../server/config-source.ts'
import { octets, recorded } from '../attestation/tpm-recorded.ts'

const directory = mkdtempSync(join(tmpdir(), 'datanet-attestation-'))
t.teardown(() => rmSync(directory, { recursive: true }))
const at = (name: string) => join(directory, name)
const root = octets(recorded('rsa').root)
const pem = `-----BEGIN CERTIFICATE-----\n${root.toString('base64')}\n-----END CERTIFICATE-----\n`
const leaf = octets(recorded('rsa').first.ekCertificates[0] ?? '')

const read = (part: string) =>
  checkConfig(
    `operator: { name: Corner Wi-Fi }
tariffs: { standard: { per_minute: "1", per_megabyte: "1" } }
attestation:
  ${part}
`,
    at('datanet.yaml'),
    {},
  )

function policiesOf(part: string) {
  const result = read(part)
  if ('problems' in result) throw new Error(JSON.stringify(result.problems))
  return result.policies
}

function problemOf(part: string) {
  const result = read(part)
  const [problem, ...others] = 'problems' in result ? result.problems : []
  if (problem === undefined || others.length > 0) throw new Error(JSON.stringify(result))
  return problem
}

t.test('nothing is taken that the file does not name', async (t) => {
  const result = checkConfig(
    'operator: { name: x }\ntariffs: { s: { per_minute: "1", per_megabyte: "1" } }\n',
    at('datanet.yaml'),
    {},
  )
  t.same('policies' in result && result.policies, {})
})

t.test('TPM: built-in authorities, and those of the files, beside the configuration', async (t) => {
  t.equal(policiesOf('tpm: {}').tpm?.roots.length, TPM_VENDOR_ROOTS.length)
  writeFileSync(at('roots.pem'), pem + pem)
  writeFileSync(at('root.der'), root)
  const both = policiesOf(`tpm: { roots: [roots.pem, ${at('root.der')}] }`).tpm?.roots ?? []
  t.same(
    both.slice(TPM_VENDOR_ROOTS.length).map(({ raw }) => raw),
    [root, root, root],
  )
  const digest = 'AB:'.repeat(32).slice(0, -1)
  const lists = policiesOf(`tpm: { revoked: ["${digest}"], endorsement_keys: ["${digest}"] }`)
  t.same(lists.tpm?.revoked, new Set(['ab'.repeat(32)]), 'as openssl prints them')
  t.same(lists.tpm?.endorsementKeys, new Set(['ab'.repeat(32)]))
})

t.test('files that are not there or not what they should be', async (t) => {
  writeFileSync(at('leaf.der'), leaf)
  writeFileSync(at('text.pem'), 'not a certificate')
  writeFileSync(at('empty.pem'), '')
  writeFileSync(at('half.pem'), pem + pem.replace(/MII/, 'MIJ'))
  mkdirSync(at('folder'))
  const cases: [file: string, says: RegExp][] = [
    ['none.pem', /names .*\/none\.pem, which does not exist; put it there or correct the path/],
    ['folder', /names .*\/folder, which can't be read \(it is no file\)/],
    ['leaf.der', /leaf\.der, which is not all certificates of authorities/],
    ['text.pem', /text\.pem, which is not all certificates of authorities/],
    ['empty.pem', /empty\.pem, which is not all certificates of authorities/],
    ['half.pem', /half\.pem, which is not all certificates of authorities/],
  ]
  writeFileSync(at('roots.pem'), pem)
  for (const [file, says] of cases) {
    const problem = problemOf(`tpm: { roots: [roots.pem, ${file}] }`)
    t.match(problem, { path: 'attestation.tpm.roots[1]', line: 4, message: says }, file)
  }
  writeFileSync(at('large.pem'), Buffer.alloc(8 * 1024 * 1024 + 1))
  t.match(problemOf('tpm: { roots: [large.pem] }').message, /more than 8388608 octets/)
})

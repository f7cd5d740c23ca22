// A TPM 2.0 of its own for tests: Debian's swtpm on a Unix socket, with endorsement certificates by
// a certificate authority made for it (swtpm_localca), and tpm2-tools to talk to it. Called by
// tpm.test.ts.

import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { readTpmRoots } from '../../attestation/tpm-chain.ts'
import { run, temporaryDirectory, waitFor } from './server.ts'

/** A running TPM. */
export type SoftwareTpm = Awaited<ReturnType<typeof startTpm>>

async function must(command: string, ...args: string[]): Promise<string> {
  const { code, out, errors } = await run(command, args)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${errors}`)
  return out
}

/** Endorsement keys, their certificates, and who signed them. */
async function manufacture(directory: string): Promise<void> {
  const at = (name: string) => join(directory, name)
  for (const folder of ['ca', 'tpm']) mkdirSync(at(folder))
  writeFileSync(
    at('localca.conf'),
    `statedir = ${at('ca')}
signingkey = ${at('ca/signkey.pem')}
issuercert = ${at('ca/issuercert.pem')}
certserial = ${at('ca/certserial')}
`,
  )
  writeFileSync(at('localca.options'), '')
  writeFileSync(
    at('setup.conf'),
    `create_certs_tool = swtpm_localca
create_certs_tool_config = ${at('localca.conf')}
create_certs_tool_options = ${at('localca.options')}
active_pcr_banks = sha256
`,
  )
  const what = ['--tpm2', '--create-ek-cert', '--pcr-banks', 'sha256']
  await must('swtpm_setup', ...what, '--tpm-state', at('tpm'), '--config', at('setup.conf'))
}

/** Starts a TPM that nobody else knows; it ends with the test. */
export async function startTpm(t: Test) {
  const directory = temporaryDirectory(t)
  const at = (name: string) => join(directory, name)
  await manufacture(directory)
  // The tools find the control channel by the name of the other (tcti-swtpm).
  const child = spawn(
    'swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${at('tpm')}`],
      ...['--server', `type=unixio,path=${at('sock')}`],
      ...['--ctrl', `type=unixio,path=${at('sock.ctrl')}`],
      ...['--flags', 'not-need-init,startup-clear'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  // Also where the test file fails before its tests begin.
  const kill = () => child.kill('SIGTERM')
  process.once('exit', kill)
  t.teardown(async () => {
    kill()
    await ended
    process.off('exit', kill)
  })
  const tcti = `swtpm:path=${at('sock')}`
  const answers = async () => (await run('tpm2_getrandom', ['1', '--hex', '-T', tcti])).code === 0
  await waitFor(answers, 15_000, () => `swtpm does not answer: ${said}`)
  return {
    tcti,
    at,
    /** Runs `tpm2_<name>` on it, or throws with what that said. */
    tool: (name: string, ...args: string[]) => must(`tpm2_${name}`, ...args, '-T', tcti),
    /** Whether `tpm2_<name>` works. */
    works: async (name: string, ...args: string[]) =>
      (await run(`tpm2_${name}`, [...args, '-T', tcti])).code === 0,
    read: (name: string) => readFileSync(at(name)),
    write(name: string, content: Uint8Array): string {
      writeFileSync(at(name), content)
      return at(name)
    },
    roots: readTpmRoots([
      { name: 'issuercert.pem', content: readFileSync(at('ca/issuercert.pem')) },
    ]).roots,
    /** The self-signed certificate of who signed `roots`: PEM. */
    anchor: readFileSync(at('ca/swtpm-localca-rootca-cert.pem'), 'utf8'),
    /** Writes to NV memory as a maker does: it stays when the owner clears the TPM. */
    async burn(index: string, content: Uint8Array): Promise<void> {
      writeFileSync(at('burnt'), content)
      const attributes = 'platformcreate|ppwrite|ppread|ownerread|authread|no_da'
      const size = ['-s', `${content.length}`, '-a', attributes]
      await must('tpm2_nvdefine', index, '-C', 'p', ...size, '-T', tcti)
      await must('tpm2_nvwrite', index, '-C', 'p', '-i', at('burnt'), '-T', tcti)
    },
    /** DER of a certificate by this TPM's authority for a key that is in a PEM file. */
    async certify(publicPem: string): Promise<Buffer> {
      writeFileSync(at('extensions'), 'basicConstraints=critical,CA:FALSE\n')
      writeFileSync(at('extensions'), 'extendedKeyUsage=2.23.133.8.1\n', { flag: 'a' })
      const issuer = ['-CA', at('ca/issuercert.pem'), '-CAkey', at('ca/signkey.pem')]
      const subject = ['-new', '-subj', '/CN=endorsement', '-force_pubkey', at(publicPem)]
      const files = ['-extfile', at('extensions'), '-outform', 'DER', '-out', at('ek.der')]
      await must(
        'openssl',
        'x509',
        ...subject,
        ...issuer,
        '-CAcreateserial',
        '-days',
        '30',
        ...files,
      )
      return readFileSync(at('ek.der'))
    },
  }
}

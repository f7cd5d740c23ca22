// Plain certificates for peers that know no chain account: a CA, a server and clients, P-256, made
// with the openssl command so that none of the project's own X.509 code is in what it is tested
// against. Called by interop tests and by the benchmark where no server of ours gives certificates.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A certificate with its private key, PEM both. */
export interface Credential {
  readonly certificatePem: string
  readonly keyPem: string
}

/** An issuer and what it signed. */
export interface TestPki {
  readonly ca: Credential
  readonly server: Credential
  readonly serverName: string
  readonly clients: readonly Credential[]
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 20_000 })
}

function newKey(directory: string, name: string): string {
  const file = join(directory, `${name}.key`)
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file)
  return file
}

function credential(directory: string, name: string): Credential {
  return {
    certificatePem: readFileSync(join(directory, `${name}.pem`), 'utf8'),
    keyPem: readFileSync(join(directory, `${name}.key`), 'utf8'),
  }
}

/** A self-signed P-256 certificate, valid for a day, written to DIRECTORY/NAME.pem and .key. */
export function makeSelfSigned(
  directory: string,
  name: string,
  extensions: readonly string[],
): Credential {
  const key = newKey(directory, name)
  const certificate = join(directory, `${name}.pem`)
  const added = extensions.flatMap((extension) => ['-addext', extension])
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    key,
    '-subj',
    `/CN=${name}`,
    '-days',
    '1',
    ...added,
    '-out',
    certificate,
  )
  return credential(directory, name)
}

function issue(directory: string, name: string, extensions: readonly string[]): Credential {
  const path = (suffix: string): string => join(directory, `${name}.${suffix}`)
  openssl(
    'req',
    '-new',
    '-key',
    newKey(directory, name),
    '-subj',
    `/CN=${name}`,
    '-out',
    path('csr'),
  )
  writeFileSync(path('ext'), extensions.map((extension) => `${extension}\n`).join(''))
  const issuer = ['-CA', join(directory, 'ca.pem'), '-CAkey', join(directory, 'ca.key')]
  const times = ['-CAcreateserial', '-days', '1', '-sha256', '-extfile', path('ext')]
  openssl('x509', '-req', '-in', path('csr'), ...issuer, ...times, '-out', path('pem'))
  return credential(directory, name)
}

/** Makes CA, server and `clients` client certificates in a folder that exists. */
export function makePki(directory: string, clients: number): TestPki {
  const serverName = 'radius.peer.test'
  const leaf = ['basicConstraints=CA:FALSE', 'keyUsage=critical,digitalSignature']
  return {
    ca: makeSelfSigned(directory, 'ca', ['keyUsage=critical,keyCertSign']),
    server: issue(directory, 'server', [
      ...leaf,
      'extendedKeyUsage=serverAuth',
      `subjectAltName=DNS:${serverName}`,
    ]),
    serverName,
    clients: Array.from({ length: clients }, (_, i) =>
      issue(directory, `client${i}`, [...leaf, 'extendedKeyUsage=clientAuth']),
    ),
  }
}

// Certificates as an operator makes or buys them: by the openssl program, P-256 or RSA, with no CA,
// with one, or with an intermediate. Called by own-certificate.test.ts.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './server.ts'

export const SERVER_NAME = 'radius.cafe.example'

const CA_EXTENSIONS = `basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
`
// A printed list of these names would show a look-alike first.
const LEAF_EXTENSIONS = `basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=@names
[names]
URI.1=http://x.example/?a, DNS:wrong.example
DNS.1=*.cafe.example
DNS.2=${SERVER_NAME}
`

/** A key and its certificate, as the names of their files below the directory. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

async function openssl(...args: string[]): Promise<void> {
  const { code, errors } = await run('openssl', args)
  if (code !== 0) throw new Error(`openssl ${args.join(' ')}: ${errors}`)
}

/** Makes certificates in one directory. */
export function openCa(directory: string) {
  const at = (name: string): string => join(directory, name)

  async function makeKey(name: string, kind: 'P-256' | 'rsa' = 'P-256'): Promise<string> {
    const algorithm =
      kind === 'rsa'
        ? ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048']
        : ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
    await openssl('genpkey', '-algorithm', ...algorithm, '-out', at(`${name}.key`))
    return `${name}.key`
  }

  /** A certificate for a key that exists, signed by `issuer` or, without one, by itself. */
  async function certify(
    name: string,
    o: { key: string; issuer?: Pair; ca?: true },
  ): Promise<Pair> {
    writeFileSync(at('extensions'), o.ca ? CA_EXTENSIONS : LEAF_EXTENSIONS)
    const organisation = 'A Café with a rather long name that chains like to repeat'
    const subject = `/C=NL/O=${organisation}/OU=Department of Wireless Networks/CN=${name}`
    const request = at(`${name}.csr`)
    await openssl('req', '-new', '-utf8', '-key', at(o.key), '-subj', subject, '-out', request)
    const signer =
      o.issuer === undefined
        ? ['-signkey', at(o.key)]
        : ['-CA', at(o.issuer.cert), '-CAkey', at(o.issuer.key), '-CAcreateserial']
    const validity = ['-days', '90', '-extfile', at('extensions')]
    const files = ['-in', request, '-out', at(`${name}.crt`)]
    await openssl('x509', '-req', ...files, ...signer, ...validity)
    return { cert: `${name}.crt`, key: o.key }
  }

  return {
    makeKey,
    certify,
    /** The text of certificates, one after the other. */
    chain: (...pairs: Pair[]): string =>
      pairs.map(({ cert }) => readFileSync(at(cert), 'utf8')).join(''),
    /** Puts a chain and its key at the two places that the configuration names. */
    install(chain: string, key: string): void {
      writeFileSync(at('radius.crt'), chain)
      writeFileSync(at('radius.key'), readFileSync(at(key)))
    },
  }
}

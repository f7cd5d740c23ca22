// Every rule of app-attest.ts by itself: attestations that Apple would not sign, over a root made
// here.

import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encode } from 'cborg'
import t from 'tap'
import { type AppAttestPolicy, verifyAppAttest } from '../../attestation/app-attest.ts'
import { Extension } from '../../certs/issue.ts'
import { extension, keyOf, madeChain, NOW, rootOf, tlv, usual } from './made-chain.ts'

const APP_ID = 'TEAM123456.org.datanet'
const CHALLENGE = Buffer.alloc(32, 9)
const NONCE = '2a864886f763640802'
const PRODUCTION = Buffer.from('appattest\0\0\0\0\0\0\0')

const sha256 = (...parts: Uint8Array[]) =>
  createHash('sha256').update(Buffer.concat(parts)).digest()

function coordinatesOf(key: KeyObject): [x: Buffer, y: Buffer] {
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  return [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
}

interface Change {
  readonly key?: KeyObject
  readonly flags?: number
  readonly counter?: number
  readonly aaguid?: Buffer
  readonly id?: Buffer
  readonly coseKey?: Buffer
  readonly tail?: Buffer
  readonly keyId?: Buffer
  /** From the nonce to the extension's value. */
  readonly wrap?: (nonce: Buffer) => Buffer
  readonly extensions?: readonly []
}

const wrapped = (nonce: Buffer) => tlv('30', tlv('a1', tlv('04', nonce)))

function coseKeyOf(x: Buffer, y: Buffer): Buffer {
  const labels: [number, unknown][] = [
    [1, 2],
    [3, -7],
    [-1, 1],
    [-2, x],
    [-3, y],
  ]
  return Buffer.from(encode(new Map(labels)))
}

function outcome(change: Change, policy: Partial<AppAttestPolicy> = {}): string {
  const key = change.key ?? keyOf('leaf')
  const [x, y] = coordinatesOf(key)
  const id = change.id ?? sha256(Buffer.of(4), x, y)
  const counter = Buffer.alloc(4)
  counter.writeUInt32BE(change.counter ?? 0)
  const authData = Buffer.concat([
    sha256(Buffer.from(APP_ID)),
    Buffer.of(change.flags ?? 0x40),
    counter,
    change.aaguid ?? PRODUCTION,
    change.tail ?? Buffer.concat([Buffer.of(0, id.length), id, change.coseKey ?? coseKeyOf(x, y)]),
  ])
  const nonce = sha256(authData, sha256(CHALLENGE))
  const value = (change.wrap ?? wrapped)(nonce)
  const extensions = change.extensions ?? [Extension.endEntity(), extension(NONCE, value)]
  const chain = madeChain(...usual({ key, extensions }))
  const x5c = chain.slice(0, 2)
  const attStmt = { x5c, receipt: Buffer.alloc(1) }
  const octets = Buffer.from(encode({ fmt: 'apple-appattest', attStmt, authData }))
  const evidence = {
    keyId: (change.keyId ?? sha256(Buffer.of(4), x, y)).toString('base64url'),
    attestation: octets.toString('base64url'),
  }
  const verdict = verifyAppAttest(
    evidence,
    { challenge: CHALLENGE, nowSeconds: NOW },
    { appIds: [APP_ID], environments: ['production'], roots: [rootOf(chain)], ...policy },
  )
  return verdict.ok ? 'accepted' : verdict.reason
}

t.test('App Attest, "Verify the attestation": each step refuses by itself', async (t) => {
  const [x, y] = coordinatesOf(keyOf('leaf'))
  const id = sha256(Buffer.of(4), x, y)
  const other = coseKeyOf(...coordinatesOf(keyOf('other')))
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const cases: [what: string, outcome: string, Change][] = [
    ['nothing', 'accepted', {}],
    ['4: no nonce', 'malformed', { extensions: [] }],
    ['4: a nonce without its [1]', 'malformed', { wrap: (nonce) => tlv('30', tlv('04', nonce)) }],
    ['4: in [2]', 'malformed', { wrap: (n) => tlv('30', tlv('a2', tlv('04', n))) }],
    ['4: a longer one', 'malformed', { wrap: (n) => wrapped(Buffer.concat([n, n])) }],
    ['4: another one', 'challenge-mismatch', { wrap: (n) => wrapped(sha256(n)) }],
    ['5: key identifier', 'key-mismatch', { keyId: sha256(id) }],
    ['5: a key on P-384', 'weak-key', { key: p384, keyId: id }],
    ['7: a counter that went up', 'counter', { counter: 1 }],
    ['7: of 32 bits', 'counter', { counter: 0x80000000 }],
    ['8: an unknown aaguid', 'malformed', { aaguid: Buffer.alloc(16) }],
    ['8: development', 'wrong-app', { aaguid: Buffer.from('appattestdevelop') }],
    ['9: credential id', 'key-mismatch', { id: sha256(id) }],
    ['9: a short one', 'key-mismatch', { id: id.subarray(1) }],
    ['the credential is another key', 'key-mismatch', { coseKey: other }],
    ['none', 'key-mismatch', { coseKey: Buffer.alloc(0) }],
    ['more behind it', 'key-mismatch', { coseKey: Buffer.concat([coseKeyOf(x, y), Buffer.of(0)]) }],
    ['no flag for it', 'malformed', { flags: 0 }],
    ['no credential at all', 'malformed', { tail: Buffer.alloc(0) }],
  ]
  for (const [what, expected, change] of cases) t.equal(outcome(change), expected, what)
  t.equal(outcome({}, { appIds: ['TEAM123456.org'] }), 'wrong-app', '6: app id')
  t.equal(outcome({}, { environments: [] }), 'wrong-app', '8: no environment is taken')
  const development = { aaguid: Buffer.from('appattestdevelop') }
  t.equal(outcome(development, { environments: ['development'] }), 'accepted')
  t.equal(outcome({}, { roots: [] }), 'unpinned-root', '1')
})

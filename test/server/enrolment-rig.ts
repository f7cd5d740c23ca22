// Metering keys for tests: a P-256 key as a device has it, its enrolment over HTTP, and the side of
// the server over real books, a store in memory and a clock that the test plays.

import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { encode } from 'cborg'
import fastify from 'fastify'
import { pino } from 'pino'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger } from '../../accounting/ledger.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { challengeOf } from '../../attestation/challenge.ts'
import type { Address } from '../../ethereum/address.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { meteringKeyDigest } from '../../ethereum/typed-data.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import { createVerifiers, type Policies, type Verifiers } from '../../server/attestation.ts'
import { createEnrolment } from '../../server/enrolment.ts'
import { meteringKeyRoutes } from '../../server/http-metering.ts'
import { accountNamed, domain, hex, keyNamed } from '../accounting/vouchers.ts'

export const NOW_MS = 1_800_000_000_000

export interface TestKey {
  readonly privateKey: KeyObject
  /** 65 octets. */
  readonly publicKey: Buffer
}

export function newMeteringKey(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const point = [Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  return { privateKey, publicKey: Buffer.concat(point) }
}

export const signP256 = ({ privateKey }: TestKey, data: Uint8Array): Buffer =>
  sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })

const sha256 = (...parts: Uint8Array[]): Buffer =>
  createHash('sha256').update(Buffer.concat(parts)).digest()

/** What an iPhone's generateAssertion gives for the SHA-256 of `clientData`. */
export function assertionOf(
  key: TestKey,
  clientData: Buffer,
  counter: number,
  appId: string,
): Buffer {
  const tail = Buffer.alloc(5)
  tail[0] = 0x40
  tail.writeUInt32BE(counter, 1)
  const authenticatorData = Buffer.concat([sha256(Buffer.from(appId)), tail])
  const signature = sign('sha256', sha256(authenticatorData, sha256(clientData)), key.privateKey)
  return Buffer.from(encode({ signature, authenticatorData }))
}

/** A good enrolment of a key in software, with anything replaced. */
export function enrolmentOf(name: string, key: TestKey, nonceText: string, change: object = {}) {
  const nonce = Buffer.from(nonceText, 'base64url')
  const challenge = challengeOf(nonce, accountNamed(name), domain.operator)
  const evidence = { signature: signP256(key, challenge).toString('base64url') }
  return { ...grantOf(name, key.publicKey, nonceText), scheme: 'software', evidence, ...change }
}

/** What an account says of a key it enrols, and its signature: all but scheme and evidence. */
export function grantOf(name: string, publicKey: Buffer, nonceText: string) {
  const consumer = accountNamed(name)
  const nonce = Buffer.from(nonceText, 'base64url')
  const keyHash = createHash('sha256').update(publicKey).digest()
  const grant = { consumer, operator: domain.operator, keyHash, nonce }
  return {
    ...{ consumer, publicKey: publicKey.toString('base64url') },
    signature: hex(signDigest(meteringKeyDigest(domain.separator, grant), keyNamed(name))),
  }
}

/**
 * What the operator takes, and the challenge that evidence was recorded for: verifiers are asked
 * with it instead of the real one, which no published evidence answers.
 */
export interface Evidence {
  readonly policies?: Policies
  readonly challenge?: Buffer
  readonly random?: (length: number) => Buffer
}

function verifiersFor({ policies = {}, challenge, random = randomBytes }: Evidence): Verifiers {
  const verifiers = createVerifiers(() => policies, random)
  if (challenge === undefined) return verifiers
  return {
    get(scheme) {
      const verifier = verifiers.get(scheme)
      const { begin } = verifier ?? {}
      return (
        verifier && {
          ...verifier,
          verify: (evidence, expected) => verifier.verify(evidence, { ...expected, challenge }),
          ...(begin && { begin: (request, o) => begin(request, { ...o, challenge }) }),
        }
      )
    },
  }
}

export async function enrolmentRig(
  t: { teardown(f: () => Promise<void>): void },
  evidence: Evidence = {},
) {
  const storage = await openSqliteStore(':memory:')
  const ledger = createLedger({
    ...{ sessionsMax: 100, rememberedMax: 100, accountsMax: 100 },
    operatorAccount: accountNamed('operator'),
  })
  const committer = createCommitter({
    ...{ ledger, storage, onError: () => undefined, onRecovered: () => undefined },
  })
  const world = { nowMs: NOW_MS, outcomes: [] as string[], depositors: new Set<Address>() }
  const channel = {
    ...{ deposit: 9n, highestVoucher: 0n, pendingShift: 0n, reserved: 0n, withdrawn: 0n },
  }
  const enrolment = createEnrolment({
    ...{ domain, ledger, committer, ensureAccount: createEnsureAccount(ledger, storage) },
    mirror: {
      channel: (operator, account) =>
        operator === domain.operator && world.depositors.has(account) ? channel : undefined,
    },
    ...{ verifiers: verifiersFor(evidence), random: randomBytes, log: pino({ level: 'silent' }) },
    ...{ reattestAfterMs: () => 86_400_000, wallNow: () => world.nowMs },
    count: (scheme, outcome) => world.outcomes.push(`${scheme} ${outcome}`),
  })
  const app = fastify()
  app.register(async (routes) => meteringKeyRoutes(routes, enrolment))
  t.teardown(async () => {
    await app.close()
    await committer.close()
    await storage.close()
  })
  const post = async (url: string, payload: unknown) => {
    const answer = await app.inject({ method: 'POST', url, payload: payload as object })
    return { status: answer.statusCode, ...answer.json() }
  }
  return {
    ...{ world, ledger, storage, enrolment },
    challenge: (consumer: string, more: object = {}) =>
      post('/v1/metering-keys/challenge', { consumer, ...more }),
    enrol: (body: unknown) => post('/v1/metering-keys', body),
    deposit: (name: string) => world.depositors.add(accountNamed(name)),
  }
}

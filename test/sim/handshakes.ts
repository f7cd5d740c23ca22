// Handshakes by the thousand in one process, for tests of what stays behind: complete ones with
// real node:tls clients, and among them every way in which a conversation can end early. It judges
// what each handshake came to; the memory it measures is judged by the tests that call it.

import { memoryUsage } from 'node:process'
import { setImmediate as turn } from 'node:timers/promises'
import { createSecureContext, type SecureContext, type SecureVersion } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Alert } from '../../eap/alert.ts'
import type { TlsConversation, TlsEngine, TlsEngineConfig } from '../../eap/engine.ts'
import { caCertificate, ed25519, p256, rsa, server } from '../eap/credentials.ts'
import { openClient, type TlsClient } from '../eap/peer.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

export const engineConfig: TlsEngineConfig = {
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
}

/** Memory once everything that can be freed has been. */
export interface Sample {
  /** Handshakes completed so far. */
  readonly at: number
  readonly residentBytes: number
}

/** Collects, lets finalizers run, and measures. */
export async function sampleMemory(at: number): Promise<Sample> {
  for (let n = 0; n < 4; n++) {
    collect()
    await turn()
  }
  return { at, residentBytes: memoryUsage().rss }
}

interface Station {
  readonly secureContext: SecureContext
  readonly minVersion: SecureVersion
  readonly maxVersion: SecureVersion
  readonly ecdhCurve: string
}

const station = (
  version: 'TLSv1.2' | 'TLSv1.3',
  credential: typeof p256,
  ecdhCurve = 'auto',
): Station => {
  const versions = { minVersion: version, maxVersion: version } as const
  const secureContext = createSecureContext({
    ...credential,
    ...versions,
    ecdhCurve,
    ca: caCertificate,
  })
  return { secureContext, ...versions, ecdhCurve }
}

/** Mostly what devices of ours do; one in eight is something else that is allowed. */
function stations(): Station[] {
  const usual = [station('TLSv1.2', p256), station('TLSv1.3', p256)]
  const others = [
    station('TLSv1.3', p256, 'P-521:P-256'),
    station('TLSv1.2', ed25519, 'P-256'),
    station('TLSv1.3', rsa),
    station('TLSv1.2', rsa),
  ]
  return others.flatMap((other) => [...usual, ...usual, ...usual, ...usual].toSpliced(3, 1, other))
}

/** How conversations ended, each way counted. */
export type Endings = Record<
  'established' | 'refused' | 'left' | 'abandoned' | 'closed' | 'bent' | 'garbage',
  number
>

/** A handshake record of type 1, behind a ChangeCipherSpec where it is the second. */
function isClientHello(flight: Buffer): boolean {
  const at = flight[0] === 20 ? 6 : 0
  return flight[at] === 22 && flight[at + 5] === 1
}

/** Brings a handshake to the client's last flight; undefined where the engine has ended it. */
async function lastFlight(
  client: TlsClient,
  conversation: TlsConversation,
): Promise<Buffer | undefined> {
  let flight = await client.exchange(Buffer.alloc(0))
  // A HelloRetryRequest is answered by a second ClientHello.
  for (let hellos = 0; hellos < 2 && isClientHello(flight); hellos++) {
    const outcome = await conversation.feed(flight)
    if (outcome.status !== 'continue') return undefined
    flight = await client.exchange(outcome.bytes)
  }
  return flight
}

/** One handshake to its end, our last flight included; throws where any part of it fails. */
async function complete(engine: TlsEngine, station: Station, n: number, endings: Endings) {
  const client = openClient(station)
  const conversation = engine.open()
  const flight = await lastFlight(client, conversation)
  const outcome = flight === undefined ? undefined : await conversation.feed(flight)
  if (outcome?.status !== 'established') throw new Error(`handshake ${n}: ${outcome?.status}`)
  endings.established++
  const { msk } = conversation.keys()
  const { version } = conversation.facts()
  if (conversation.peerCertificate().length < 100) throw new Error(`handshake ${n}: certificate`)
  const refused = n % 10 === 9
  if (refused) endings.refused++
  const bytes = refused ? conversation.refuse(Alert.accessDenied) : conversation.commit()
  await client.exchange(bytes)
  const { secured, error } = client.seen
  if (version === '1.2' && secured === refused) throw new Error(`handshake ${n}: ${error}`)
  if (refused && !/ACCESS_DENIED/.test(error ?? '')) throw new Error(`handshake ${n}: ${error}`)
  if (msk.length !== 64 || `TLSv${version}` !== station.maxVersion) throw new Error(`keys ${n}`)
  // One in sixteen is left to the garbage collector, in the middle of all that it owns.
  if (n % 16 === 0) endings.left++
  else conversation.close()
  client.close()
}

/** Conversations that come to nothing, one of each kind. */
async function fruitless(engine: TlsEngine, station: Station, n: number, endings: Endings) {
  const client = openClient(station)
  const hello = await client.exchange(Buffer.alloc(0))
  client.close()
  const abandoned = engine.open()
  await abandoned.feed(hello)
  endings.abandoned++
  const closed = engine.open()
  await closed.feed(hello)
  closed.close()
  endings.closed++
  const garbage = engine.open()
  const cut = await garbage.feed(hello.subarray(0, 6 + (n % (hello.length - 6))))
  if (cut.status !== 'failed') throw new Error(`half a ClientHello: ${cut.status}`)
  garbage.close()
  endings.garbage++
  const other = openClient(station)
  const bent = engine.open()
  const flight = await lastFlight(other, bent)
  if (flight !== undefined) {
    flight[n % flight.length] = (flight[n % flight.length] ?? 0) ^ (1 << (n % 8))
    const outcome = await bent.feed(flight)
    // A bit of a record's version is the only one that TLS 1.3 does not protect.
    if (outcome.status === 'established' && n % flight.length > 10) throw new Error('bent flight')
    endings.bent++
  }
  if (n % 3 > 0) bent.close()
  other.close()
}

/**
 * `count` complete handshakes, one set of fruitless conversations for every ten of them, and a
 * sample before the first and after each `every`.
 */
export async function runHandshakes(
  engine: TlsEngine,
  { count, every, told }: { count: number; every: number; told?: (sample: Sample) => void },
): Promise<{ readonly samples: readonly Sample[]; readonly endings: Endings }> {
  const among = stations()
  const samples: Sample[] = []
  const endings: Endings = {
    established: 0,
    refused: 0,
    left: 0,
    abandoned: 0,
    closed: 0,
    bent: 0,
    garbage: 0,
  }
  const measure = async (at: number) => {
    const sample = await sampleMemory(at)
    samples.push(sample)
    told?.(sample)
  }
  await measure(0)
  for (let n = 0; n < count; n++) {
    const chosen = among[n % among.length] as Station
    await complete(engine, chosen, n, endings)
    if (n % 10 === 0) await fruitless(engine, chosen, n, endings)
    if ((n + 1) % every === 0) await measure(n + 1)
  }
  return { samples, endings }
}

/**
 * Bytes by which resident memory grows per handshake: the slope of the least-squares line through
 * the samples behind the first fifth, which is for warming up.
 */
export function growth(samples: readonly Sample[]): number {
  const kept = samples.filter(({ at }) => at >= (samples.at(-1)?.at ?? 0) / 5)
  const mean = (of: (sample: Sample) => number) =>
    kept.reduce((sum, sample) => sum + of(sample), 0) / kept.length
  const x = mean(({ at }) => at)
  const y = mean(({ residentBytes }) => residentBytes)
  const covariance = mean(({ at, residentBytes }) => (at - x) * (residentBytes - y))
  return covariance / mean(({ at }) => (at - x) ** 2)
}

// The pairing mathematics of the operator in a thread of its own: a verification takes as long as
// a hundred RADIUS packets, which must not wait for it. Owns nothing but parsed keys. Started by
// notary-bls.ts; says which library it has, then answers each message once, in order.

import { parentPort } from 'node:worker_threads'
import { blsEngine } from '../chain/bls-native.ts'
import { collectSignatures, type SignerAnswer } from '../chain/payplace/signers.ts'

/** A merchant's answer as bytes: key in EIP-2537 coding (128), signature compressed (96). */
export interface AnswerBytes {
  readonly id: number
  readonly key: Uint8Array
  readonly signature: Uint8Array
}

/** What the thread is asked. */
export type BlsJob =
  | { readonly job: 'sign'; readonly digest: Uint8Array; readonly secretKey: Uint8Array }
  | { readonly job: 'verify'; readonly digest: Uint8Array; readonly answer: AnswerBytes }
  | {
      readonly job: 'collect'
      readonly digest: Uint8Array
      readonly answers: readonly AnswerBytes[]
    }

/** Whose answers are good, and their sum for the contract (256 bytes), undefined where none is. */
export interface Collected {
  readonly signers: readonly number[]
  readonly culprits: readonly number[]
  readonly signature: Uint8Array | undefined
}

const engine = blsEngine
/** Points of whichever library it is. */
type Key = unknown
type Signature = unknown

/** Keys were checked by the contract; parsing one costs as much as adding up a thousand. */
const KEYS_MAX = 10_000
const keys = new Map<string, Key | undefined>()

function keyOf(coding: Uint8Array): Key | undefined {
  const name = Buffer.from(coding).toString('latin1')
  if (!keys.has(name)) {
    if (keys.size >= KEYS_MAX) keys.clear()
    keys.set(name, engine.key(coding))
  }
  return keys.get(name)
}

function parse({ id, key, signature }: AnswerBytes): SignerAnswer<Key, Signature> | undefined {
  const [parsedKey, parsedSignature] = [keyOf(key), engine.signature(signature)]
  if (parsedKey === undefined || parsedSignature === undefined) return undefined
  return { id, key: parsedKey, signature: parsedSignature }
}

function collect(digest: Uint8Array, answers: readonly AnswerBytes[]): Collected {
  const parsed = answers.map(parse)
  const readable = parsed.filter((answer) => answer !== undefined)
  const unreadable = answers.filter((_, i) => parsed[i] === undefined).map(({ id }) => id)
  const { signers, sum, culprits } = collectSignatures(engine, digest, readable)
  return {
    signers,
    culprits: [...unreadable, ...culprits],
    signature: sum === undefined ? undefined : engine.signatureCoding(sum.signature),
  }
}

function work(job: BlsJob): Collected | Uint8Array | boolean {
  switch (job.job) {
    case 'sign':
      return engine.sign(job.digest, job.secretKey)
    case 'verify':
      return collect(job.digest, [job.answer]).signers.length === 1
    case 'collect':
      return collect(job.digest, job.answers)
  }
}

parentPort?.postMessage({ engine: engine.name })
parentPort?.on('message', (job: BlsJob) => {
  try {
    parentPort?.postMessage({ result: work(job) })
  } catch (error) {
    parentPort?.postMessage({ error: error instanceof Error ? error.message : String(error) })
  }
})

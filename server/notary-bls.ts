// The thread that signs, verifies and adds up BLS signatures, as promises. Owns the thread: begun
// at the first question, begun anew if it dies. Called by the notary.

import { Worker } from 'node:worker_threads'
import type { AnswerBytes, BlsJob, Collected } from './notary-bls-worker.ts'

export interface BlsThread {
  /** 96 bytes, compressed. */
  sign(digest: Buffer, secretKey: Buffer): Promise<Buffer>
  verify(digest: Buffer, answer: AnswerBytes): Promise<boolean>
  /** In one pairing where all are good; whose are not is found by halving. */
  collect(digest: Buffer, answers: readonly AnswerBytes[]): Promise<Collected>
  /** What was asked and not answered rejects. */
  close(): Promise<void>
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
}

/** Nothing runs before the first question; `onEngine` is told the library that answers it. */
export function openBlsThread(onEngine: (name: string) => void = () => undefined): BlsThread {
  let worker: Worker | undefined
  // The thread answers in the order of the questions.
  let waiting: Waiting[] = []

  function fail(error: Error): void {
    const left = waiting
    waiting = []
    worker = undefined
    for (const { reject } of left) reject(error)
  }

  function start(): Worker {
    const started = new Worker(new URL('./notary-bls-worker.ts', import.meta.url))
    // A server that ends doesn't wait for it.
    started.unref()
    started.on('message', (answer: { engine?: string; result?: unknown; error?: string }) => {
      if (answer.engine !== undefined) return onEngine(answer.engine)
      const next = waiting.shift()
      if (answer.error === undefined) next?.resolve(answer.result)
      else next?.reject(new Error(answer.error))
    })
    started.on('error', fail)
    started.on('exit', (code) => {
      if (worker === started) fail(new Error(`the thread for signatures ended (${code})`))
    })
    return started
  }

  function ask(job: BlsJob): Promise<unknown> {
    worker ??= start()
    const answer = new Promise<unknown>((resolve, reject) => waiting.push({ resolve, reject }))
    worker.postMessage(job)
    return answer
  }

  return {
    async sign(digest, secretKey) {
      return Buffer.from((await ask({ job: 'sign', digest, secretKey })) as Uint8Array)
    },
    async verify(digest, answer) {
      return (await ask({ job: 'verify', digest, answer })) === true
    },
    async collect(digest, answers) {
      return (await ask({ job: 'collect', digest, answers })) as Collected
    },
    async close() {
      const running = worker
      fail(new Error('stopped'))
      await running?.terminate()
    },
  }
}

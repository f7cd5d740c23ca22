// Run by merchant-kill.test.ts as a process of its own, to be killed with -9 anywhere: the
// merchant's store and signature, without chain and network. Each line read offers a block in a
// period; each signature that leaves is one line written.

import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Refusal } from '../../chain/payplace/check.ts'
import { answerOf, storeProposal } from '../../merchant/sign.ts'
import { openStore } from '../../merchant/store.ts'
import { before, list } from '../chain/payplace/checking.ts'
import { OPERATOR, proposal, signingView, TIMING } from '../chain/payplace/support.ts'

/** What is offered: merchant 2 has so much of consumer 0 in it. */
interface OfferLine {
  readonly period: number
  readonly amount: number
}

const SECRET = Buffer.alloc(32, 1)
const store = openStore(process.argv[2] ?? '', { identity: 'to be killed', now: 0 })
const say = (value: object): void => void writeSync(1, `${JSON.stringify(value)}\n`)

function sendStored(): void {
  const signed = store.signed()
  if (signed === undefined || signed.isSent) return
  const answer = answerOf({ operatorId: OPERATOR, id: 2, secret: SECRET }, signed)
  const { period, root, signature } = answer
  say({ period, root: root.toString('hex'), signature: signature.toString('hex') })
  store.markSent(period, true)
}

function consider({ period, amount }: OfferLine): void {
  const now = TIMING.g0 + period * TIMING.beta + 5
  const time = { now, headTime: now }
  const snapshot = { number: 50, hash: Buffer.alloc(32, 0xaa), time: now - 5 }
  const view = signingView(before, {
    ...{ ...time, snapshot, signedPeriod: store.signed()?.period ?? -1 },
  })
  const honest = proposal(before, list({ 2: { 0: BigInt(amount), 1: 10n } }))
  const header = { ...honest.header, period, tau: now - 1 }
  const result = storeProposal(store, view, { ...honest, header, snapshot })
  if ('refused' in result) say({ refused: (result as Refusal).refused, period })
}

say({ ready: true })
sendStored()
for await (const line of createInterface({ input: process.stdin })) {
  consider(JSON.parse(line))
  sendStored()
  say({ done: true })
}

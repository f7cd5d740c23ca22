// The notary's loop in a world that a test plays: chain, journal and files outlive the process, and
// time goes on as it is told. Used by notary.test.ts and notary-restart.test.ts.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import type { MerchantCredit } from '../../accounting/storage.ts'
import { datanetInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import { encodeAnswer } from '../../chain/payplace/codec.ts'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import { type MerchantRecord, NO_BLOCK } from '../../chain/payplace-state.ts'
import type { Address } from '../../ethereum/address.ts'
import { openBlockFiles } from '../../server/block-files.ts'
import { createMetrics } from '../../server/metrics.ts'
import { createNotary, type Notary } from '../../server/notary.ts'
import { createNotaryBlocks } from '../../server/notary-blocks.ts'
import { createJournal } from '../../server/notary-build.ts'
import type { NotaryChain, Reading } from '../../server/notary-chain.ts'
import { addressOf } from '../accounting/store-fixtures.ts'
import { domain } from '../accounting/vouchers.ts'

const folder = mkdtempSync(join(tmpdir(), 'datanet-notary-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

export const timing = { g0: 1_000, beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 3 }
export const [operatorAccount, lobby, alice] = [addressOf(900), addressOf(901), addressOf(1)]
const merchant = (id: number, account: Address): MerchantRecord => ({
  ...{ id, account, blsKey: Buffer.alloc(128, id), status: 'active', joinedAt: 1, locks: [] },
  ...{ missingSince: undefined, settled: { k: 0, shards: [] } },
  ...{ withdrawn: NO_ENTRIES, capped: NO_ENTRIES },
})

/** A world that outlives the process: the chain, the journal, the files. */
export function world() {
  const at = {
    nowMs: 1_006_000,
    block: NO_BLOCK,
    merchants: [merchant(1, operatorAccount), merchant(2, lobby)],
    rows: [] as MerchantCredit[],
    sent: [] as string[],
    caused: 0,
    /** What alice has signed. */
    voucher: 900n,
    /** The newest block that counts is so old, seconds. */
    lagS: 0,
    isAway: false,
    refuse: (_what: string): string | undefined => undefined,
    logged: [] as Record<string, unknown>[],
    directory: mkdtempSync(join(folder, 'w-')),
    metrics: createMetrics(),
  }
  const facts = (): PayplaceFacts => {
    const { block, merchants } = at
    return {
      number: 9,
      operator: () => ({ account: operatorAccount, active: true, timing }),
      block: () => block,
      merchants: () => merchants,
      merchant: (id) => merchants.find((one) => one.id === id),
      merchantOf: () => undefined,
      channel: () => ({
        ...{ deposit: 1_000n, reserved: 0n, highestVoucher: 0n, withdrawn: 0n },
        ...{ shift: undefined, pendingShift: 0n },
      }),
      shifts: () => [],
    }
  }
  const chain: NotaryChain = {
    get lags() {
      return at.lagS > 0
    },
    async read(): Promise<Reading> {
      if (at.isAway) throw new ChainError('chain-unreachable', 'no answer')
      const time = Math.floor(at.nowMs / 1_000) - at.lagS
      return { facts: facts(), number: 9, hash: Buffer.alloc(32, 1), time }
    },
    async causeBlock() {
      at.caused += 1
    },
    async send({ data, what, deadlineMs }) {
      const reason = at.refuse(what)
      if (reason !== undefined) throw new ChainError('transaction-failed', reason)
      if (at.nowMs >= deadlineMs) throw new ChainError('transaction-timeout', 'late')
      at.sent.push(what)
      if (what === 'forceExit') {
        const [leaf] = datanetInterface.decodeFunctionData('forceExit', data)
        at.merchants = at.merchants.filter(({ id }) => id !== Number(leaf[1]))
      }
      if (what !== 'notarize') return
      const [, root, tau, missing] = datanetInterface.decodeFunctionData('notarize', data)
      const period = Math.floor((at.nowMs / 1_000 - timing.g0) / timing.beta)
      const k = at.block.k + 1
      at.block = { k, root: Buffer.from(String(root).slice(2), 'hex'), lastPeriod: period, tau }
      const gone = new Set([...missing].map(Number))
      at.merchants = at.merchants.map((one) =>
        gone.has(one.id) ? { ...one, missingSince: k } : one,
      )
    },
    settled: async () => undefined,
    close: () => undefined,
  }
  return { at, chain }
}

export type World = ReturnType<typeof world>

/** A process of the operator in this world. */
export function processIn({ at, chain }: World): {
  notary: Notary
  pass(ms: number): Promise<void>
} {
  const files = openBlockFiles(at.directory, () => 7)
  const vouchers = {
    load: async () => undefined,
    best: (consumer: Address) => ({
      consumer,
      amount: at.voucher,
      signature: Buffer.alloc(65, 27),
    }),
    outdate: () => undefined,
  }
  const now = (): number => at.nowMs
  const journal = createJournal({
    storage: {
      creditsSince: async (number, limit) =>
        at.rows.filter((row) => row.number > number).slice(0, limit),
    },
    ...{ vouchers, now, terms: () => ({ operatorAccount, commissionPpm: 0 }) },
  })
  const bls = {
    sign: async () => Buffer.alloc(96, 1),
    verify: async () => true,
    async collect(_digest: Buffer, answers: readonly { id: number; signature: Uint8Array }[]) {
      const good = answers.filter(({ signature }) => signature[0] !== 0xee)
      const signers = good.map(({ id }) => id)
      const culprits = answers.map(({ id }) => id).filter((id) => !signers.includes(id))
      return { signers, culprits, signature: Buffer.alloc(256) }
    },
    close: async () => undefined,
  }
  const log = pino(
    { level: 'info' },
    { write: (line: string) => void at.logged.push(JSON.parse(line)) },
  )
  const blocks = createNotaryBlocks({
    ...{ files, journal, vouchers, bls, blsSecretKey: Buffer.alloc(32, 1) },
    domain: domain.separator,
  })
  const operator = domain.operator
  const notary = createNotary({
    ...{ chain, blocks, vouchers, bls, operator, files, journal, seed: () => 7, now, log },
    metrics: at.metrics,
  })
  /** Time goes on in steps, and the loop runs at each. */
  const pass = async (ms: number): Promise<void> => {
    for (const end = at.nowMs + ms; at.nowMs < end; ) {
      at.nowMs += 100
      notary.start()
      for (let n = 0; n < 30; n++) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { notary, pass }
}

export const credit = ({ at }: World, amount: bigint, to = lobby): void => {
  const number = at.rows.length + 1
  at.rows.push({ number, atMs: at.nowMs, merchant: to, account: alice, session: '', amount })
}

/** What a merchant sends for what it is offered now. */
export function answer(notary: Notary, id: number, first = 0x80): unknown {
  const offered = notary.proposal(id, undefined)
  if (offered === undefined) return undefined
  const { operator, k, period, root } = offered.proposal.header
  const signature = Buffer.alloc(96, id)
  signature[0] = first
  return notary.answer(encodeAnswer({ operator, k, period, root, id, signature }))
}

export const said = ({ at }: World, text: string) =>
  at.logged.filter(({ msg }) => msg === `notary: ${text}`)

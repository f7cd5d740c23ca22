// The merchants' routes: who may ask what, and what is answered; the notary behind them is a
// double.

import { request } from 'node:http'
import { gunzipSync } from 'node:zlib'
import fastify, { type InjectOptions } from 'fastify'
import t from 'tap'
import type { MerchantCredit } from '../../accounting/storage.ts'
import { NO_ROOT } from '../../chain/payplace/block.ts'
import { decodeProposal, encodeAnswer, readerOf } from '../../chain/payplace/codec.ts'
import { NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import { indexBlock } from '../../chain/payplace/known.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import {
  merchantAnswerDigest,
  merchantApprovalDigest,
  merchantQueryDigest,
} from '../../ethereum/merchant-messages.ts'
import { recoverAddress, signDigest } from '../../ethereum/signature.ts'
import type { StoredBlock } from '../../server/block-files.ts'
import { HttpError } from '../../server/http-error.ts'
import { approvalEnds, merchantRoutes } from '../../server/http-merchant.ts'
import type { Notary } from '../../server/notary.ts'
import type { AnswerVerdict } from '../../server/notary-answers.ts'
import { accountNamed, domain, keyNamed } from '../accounting/vouchers.ts'
import { notaryDouble } from './notary-double.ts'

const NOW = 1_800_000_000
const timing = { g0: NOW - 600, beta: 60, gamma: 15, delta: 3, challenge: 130, eta: 30 }
const lobby = accountNamed('lobby')
const consumer = accountNamed('consumer')
const record: MerchantRecord = {
  ...{ id: 2, account: lobby, blsKey: Buffer.alloc(128), status: 'active', joinedAt: 1 },
  ...{ missingSince: undefined, settled: { k: 0, shards: [] }, locks: [] },
  ...{ withdrawn: NO_ENTRIES, capped: NO_ENTRIES },
}
const merchants = [
  { id: 1, entries: NO_ENTRIES },
  { id: 2, entries: packEntries([{ consumer, amount: 5n }]) },
]
const index = indexBlock(domain.operator, merchants, 1)
const header = {
  ...{ operator: domain.operator, k: 7, period: 10, prevRoot: NO_ROOT, root: index.root, tau: NOW },
}
const source = { consumer, amount: 9n, signature: Buffer.alloc(65, 3) }
let closed = 0
const block: StoredBlock = {
  ...{ header, snapshot: { number: 4, hash: Buffer.alloc(32) }, journal: 0, journalAtMs: 0 },
  sources: Buffer.alloc(0),
  ...{ waiting: new Map(), changed: [2], ...index },
  entriesOf: (id) => merchants.find((merchant) => merchant.id === id)?.entries,
  *merchants() {
    yield* merchants
  },
  close() {
    closed += 1
  },
}

async function served(parts: Partial<Notary> = {}, now = () => NOW * 1_000) {
  const app = fastify()
  app.setErrorHandler((error: { statusCode?: number; message: string }, _, reply) => {
    const code = error instanceof HttpError ? error.code : `framework: ${error.message}`
    return reply.code(error.statusCode ?? 500).send({ error: { code } })
  })
  const pages: (number | undefined)[] = []
  const credits: MerchantCredit[] = [
    {
      ...{ number: 9, atMs: NOW * 1_000, merchant: lobby, account: consumer },
      ...{ session: 'ab'.repeat(16), amount: 1_000n },
    },
  ]
  app.register(async (routes) =>
    merchantRoutes(routes, {
      notary: notaryDouble({
        timing: () => timing,
        merchant: (id) => (id === 2 ? record : undefined),
        ...parts,
      }),
      storage: {
        async creditsOf(merchant, before) {
          t.equal(merchant, lobby)
          pages.push(before)
          return { credits, next: before === undefined ? 9 : undefined }
        },
      },
      ...{ domain: domain.separator, operator: domain.operator, commissionPpm: () => 25_000 },
      isMerchant: (account) => account === lobby,
      sign: (digest) => signDigest(digest, keyNamed('operator')),
      now,
    }),
  )
  const post = async (
    name: string,
    payload: object | Buffer,
    headers: InjectOptions['headers'] = {},
  ) => app.inject({ method: 'POST', url: `/v1/merchant/${name}`, payload, headers })
  return { post, pages, app }
}

const query = (o: { id?: number; time?: number; by?: string; signedId?: number } = {}) => {
  const { id = 2, time = NOW } = o
  const value = { operator: domain.operator, merchant: o.signedId ?? id, time }
  const digest = merchantQueryDigest(domain.separator, value)
  const signature = signDigest(digest, keyNamed(o.by ?? 'lobby'))
  return { id, time, signature: `0x${signature.toString('hex')}` }
}

const codeOf = (answer: { body: string }): string => JSON.parse(answer.body).error.code

/** What is asked, the status, the code. */
const REFUSED: readonly [name: string, body: object, status: number, code: string][] = [
  ['another account signed', query({ by: 'bar' }), 401, 'bad-signature'],
  ['signed for another id', query({ signedId: 3 }), 401, 'bad-signature'],
  ['a minute and a second old', query({ time: NOW - 61 }), 401, 'wrong-time'],
  ['of the future', query({ time: NOW + 61 }), 401, 'wrong-time'],
  ['nobody', query({ id: 9 }), 404, 'unknown-merchant'],
  ['no signature', { id: 2, time: NOW }, 400, 'malformed-request'],
  ['a short signature', { ...query(), signature: '0x12' }, 400, 'malformed-request'],
  ['one key more', { ...query(), more: 1 }, 400, 'malformed-request'],
  ['no number', { ...query(), id: '2' }, 400, 'malformed-request'],
]

t.test('every question is answered to its merchant alone', async (t) => {
  const { post } = await served({ proposal: () => ({ block, proposal: whole() }) })
  for (const path of ['proposal', 'block', 'receipts']) {
    for (const [name, body, status, code] of REFUSED) {
      const answer = await post(path, path === 'block' ? { ...body, k: 7 } : body)
      t.equal(answer.statusCode, status, `${path}: ${name}`)
      t.equal(codeOf(answer), code, `${path}: ${name}`)
    }
  }
  t.equal((await post('proposal', query({ time: NOW - 60 }))).statusCode, 200, 'just in time')
  const early = await served({ timing: () => undefined })
  t.equal(codeOf(await early.post('proposal', query())), 'not-ready')
})

const whole = () =>
  ({ header, snapshot: block.snapshot, form: 'whole', sources: [source], merchants }) as const

t.test('the proposal, compressed, or nothing', async (t) => {
  const asked: [number, number | undefined][] = []
  const { post } = await served({
    proposal(id, have) {
      asked.push([id, have])
      return have === 6 ? { block, proposal: whole() } : undefined
    },
  })
  const none = await post('proposal', query())
  t.match([none.statusCode, none.body], [204, ''])
  const answer = await post('proposal', { ...query(), have: 6 })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['content-type'], 'application/octet-stream')
  t.equal(answer.headers['content-encoding'], 'gzip')
  const read = decodeProposal(readerOf(gunzipSync(answer.rawPayload)))
  if (typeof read === 'string') throw new Error(read)
  t.same([...read.merchants], merchants)
  t.same(read.sources, [source])
  t.same(asked, [
    [2, undefined],
    [2, 6],
  ])
})

t.test('past blocks: whole, or unknown; one a second', async (t) => {
  let nowMs = NOW * 1_000
  const past: Notary['past'] = async (k, id) =>
    k === 7 && id === 2 ? { proposal: whole(), block } : undefined
  const { post } = await served({ past }, () => nowMs)
  const answer = await post('block', { ...query(), k: 7 })
  const read = decodeProposal(readerOf(gunzipSync(answer.rawPayload)))
  t.match(read, { form: 'whole', header: { k: 7 }, sources: [source] })
  nowMs += 999
  t.equal((await post('block', { ...query(), k: 7 })).statusCode, 429)
  nowMs += 1
  t.equal(codeOf(await post('block', { ...query(), k: 8 })), 'unknown-block')
  t.equal(closed, 1, 'and its file is closed')
})

t.test('whoever hangs up leaves no block open, and may ask again', async (t) => {
  let nowMs = NOW * 1_000
  const [asked, given] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let opened = 0
  const past: Notary['past'] = async () => {
    opened += 1
    asked.resolve()
    await given.promise
    return { proposal: whole(), block }
  }
  const { app, post } = await served({ past }, () => nowMs)
  t.teardown(() => app.close())
  const gone = new Promise<void>((resolve) => {
    app.server.once('connection', (socket) => socket.once('close', resolve))
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  closed = 0
  const headers = { 'content-type': 'application/json' }
  const hangingUp = request(`${url}/v1/merchant/block`, { method: 'POST', headers })
  hangingUp.on('error', () => undefined).end(JSON.stringify({ ...query(), k: 7 }))
  await asked.promise
  t.equal((await post('block', { ...query(), k: 7 })).statusCode, 429, 'one at a time')
  hangingUp.destroy()
  await gone
  given.resolve()
  nowMs += 1_000
  t.equal((await post('block', { ...query(), k: 7 })).statusCode, 200)
  t.same([opened, closed], [2, 2])
})

const octets = { 'content-type': 'application/octet-stream' }
const given = {
  ...{ operator: domain.operator, k: 7, period: 10, root: index.root, id: 2 },
  signature: Buffer.alloc(96, 7),
}

/** An answer as it is sent, by this account. */
function sentBy(name: string, answer = given): Buffer {
  const digest = merchantAnswerDigest(domain.separator, answer)
  return Buffer.concat([encodeAnswer(answer), signDigest(digest, keyNamed(name))])
}

t.test('nobody answers for another merchant', async (t) => {
  const seen: Buffer[] = []
  const { post } = await served({
    answer(bytes) {
      seen.push(bytes)
      return 'taken'
    },
  })
  const good = sentBy('lobby')
  const elsewhere = { ...given, signature: Buffer.alloc(96, 8) }
  const refused: [string, Buffer, number, string][] = [
    ['another account signed', sentBy('bar'), 401, 'bad-signature'],
    [
      'her signature of another answer',
      Buffer.concat([encodeAnswer(elsewhere), good.subarray(-65)]),
      401,
      'bad-signature',
    ],
    [
      'no account signed',
      Buffer.concat([encodeAnswer(given), Buffer.alloc(65)]),
      401,
      'bad-signature',
    ],
    ['without an account', encodeAnswer(given), 400, 'malformed-request'],
    ['one byte more', Buffer.concat([good, Buffer.alloc(1)]), 400, 'malformed-request'],
    ['zeros', Buffer.alloc(221), 400, 'malformed-request'],
    ['nobody', sentBy('lobby', { ...given, id: 9 }), 404, 'unknown-merchant'],
  ]
  for (const [name, bytes, status, code] of refused) {
    const answer = await post('answer', bytes, octets)
    t.same([answer.statusCode, codeOf(answer)], [status, code], name)
  }
  t.same(seen, [], 'the notary sees nothing of it')
  for (const again of [1, 2]) {
    t.equal((await post('answer', good, octets)).statusCode, 202, `her own, ${again}`)
  }
  t.same(seen, [encodeAnswer(given), encodeAnswer(given)])
})

t.test('answers', async (t) => {
  const verdicts: [AnswerVerdict | undefined, number, string | undefined][] = [
    ['taken', 202, undefined],
    ['known', 202, undefined],
    [undefined, 409, 'period-over'],
    ['bad-signature', 422, 'bad-signature'],
    ['unknown-merchant', 404, 'unknown-merchant'],
  ]
  for (const [verdict, status, code] of verdicts) {
    const { post } = await served({ answer: () => verdict })
    const answer = await post('answer', sentBy('lobby'), octets)
    t.equal(answer.statusCode, status)
    if (code !== undefined) t.equal(codeOf(answer), code)
  }
  const { post } = await served()
  t.equal((await post('answer', { a: 1 })).statusCode, 415)
  t.equal((await post('answer', Buffer.alloc(3_000), octets)).statusCode, 413)
})

t.test('D3: consent to a registration ends with the next open window', async (t) => {
  const { post } = await served()
  const { time, signature } = query({ id: 0 })
  const body = { account: checksumAddress(lobby), pkHash: `0x${'cd'.repeat(32)}`, time, signature }
  const answer = await post('approval', body)
  t.equal(answer.statusCode, 200)
  const approval = answer.json()
  t.equal(approval.validUntil, NOW + 57)
  const digest = merchantApprovalDigest(domain.separator, {
    ...{ operator: domain.operator, account: lobby, pkHash: Buffer.alloc(32, 0xcd) },
    validUntil: approval.validUntil,
  })
  const signer = recoverAddress(digest, Buffer.from(approval.signature.slice(2), 'hex'))
  t.equal(signer, accountNamed('operator'))
  const bar = query({ id: 0, by: 'bar' })
  const refused: [object, number, string][] = [
    [{ ...body, account: accountNamed('bar'), signature: bar.signature }, 403, 'not-a-merchant'],
    [{ ...body, account: accountNamed('bar') }, 401, 'bad-signature'],
    [{ ...body, signature: query().signature }, 401, 'bad-signature'],
    [{ ...body, pkHash: '0x12' }, 400, 'malformed-request'],
    [{ ...body, account: 'lobby' }, 400, 'malformed-request'],
  ]
  for (const [asked, status, code] of refused) {
    const refusal = await post('approval', asked)
    t.equal(refusal.statusCode, status, code)
    t.equal(codeOf(refusal), code)
  }
})

t.test('the end of the window that an approval is for', async (t) => {
  const g = timing.g0
  for (const [at, ends] of [
    [0, 57],
    [16, 57],
    [56, 57],
    [57, 117],
    [59, 117],
    [60, 117],
  ]) {
    t.equal(approvalEnds(timing, g + (at ?? 0)), g + (ends ?? 0), `${at} s after g`)
  }
})

t.test('receipts: gross and net, page by page', async (t) => {
  const { post, pages } = await served()
  const first = (await post('receipts', query())).json()
  t.same(first, {
    receipts: [
      {
        ...{ at: NOW, account: checksumAddress(consumer), session: 'ab'.repeat(16) },
        ...{ gross: '1000', net: '975' },
      },
    ],
    next: 9,
  })
  t.equal((await post('receipts', { ...query(), before: first.next })).json().next, null)
  t.same(pages, [undefined, 9])
})

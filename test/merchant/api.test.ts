// The operator's HTTP side as a merchant uses it: what is sent and signed, every answer there may
// be, and answers that are not what was agreed.

import { createServer } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { ANSWER_BYTES, decodeAnswer } from '../../chain/payplace/codec.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { merchantAnswerDigest, merchantQueryDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, recoverAddress } from '../../ethereum/signature.ts'
import { openApi } from '../../merchant/api.ts'
import { openNode } from '../../merchant/node.ts'
import { DOMAIN, OPERATOR } from '../chain/payplace/support.ts'
import { listening } from '../device/operator-double.ts'

const KEY = Buffer.alloc(32, 9)
const ACCOUNT = accountOf(KEY)
const TIME = 1_234

interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly bytes?: Buffer
}

let reply: Reply = { status: 200 }
let asked: { path: string; body: Buffer }[] = []
const server = createServer(async (request, response) => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  asked.push({ path: request.url ?? '', body: Buffer.concat(parts) })
  if (reply.bytes !== undefined) {
    response.writeHead(reply.status, { 'content-encoding': 'gzip' }).end(gzipSync(reply.bytes))
  } else if (reply.status === 204) response.writeHead(204).end()
  else {
    response.writeHead(reply.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(reply.body ?? {}))
  }
})
const url = await listening(t, server)
const access = { url, operatorId: OPERATOR, domain: DOMAIN, account: ACCOUNT, accountKey: KEY }
const api = openApi({ ...access, now: () => TIME + 0.9 })

/** The last request's JSON, its signature checked. */
function query(merchant: number): Record<string, unknown> {
  const body = JSON.parse(asked.at(-1)?.body.toString() ?? '{}')
  const digest = merchantQueryDigest(DOMAIN, { operator: OPERATOR, merchant, time: body.time })
  const signature = Buffer.from(String(body.signature).slice(2), 'hex')
  t.equal(recoverAddress(digest, signature), ACCOUNT, 'signed by the account')
  t.equal(body.time, TIME)
  return body
}

t.beforeEach(() => {
  asked = []
})

t.test('approval', async (t) => {
  const signature = `0x${'ab'.repeat(65)}`
  reply = { status: 200, body: { validUntil: 99, signature } }
  const approval = await api.approval(Buffer.alloc(32, 1))
  t.match(approval, { validUntil: 99, signature: Buffer.alloc(65, 0xab) })
  t.match(query(0), { account: checksumAddress(ACCOUNT), pkHash: `0x${'01'.repeat(32)}` })
  reply = { status: 403, body: { error: { code: 'not-a-merchant' } } }
  t.equal(await api.approval(Buffer.alloc(32)), 'not-a-merchant')
  for (const body of [{}, { validUntil: 1.5, signature }, { validUntil: 9, signature: '0x' }]) {
    reply = { status: 200, body }
    await t.rejects(api.approval(Buffer.alloc(32)), { code: 'refused' })
  }
  reply = { status: 503 }
  await t.rejects(api.approval(Buffer.alloc(32)), { code: 'unavailable' })
})

t.test('proposals and blocks of the past', async (t) => {
  reply = { status: 200, bytes: Buffer.from('a block') }
  t.equal(String(await api.proposal(2, 3)), 'a block')
  t.match(query(2), { id: 2, have: 3 })
  await api.proposal(2, undefined)
  t.notOk('have' in query(2))
  t.equal(String(await api.block(2, 7)), 'a block')
  t.match(query(2), { k: 7 })
  for (const status of [204, 404]) {
    reply = { status }
    t.equal(await api.proposal(2, undefined), undefined)
  }
  for (const [status, code] of [
    [401, 'refused'],
    [429, 'unavailable'],
    [503, 'unavailable'],
    [302, 'refused'],
  ] as const) {
    reply = { status, body: { error: { code: 'x', message: 'a\u001bb' } } }
    const error = await api.proposal(2, undefined).catch((thrown) => thrown)
    t.match(error, { code })
    t.notOk(error.message.includes('\u001b'), 'nothing of theirs reaches a terminal')
  }
})

t.test(
  'a block of the past is asked for again where the operator says: one at a time',
  async (t) => {
    reply = { status: 429 }
    const waiting = api.block(2, 7)
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.equal(asked.length, 1)
    reply = { status: 200, bytes: Buffer.from('a block') }
    t.equal(String(await waiting), 'a block')
  },
)

t.test('answers', async (t) => {
  const answer = { operator: OPERATOR, k: 4, period: 3, root: Buffer.alloc(32, 5), id: 2 }
  const signed = { ...answer, signature: Buffer.alloc(96, 6) }
  for (const [status, outcome] of [
    [202, 'taken'],
    [409, 'period-over'],
    [422, 'refused'],
  ] as const) {
    reply = { status, body: { error: { message: 'why' } } }
    t.match(await api.answer(signed), { outcome })
  }
  const sent = asked[0]?.body ?? Buffer.alloc(0)
  t.match(decodeAnswer(sent.subarray(0, ANSWER_BYTES)), signed)
  const digest = merchantAnswerDigest(DOMAIN, signed)
  t.equal(recoverAddress(digest, sent.subarray(ANSWER_BYTES)), ACCOUNT, 'signed by the account')
  reply = { status: 500 }
  await t.rejects(api.answer(signed), { code: 'refused' })
})

t.test('receipts', async (t) => {
  const account = checksumAddress(ACCOUNT)
  const row = { at: 5, account, session: null, gross: '10', net: '9' }
  reply = { status: 200, body: { receipts: [row], next: 17 } }
  t.same(await api.receipts(2, 40), { rows: [{ at: 5, account: ACCOUNT, net: 9n }], next: 17 })
  t.match(query(2), { before: 40 })
  reply = { status: 200, body: { receipts: [], next: null } }
  t.same(await api.receipts(2), { rows: [], next: undefined })
  for (const wrong of [
    { ...row, net: '-1' },
    { ...row, account: '0x' },
    { ...row, at: 'x' },
  ]) {
    reply = { status: 200, body: { receipts: [wrong], next: null } }
    await t.rejects(api.receipts(2), { code: 'refused' })
  }
})

t.test('nobody there', async (t) => {
  const gone = openApi({ ...access, url: 'http://127.0.0.1:1', now: () => TIME })
  await t.rejects(gone.proposal(2, undefined), { code: 'unavailable' })
  await t.rejects(openNode('http://127.0.0.1:1').rpc.request('eth_chainId', []), {
    code: 'chain-unreachable',
  })
})

t.test('the node behind a URL: results, errors and patience', async (t) => {
  const { rpc } = openNode(url)
  reply = { status: 200, body: { jsonrpc: '2.0', id: 1, result: '0x5' } }
  t.equal(await rpc.request('eth_chainId', []), '0x5')
  reply = { status: 200, body: { jsonrpc: '2.0', id: 1, error: { code: 3, message: 'no' } } }
  await t.rejects(rpc.request('eth_chainId', []), { code: 'rpc-error' })
  reply = { status: 429 }
  const waiting = rpc.request('eth_chainId', [])
  await new Promise((resolve) => setTimeout(resolve, 100))
  reply = { status: 200, body: { jsonrpc: '2.0', id: 1, result: '0x6' } }
  t.equal(await waiting, '0x6', 'asked again after 429')
})

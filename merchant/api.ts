// What a merchant asks its operator over HTTP: consent to join, the block that is offered, blocks
// of the past, its receipts; and the answer it gives. Signs the questions, believes no answer:
// bounds and forms are checked here, contents by whoever asked.

import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { reasonOf } from '../chain/error.ts'
import { encodeAnswer } from '../chain/payplace/codec.ts'
import type { BlockAnswer } from '../chain/payplace/proposal.ts'
import { DeviceError } from '../device/error.ts'
import { readBounded, refusalOf, requestJson } from '../device/http.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { merchantAnswerDigest, merchantQueryDigest } from '../ethereum/merchant-messages.ts'
import { signDigest } from '../ethereum/signature.ts'
import type { Domain } from '../ethereum/typed-data.ts'

/** The operator's consent to a registration. */
export interface Approval {
  /** Unix seconds. */
  readonly validUntil: number
  /** 65 bytes. */
  readonly signature: Buffer
}

/** One credit of the operator's journal for this merchant, base units. */
export interface ReceiptRow {
  /** Unix seconds. */
  readonly at: number
  readonly account: Address
  /** After the operator's commission. */
  readonly net: bigint
}

/**
 * taken: the operator has it. period-over: it came too late. refused: the operator says that it is
 * wrong; `reason` in its words.
 */
export type AnswerOutcome =
  | { readonly outcome: 'taken' | 'period-over' }
  | { readonly outcome: 'refused'; readonly reason: string }

/** One operator's side for one merchant account. Throws DeviceError unavailable or refused. */
export interface OperatorApi {
  /** 'not-a-merchant' where none of the operator's access points names this account. */
  approval(pkHash: Buffer): Promise<Approval | 'not-a-merchant'>
  /** The proposal's bytes; undefined where nothing is offered now. `have`: a block held whole. */
  proposal(id: number, have: number | undefined): Promise<Buffer | undefined>
  answer(answer: BlockAnswer): Promise<AnswerOutcome>
  /** A notarized block, whole; undefined where the operator has not kept it. */
  block(id: number, k: number): Promise<Buffer | undefined>
  /** Newest first; `next` continues with older ones. */
  receipts(id: number, before?: number): Promise<{ rows: ReceiptRow[]; next: number | undefined }>
}

/** 10,000 merchants with 400 consumers each are 128 MB. */
const BLOCK_BYTES_MAX = 256 * 1024 * 1024
/** A large block takes a while to make and to send. */
const BLOCK_TIMEOUT_MS = 60_000
const TOO_MANY_REQUESTS = 429
const BLOCK_PAUSE_MS = 1_500
const RECEIPTS_BYTES_MAX = 4 * 1024 * 1024

const approvalAnswer = z.object({
  validUntil: z.int().min(1),
  signature: z.string().regex(/^0x[0-9a-fA-F]{130}$/),
})

const receiptsAnswer = z.object({
  receipts: z.array(
    z.object({
      at: z.int().min(0),
      account: z.string(),
      net: z.string().regex(/^\d{1,39}$/),
    }),
  ),
  next: z.int().nullable(),
})

/** How to reach and address one operator. */
export interface ApiAccess {
  /** Base URL without a trailing slash. */
  readonly url: string
  readonly operatorId: number
  readonly domain: Domain
  readonly account: Address
  readonly accountKey: Uint8Array
  /** Wall clock, Unix seconds. */
  readonly now: () => number
}

export function openApi(access: ApiAccess): OperatorApi {
  const { url, operatorId, domain, account, accountKey } = access
  const path = (name: string): string => `${url}/v1/merchant/${name}`
  const query = (id: number) => {
    const time = Math.floor(access.now())
    const digest = merchantQueryDigest(domain, { operator: operatorId, merchant: id, time })
    return { id, time, signature: `0x${signDigest(digest, accountKey).toString('hex')}` }
  }
  return {
    async approval(pkHash) {
      // Who is no merchant yet asks as merchant 0.
      const { time, signature } = query(0)
      const shown = { account: checksumAddress(account), pkHash: `0x${pkHash.toString('hex')}` }
      const answer = await requestJson(path('approval'), { body: { ...shown, time, signature } })
      if (answer.status === 403) return 'not-a-merchant'
      if (answer.status !== 200) throw unexpected('approval', answer.status, refusalOf(answer))
      const parsed = approvalAnswer.safeParse(answer.body)
      if (!parsed.success) throw malformed('approval')
      const { validUntil } = parsed.data
      return { validUntil, signature: Buffer.from(parsed.data.signature.slice(2), 'hex') }
    },
    proposal: (id, have) =>
      exchangeJson(path('proposal'), {
        ...query(id),
        ...(have === undefined ? {} : { have }),
      }).then((answer) => bytesOf('proposal', answer)),
    async block(id, k) {
      const ask = () => exchangeJson(path('block'), { ...query(id), k })
      const first = await ask()
      if (first.status !== TOO_MANY_REQUESTS) return bytesOf('block', first)
      // One a second is sent to a merchant: another program of hers may have asked for the last.
      await sleep(BLOCK_PAUSE_MS)
      return bytesOf('block', await ask())
    },
    async answer(answer) {
      const signature = signDigest(merchantAnswerDigest(domain, answer), accountKey)
      const body = Buffer.concat([encodeAnswer(answer), signature])
      const { status, text } = await post(path('answer'), body)
      if (status === 202) return { outcome: 'taken' }
      if (status === 409) return { outcome: 'period-over' }
      if (status === 422 || status === 400) return { outcome: 'refused', reason: text }
      throw unexpected('answer', status, text)
    },
    async receipts(id, before) {
      const body = { ...query(id), ...(before === undefined ? {} : { before }) }
      const answer = await requestJson(path('receipts'), {
        body,
        bodyBytesMax: RECEIPTS_BYTES_MAX,
      })
      if (answer.status !== 200) throw unexpected('receipts', answer.status, refusalOf(answer))
      const parsed = receiptsAnswer.safeParse(answer.body)
      if (!parsed.success) throw malformed('receipts')
      const rows = parsed.data.receipts.map(({ at, account: text, net }): ReceiptRow => {
        const consumer = parseAddress(text)
        if (consumer === undefined) throw malformed('receipts')
        return { at, account: consumer, net: BigInt(net) }
      })
      return { rows, next: parsed.data.next ?? undefined }
    },
  }
}

const malformed = (what: string): DeviceError =>
  new DeviceError('refused', `the operator's answer to ${what} cannot be read`)

function unexpected(what: string, status: number, text: string): DeviceError {
  // 503: not ready, 429: come again; anything else is not what was agreed.
  const code = status === 503 || status === 429 ? 'unavailable' : 'refused'
  return new DeviceError(code, `the operator answers ${status} to ${what}: ${text}`)
}

interface Fetched {
  readonly status: number
  readonly bytes: Buffer
}

const exchangeJson = (url: string, body: object): Promise<Fetched> =>
  exchange(url, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

/** The bytes of a 200; undefined for 204 and 404. */
function bytesOf(what: string, { status, bytes }: Fetched): Buffer | undefined {
  if (status === 200) return bytes
  if (status === 204 || status === 404) return undefined
  throw unexpected(what, status, shortText(bytes))
}

async function post(url: string, body: Buffer): Promise<{ status: number; text: string }> {
  const headers = { 'content-type': 'application/octet-stream' }
  const { status, bytes } = await exchange(url, { headers, body: new Uint8Array(body) })
  return { status, text: shortText(bytes) }
}

async function exchange(
  url: string,
  request: Pick<RequestInit, 'headers' | 'body'>,
): Promise<Fetched> {
  const signal = AbortSignal.timeout(BLOCK_TIMEOUT_MS)
  try {
    const response = await fetch(url, { ...request, method: 'POST', signal, redirect: 'manual' })
    const { body } = response
    const bytes = body === null ? Buffer.alloc(0) : await readBounded(body, BLOCK_BYTES_MAX)
    if (bytes === undefined) {
      throw new DeviceError('refused', `${url} answers with more than ${BLOCK_BYTES_MAX} bytes`)
    }
    return { status: response.status, bytes }
  } catch (error) {
    if (error instanceof DeviceError) throw error
    const reason = signal.aborted ? 'no answer in time' : reasonOf(error)
    throw new DeviceError('unavailable', `${url}: ${reason}`, error)
  }
}

/** The other side's words: no control characters reach a log, and no essay either. */
const shortText = (bytes: Buffer): string =>
  bytes
    .subarray(0, 300)
    .toString('utf8')
    .replace(/\p{C}+/gu, ' ')

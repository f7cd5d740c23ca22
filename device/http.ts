// JSON over HTTP towards an operator, for answers nobody vouches for: bounded in time and bytes, no
// redirects, no credentials of its own. Called by device/ and by the cli's administrative verbs.

import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { reasonOf } from '../chain/error.ts'
import { DeviceError } from './error.ts'

// GET /v1/operator with two certificates and a table of tariffs is a few KB; 256 KB is forty
// times that.
const BODY_BYTES_MAX = 256 * 1024
const TIMEOUT_MS = 10_000

/** One exchange: the status and the parsed JSON body. */
export interface JsonAnswer {
  readonly status: number
  readonly body: unknown
  /** RFC 9110 §10.2.3, in seconds; absent where the answer does not say. */
  readonly retryAfterSeconds?: number
  /** RFC 9110 §6.6.1: the other side's clock, Unix ms at whole seconds. */
  readonly dateMs?: number
}

/** What to send; a `body` makes it a POST unless `method` says otherwise. */
export interface JsonRequest {
  readonly method?: 'GET' | 'POST'
  readonly body?: unknown
  readonly bearer?: string
  readonly timeoutMs?: number
  /** For answers that are meant to be long, as a node's logs. */
  readonly bodyBytesMax?: number
}

/**
 * Base URL of an operator without a trailing slash. Throws DeviceError 'usage' unless it is an
 * absolute
 * http(s) URL without credentials, query or fragment.
 */
export function parseOperatorUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new DeviceError('usage', `operator ${JSON.stringify(text)} is not an http:// URL`)
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new DeviceError('usage', 'the operator URL takes no user, password, query or fragment')
  }
  return url.href.replace(/\/+$/, '')
}

/**
 * Sends one request and reads one JSON answer. Throws DeviceError: 'unavailable' where nobody
 * answers in
 * time, 'refused' where the answer is a redirect, too long, or not JSON.
 */
export async function requestJson(url: string, request: JsonRequest = {}): Promise<JsonAnswer> {
  const signal = AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS)
  const bodyBytesMax = request.bodyBytesMax ?? BODY_BYTES_MAX
  let answer: RawAnswer
  try {
    answer = await exchange(url, request, signal)
  } catch (error) {
    const reason = signal.aborted ? 'no answer in time' : reasonOf(error)
    throw new DeviceError('unavailable', `${url}: ${reason}`, error)
  }
  const { status, headers, text } = answer
  // The person named this host; another one has to be named too.
  if (status >= 300 && status < 400) {
    throw new DeviceError('refused', `${url} answers with a redirect; name the final URL instead`)
  }
  if (text === undefined) {
    throw new DeviceError('refused', `${url} answers with more than ${bodyBytesMax} bytes`)
  }
  const body = parseJson(url, status, text)
  const retryAfter = headers['retry-after'] ?? ''
  const dateMs = Date.parse(headers.date ?? '')
  return {
    ...{ status, body },
    ...(/^\d{1,6}$/.test(retryAfter) ? { retryAfterSeconds: Number(retryAfter) } : {}),
    ...(Number.isNaN(dateMs) ? {} : { dateMs }),
  }
}

interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Undefined where it was too long. */
  readonly text: string | undefined
}

/** Not fetch: it costs a small device 11 MB more, and one that changes networks gains nothing. */
async function exchange(
  url: string,
  request: JsonRequest,
  signal: AbortSignal,
): Promise<RawAnswer> {
  const body = request.body === undefined ? undefined : JSON.stringify(request.body)
  const headers: Record<string, string> = { accept: 'application/json' }
  if (body !== undefined) {
    headers['content-type'] = 'application/json'
    headers['content-length'] = String(Buffer.byteLength(body))
  }
  if (request.bearer !== undefined) headers['authorization'] = `Bearer ${request.bearer}`
  const method = request.method ?? (body === undefined ? 'GET' : 'POST')
  const target = new URL(url)
  const open = target.protocol === 'https:' ? (await import('node:https')).request : httpRequest
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    // A connection of its own: one kept open across a change of network only times out.
    const sent = open(target, { method, headers, signal, agent: false }, resolve)
    sent.once('error', reject)
    sent.end(body)
  })
  const bytes = await readBounded(response, request.bodyBytesMax ?? BODY_BYTES_MAX)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: bytes?.toString('utf8'),
  }
}

function parseJson(url: string, status: number, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new DeviceError(
      'refused',
      `${url} answers ${status} with something else than JSON`,
      error,
    )
  }
}

/** The message of an `{error: {code, message}}` body, or the bare status, fit for one line. */
export function refusalOf(answer: JsonAnswer): string {
  const error = (answer.body as { error?: { message?: unknown } } | null)?.error
  if (typeof error?.message !== 'string') return `status ${answer.status}`
  // The text is the other side's: no control characters reach the terminal, and no essay either.
  return error.message.replace(/\p{C}+/gu, ' ').slice(0, 300)
}

/** The body, or undefined where it is longer than that; what is left of it is not read. */
export async function readBounded(
  response: AsyncIterable<Uint8Array>,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of response) {
    length += part.length
    if (length > bytesMax) return undefined // leaving the loop destroys the stream
    parts.push(part)
  }
  return Buffer.concat(parts)
}

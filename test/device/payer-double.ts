// An operator as a payer sees it: it keeps one voucher, signs receipts, tells of sessions. A test
// says how it answers; the account, its domain and its key are the same everywhere.

import { createServer } from 'node:http'
import type { PayingTo } from '../../device/operator-api.ts'
import { checksumAddress, parseAddress } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain, receiptDigest, voucherDigest } from '../../ethereum/typed-data.ts'
import { bytesOf, CONTRACT, listening } from './operator-double.ts'

export const accountKey = bytesOf('payer account')
export const operatorKey = bytesOf('payer operator')
export const domain = payPlaceDomain(31337, CONTRACT)
export const SESSION = 'a'.repeat(32)

const hex = (bytes: Buffer): string => `0x${bytes.toString('hex')}`

export function payingTo(url: string): PayingTo {
  const [account, operatorAccount] = [accountOf(accountKey), accountOf(operatorKey)]
  return { url, operatorId: 1, operatorAccount, account, accountKey, domain }
}

/** The device's signature under a cumulative amount. */
export const voucherOf = (amount: bigint, by = accountKey): string =>
  hex(
    signDigest(voucherDigest(domain, { consumer: accountOf(accountKey), operator: 1, amount }), by),
  )

export interface Sent {
  readonly path: string
  readonly body: {
    readonly amount?: string
    readonly session?: string
    readonly signature?: string
  }
}

/** How one request is answered; `hang up` closes the connection without an answer. */
export type Answer =
  | 'hang up'
  | { readonly status: number; readonly body: unknown; readonly headers?: Record<string, string> }

/** The answer to a payment that is taken, signed by `by`. */
export function receiptFor(
  { body: { amount = '0', session = '' } }: Sent,
  o: { readonly credited?: bigint; readonly by?: Buffer; readonly amount?: bigint } = {},
): Answer {
  const merchant = parseAddress(`0x${'33'.repeat(20)}`)
  if (merchant === undefined) throw new Error('merchant')
  const receipt = {
    ...{ consumer: accountOf(accountKey), operator: 1, session, merchant },
    ...{ amount: o.amount ?? BigInt(amount), credited: o.credited ?? 0n, time: 1_000 },
  }
  const signature = hex(signDigest(receiptDigest(domain, receipt), o.by ?? operatorKey))
  const shown = {
    ...receipt,
    ...{ consumer: checksumAddress(receipt.consumer), merchant: checksumAddress(merchant) },
    ...{ amount: receipt.amount.toString(), credited: receipt.credited.toString() },
  }
  return { status: 200, body: { receipt: shown, signature } }
}

/** Starts it; the test's teardown stops it. */
export async function startOperator(
  t: { teardown(f: () => Promise<void>): void },
  answer: (sent: Sent) => Answer,
): Promise<{ readonly url: string; readonly sent: Sent[] }> {
  const sent: Sent[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    const one = { path: request.url ?? '', body: text === '' ? {} : JSON.parse(text) }
    sent.push(one)
    const how = answer(one)
    if (how === 'hang up') return void response.destroy()
    response.writeHead(how.status, { 'content-type': 'application/json', ...how.headers })
    response.end(JSON.stringify(how.body))
  })
  return { url: await listening(t, server), sent }
}

/** One session as POST /v1/sessions/query spells it. */
export const sessionJson = (o: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...{ id: SESSION, state: 'current', tariff: 'standard', tariffVersion: 1, startedAt: 1_000 },
  terms: {
    ...{ perMinute: '60', perMegabyte: '1000', intervalSeconds: 60, intervalMegabytes: 10 },
    ...{ missedMax: 2, graceSeconds: 0 },
  },
  ...{ inputOctets: '0', outputOctets: '0', owed: '0', paid: '0', due: '0', dueAt: 1_060 },
  ...o,
})

// What is in escrow, read with two eth_calls and no chain library: a payer asks this at its start
// and when money runs low, and a library for it would be a third of its memory. Called by till.ts.

import type { Address } from '../ethereum/address.ts'
import { keccak256 } from '../ethereum/keccak.ts'
import { addressWord, uintWord } from '../ethereum/typed-data.ts'
import { DeviceError } from './error.ts'
import { requestJson } from './http.ts'

/** Where the contract is and whose channel is meant. */
export interface EscrowOf {
  readonly rpc: string
  readonly contract: Address
  readonly operatorId: number
  readonly account: Address
}

/** What is deposited, what of it is asked to move away, what was settled; token base units. */
export interface EscrowNow {
  readonly deposit: bigint
  readonly pendingShift: bigint
  readonly highestVoucher: bigint
}

const selectorOf = (text: string): Buffer => keccak256(Buffer.from(text)).subarray(0, 4)
/** Answers Channel(deposit, reserved, highestVoucher, withdrawn) of chain/contracts/Types.sol. */
const CHANNEL = { selector: selectorOf('channel(uint32,address)'), words: 4 }
/** Answers Shift(to, amount, requestedAt, period, bond, coolUntil). */
const SHIFT = { selector: selectorOf('shift(uint32,address)'), words: 6 }
const WORD_DIGITS = 64

/** Throws DeviceError 'unavailable' where the node does not tell. */
export async function readEscrow(o: EscrowOf, timeoutMs: number): Promise<EscrowNow> {
  const [channel, shift] = await Promise.all([
    readWords(o, CHANNEL, timeoutMs),
    readWords(o, SHIFT, timeoutMs),
  ])
  const [deposit = 0n, , highestVoucher = 0n] = channel
  const [, amount = 0n, requestedAt] = shift
  return { deposit, highestVoucher, pendingShift: requestedAt === 0n ? 0n : amount }
}

async function readWords(
  o: EscrowOf,
  { selector, words }: typeof CHANNEL,
  timeoutMs: number,
): Promise<bigint[]> {
  const data = Buffer.concat([selector, uintWord(o.operatorId), addressWord(o.account)])
  const call = { to: o.contract, data: `0x${data.toString('hex')}` }
  // A websocket node answers the same over HTTP on the same port, with every client in use.
  const url = o.rpc.replace(/^ws/, 'http')
  const body = { jsonrpc: '2.0', id: 1, method: 'eth_call', params: [call, 'latest'] }
  const answer = await requestJson(url, { body, timeoutMs })
  const result = (answer.body as { result?: unknown } | null)?.result
  const digits = typeof result === 'string' ? result.slice(2) : ''
  if (digits.length !== words * WORD_DIGITS || !/^[0-9a-f]+$/i.test(digits)) {
    throw new DeviceError('unavailable', `${url} does not tell of the escrow`)
  }
  return Array.from({ length: words }, (_, index) => {
    const at = index * WORD_DIGITS
    return BigInt(`0x${digits.slice(at, at + WORD_DIGITS)}`)
  })
}

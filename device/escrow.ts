// What is in escrow, read with one eth_call and no chain library: a payer asks this at its start
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

/** What a voucher may reach, and what was settled on chain; token base units. */
export interface EscrowNow {
  readonly deposit: bigint
  readonly highestVoucher: bigint
}

const SELECTOR = keccak256(Buffer.from('channel(uint32,address)')).subarray(0, 4)
const WORD_DIGITS = 64

/** Reads Channel(deposit, reserved, highestVoucher, withdrawn) of chain/contracts/Types.sol. */
export async function readEscrow(o: EscrowOf, timeoutMs: number): Promise<EscrowNow> {
  const data = Buffer.concat([SELECTOR, uintWord(o.operatorId), addressWord(o.account)])
  const call = { to: o.contract, data: `0x${data.toString('hex')}` }
  // A websocket node answers the same over HTTP on the same port, with every client in use.
  const url = o.rpc.replace(/^ws/, 'http')
  const body = { jsonrpc: '2.0', id: 1, method: 'eth_call', params: [call, 'latest'] }
  const answer = await requestJson(url, { body, timeoutMs })
  const result = (answer.body as { result?: unknown } | null)?.result
  if (typeof result !== 'string' || !/^0x([0-9a-f]{64}){4}$/i.test(result)) {
    throw new DeviceError('unavailable', `${url} does not tell of the escrow`)
  }
  const word = (index: number): bigint => {
    const at = 2 + index * WORD_DIGITS
    return BigInt(`0x${result.slice(at, at + WORD_DIGITS)}`)
  }
  return { deposit: word(0), highestVoucher: word(2) }
}

// What a device's program does on the chain about a shift of its deposit: read where it stands, ask
// for it with its bond, complete it, take it back. Signs with the account's key and sends through
// the request function it is given. Decides nothing (device/shift.ts does).

import type { Address } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import { datanetInterface, timingOf, tokenInterface } from './bindings.ts'
import { type ContractAccess, read, type Signer } from './calls.ts'
import { ChainError } from './error.ts'
import { numberOf, quantity } from './jsonrpc.ts'
import type { BlockTiming } from './payplace/timing.ts'
import { openSender, type Receipt, type RpcRequest, readContract } from './transactions.ts'

/** A channel's shift as the contract has it; amounts in base units, times in Unix seconds. */
export interface ShiftRead {
  readonly to: number
  readonly amount: bigint
  /** 0: none is pending. */
  readonly requestedAt: number
  /** It waits for a block of a later period. */
  readonly period: number
  /** 0n once a challenge took it. */
  readonly bond: bigint
  /** No new request before. */
  readonly coolUntil: number
}

/** Where an operator's blocks stand. */
export interface BlockClock {
  readonly timing: BlockTiming
  readonly lastPeriod: number
}

/** How a shift ended. */
export type ShiftEnd =
  | { readonly how: 'finalized'; readonly amount: bigint }
  | { readonly how: 'cancelled' }
  /** A challenge left nothing of it. */
  | { readonly how: 'cut' }

type Access = Pick<ContractAccess, 'rpc' | 'contract'>

// Limits with room above what was measured (docs/GAS.md): a node may estimate at the time of its
// newest block, when neither window nor challenge were over. What is not used is not paid.
const REQUEST_GAS = 250_000n
const FINALIZE_GAS = 300_000n
const CANCEL_GAS = 150_000n
/** What one eth_getLogs may cover, here and at public nodes. */
const LOG_BLOCKS_MAX = 2_000
/** A year of blocks of 12 s in as many questions; who comes later has to look for himself. */
const LOG_QUESTIONS_MAX = 1_400

/** The shift of `account` away from operator `from`. */
export async function readShift(
  { rpc, contract }: Access,
  from: number,
  account: Address,
): Promise<ShiftRead> {
  const [found] = await read(rpc, contract, datanetInterface, 'shift', [from, account])
  const number = (name: string): number => Number(found.getValue(name))
  return {
    ...{ to: number('to'), amount: BigInt(found.getValue('amount')), period: number('period') },
    ...{ requestedAt: number('requestedAt'), coolUntil: number('coolUntil') },
    bond: BigInt(found.getValue('bond')),
  }
}

/** What a request must put down, base units. */
export async function readShiftBond({ rpc, contract }: Access): Promise<bigint> {
  const [bond] = await read(rpc, contract, datanetInterface, 'shiftBond', [])
  return BigInt(bond)
}

/** Throws ChainError 'rpc-error' where the contract has no such operator. */
export async function readBlockClock(
  { rpc, contract }: Access,
  operatorId: number,
): Promise<BlockClock> {
  const [operator] = await read(rpc, contract, datanetInterface, 'operator', [operatorId])
  return {
    timing: timingOf(operator.getValue('timing')),
    lastPeriod: Number(operator.getValue('lastPeriod')),
  }
}

/** The number of the node's newest block. */
export async function readBlockNumber(rpc: RpcRequest): Promise<number> {
  return numberOf(await rpc.request('eth_blockNumber', []))
}

/**
 * Lets the contract take the bond, where it may not yet, and asks for the shift. Resolves when
 * mined; throws ChainError.
 */
export async function requestShift(
  { rpc, contract, token, chainId }: ContractAccess,
  { privateKey }: Signer,
  o: { readonly from: number; readonly to: number; readonly amount: bigint; readonly bond: bigint },
): Promise<Receipt> {
  const sender = openSender({ rpc, chainId, privateKey })
  if (o.bond > 0n) {
    const allowance = tokenInterface.encodeFunctionData('allowance', [sender.account, contract])
    const allowed = BigInt(await readContract(rpc, token, allowance))
    if (allowed < o.bond) {
      const data = tokenInterface.encodeFunctionData('approve', [contract, o.bond])
      await sender.send({ to: token, data, what: 'approve' })
    }
  }
  const data = datanetInterface.encodeFunctionData('requestShift', [o.from, o.to, o.amount])
  return sender.send({ to: contract, data, what: 'requestShift', gas: REQUEST_GAS })
}

/** Completes a shift that is due. Resolves when mined; throws ChainError. */
export function finalizeShift(
  { rpc, contract, chainId }: Omit<ContractAccess, 'token'>,
  { privateKey }: Signer,
  from: number,
): Promise<Receipt> {
  const args = [from, accountOf(privateKey)]
  const data = datanetInterface.encodeFunctionData('finalizeShift', args)
  const sender = openSender({ rpc, chainId, privateKey })
  return sender.send({ to: contract, data, what: 'finalizeShift', gas: FINALIZE_GAS })
}

/** Takes a pending shift back, and the bond. Resolves when mined; throws ChainError. */
export function cancelShift(
  { rpc, contract, chainId }: Omit<ContractAccess, 'token'>,
  { privateKey }: Signer,
  from: number,
): Promise<Receipt> {
  const data = datanetInterface.encodeFunctionData('cancelShift', [from])
  const sender = openSender({ rpc, chainId, privateKey })
  return sender.send({ to: contract, data, what: 'cancelShift', gas: CANCEL_GAS })
}

/**
 * How the last shift since a block ended; undefined where none did. Throws ChainError 'rpc-error'
 * where the block is too far back to know.
 */
export async function readShiftEnd(
  { rpc, contract }: Access,
  from: number,
  account: Address,
  fromBlock: number,
): Promise<ShiftEnd | undefined> {
  const newest = await readBlockNumber(rpc)
  if (newest - fromBlock > LOG_BLOCKS_MAX * LOG_QUESTIONS_MAX) {
    const problem = `what became of a shift asked for at block ${fromBlock} is too far back to be read`
    throw new ChainError('rpc-error', `${problem}: compare the escrows, then remove shifts.json`)
  }
  let end: ShiftEnd | undefined
  for (let first = fromBlock; first <= newest; first += LOG_BLOCKS_MAX) {
    const range = { from: first, to: Math.min(newest, first + LOG_BLOCKS_MAX - 1) }
    for (const log of await shiftLogs(rpc, contract, range)) {
      end = endOf(log, from, account) ?? end
    }
  }
  return end
}

const ENDS = ['ShiftFinalized', 'ShiftCancelled', 'ShiftChallenged'] as const

async function shiftLogs(
  rpc: RpcRequest,
  contract: Address,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<readonly { topics: string[]; data: string }[]> {
  const names = ENDS.map((name) => datanetInterface.getEvent(name)?.topicHash ?? '')
  const blocks = { fromBlock: quantity(from), toBlock: quantity(to) }
  const filter = { address: contract, ...blocks, topics: [names] }
  const logs = await rpc.request('eth_getLogs', [filter])
  if (!Array.isArray(logs)) throw new ChainError('rpc-error', 'eth_getLogs answered no list')
  return logs
}

function endOf(
  log: { topics: string[]; data: string },
  from: number,
  account: Address,
): ShiftEnd | undefined {
  const parsed = datanetInterface.parseLog(log)
  if (parsed === null) return undefined
  const value = (name: string): unknown => parsed.args.getValue(name)
  const isOurs = String(value('consumer')).toLowerCase() === account
  if (!isOurs || Number(value('from')) !== from) return undefined
  if (parsed.name === 'ShiftFinalized') {
    return { how: 'finalized', amount: BigInt(String(value('amount'))) }
  }
  if (parsed.name === 'ShiftCancelled') return { how: 'cancelled' }
  return BigInt(String(value('amountLeft'))) === 0n ? { how: 'cut' } : undefined
}

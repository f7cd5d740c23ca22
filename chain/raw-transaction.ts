// Which signed transactions of strangers the embedded chain takes: calls of our contracts'
// functions, no larger than those need. Every byte taken stays in each snapshot for ever, so
// whatever could carry something else is refused. Pure; called by proxy.ts.

import { type FunctionFragment, type Interface, type ParamType, Transaction } from 'ethers'
import { type Address, parseAddress } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import type { ActivityContracts } from './activity-calls.ts'
import {
  activitiesInterface,
  attestorsInterface,
  datanetInterface,
  devicesInterface,
  tokenInterface,
} from './bindings.ts'
import { TRANSACTION_GAS_MAX } from './transactions.ts'

/** Where transactions may go, and on which chain. */
export interface TransactionPolicy {
  readonly chainId: bigint
  readonly contracts: OurContracts
}

/** The contracts of ours; those of activities stand beside the escrow contract. */
export interface OurContracts {
  readonly contract: Address
  readonly token: Address
  readonly activity?: ActivityContracts
}

/** Who signed it and with which nonce; the node is asked for the account's own one first. */
export interface Signed {
  readonly account: Address
  readonly nonce: number
}

const RAW_BYTES_MAX = 64 * 1024
/** A deposit split between 60 operators; registering an operator takes 1.3 kB. */
const CALLDATA_BYTES_MAX = 4 * 1024
/** All of a transaction but its calldata: two addresses, a dozen numbers, lengths. */
const ENVELOPE_BYTES_MAX = 256
/**
 * What merchants are paid with: 400 consumers with a voucher each, in 160 bytes, and a proof. It is
 * the one thing of ours that can fill a transaction.
 */
const PAYOUT_BYTES_MAX = RAW_BYTES_MAX - ENVELOPE_BYTES_MAX
const PAYOUT_FUNCTIONS = ['withdraw', 'multicall', 'unlock']
/** 10,000 gwei; the embedded chain asks for 1 or 2, and no public one ever asked for this. */
const FEE_WEI_MAX = 10n ** 13n
const WORD_BYTES = 32
const SELECTOR_BYTES = 4

/** The words of a type whose encoding has one length; undefined for the others. */
function staticWords(type: ParamType): number | undefined {
  if (type.isTuple()) return sumOfWords(type.components)
  return type.isArray() || type.baseType === 'string' || type.baseType === 'bytes' ? undefined : 1
}

function sumOfWords(types: readonly ParamType[]): number | undefined {
  let sum = 0
  for (const type of types) {
    const words = staticWords(type)
    if (words === undefined) return undefined
    sum += words
  }
  return sum
}

/** The most calldata each function that changes something can use, by its selector. */
function calldataLimits(of: Interface): ReadonlyMap<string, number> {
  const limits = new Map<string, number>()
  of.forEachFunction((fragment: FunctionFragment) => {
    if (fragment.constant) return
    const words = sumOfWords(fragment.inputs)
    const dynamic = PAYOUT_FUNCTIONS.includes(fragment.name) ? PAYOUT_BYTES_MAX : CALLDATA_BYTES_MAX
    const bytes = words === undefined ? dynamic : SELECTOR_BYTES + words * WORD_BYTES
    limits.set(fragment.selector, bytes)
  })
  return limits
}

const CONTRACT_LIMITS = calldataLimits(datanetInterface)
const TOKEN_LIMITS = calldataLimits(tokenInterface)
const ACTIVITIES_LIMITS = calldataLimits(activitiesInterface)
const ATTESTORS_LIMITS = calldataLimits(attestorsInterface)
const DEVICES_LIMITS = calldataLimits(devicesInterface)

/** The functions of the contract at an address; undefined where it is none of ours. */
export function limitsAt(
  to: Address | undefined,
  { contract, token, activity }: OurContracts,
): ReadonlyMap<string, number> | undefined {
  switch (to) {
    case undefined:
      return undefined
    case contract:
      return CONTRACT_LIMITS
    case token:
      return TOKEN_LIMITS
    case activity?.activities:
      return ACTIVITIES_LIMITS
    case activity?.attestors:
      return ATTESTORS_LIMITS
    case activity?.devices:
      return DEVICES_LIMITS
    default:
      return undefined
  }
}

/** Who signed a transaction that may be forwarded, or the reason why it may not. */
export function readRawTransaction(raw: unknown, policy: TransactionPolicy): Signed | string {
  if (typeof raw !== 'string' || !/^0x([0-9a-fA-F]{2})+$/.test(raw)) {
    return 'parameters: a signed transaction'
  }
  const bytes = raw.length / 2 - 1
  if (bytes > RAW_BYTES_MAX) return `at most ${RAW_BYTES_MAX} bytes`
  const transaction = parse(raw)
  if (transaction === undefined) return 'not a signed transaction'
  return refusalOf(transaction, policy) ?? signerOf(transaction) ?? 'the transaction is not signed'
}

function parse(raw: string): Transaction | undefined {
  try {
    return Transaction.from(raw)
  } catch {
    return undefined
  }
}

function refusalOf(transaction: Transaction, policy: TransactionPolicy): string | undefined {
  const { type, chainId, gasLimit, accessList, gasPrice, maxFeePerGas } = transaction
  // Blobs (3) and code delegations (4) have no use here, so they get no chance to have one.
  if (type === null || type > 2) return 'transaction type 0, 1 or 2'
  if (chainId !== policy.chainId) return `transactions of chain ${policy.chainId}`
  const limits = limitsAt(parseAddress(transaction.to ?? ''), policy.contracts)
  if (limits === undefined) return 'transactions to our contracts only'
  if (gasLimit > TRANSACTION_GAS_MAX) return `gas above ${TRANSACTION_GAS_MAX}`
  if ((maxFeePerGas ?? gasPrice ?? 0n) > FEE_WEI_MAX) return `a gas price above ${FEE_WEI_MAX} wei`
  if (accessList !== null && accessList.length > 0) return 'no access list'
  const { data } = transaction
  const bytesMax = limits.get(data.slice(0, 2 + 2 * SELECTOR_BYTES))
  if (bytesMax === undefined) return 'the calldata is of no function of that contract'
  if (data.length / 2 - 1 > bytesMax) return `calldata of that function above ${bytesMax} bytes`
  return undefined
}

/** By the native curve where it loads: ethers' own recovery takes the event loop milliseconds. */
function signerOf(transaction: Transaction): Signed | undefined {
  const { signature, nonce } = transaction
  if (signature === null) return undefined
  const digest = Buffer.from(transaction.unsignedHash.slice(2), 'hex')
  const account = recoverAddress(digest, Buffer.from(signature.serialized.slice(2), 'hex'))
  return account === undefined ? undefined : { account, nonce }
}

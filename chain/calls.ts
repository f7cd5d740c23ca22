// What a device's program does on the chain: deposit, look at its escrow, take a TLS key back.
// Signs with the account's key and sends through the request function it is given (the operator's
// /v1/chain, or a node of the device's own). Moves no tokens but into the contract's escrow.

import { type Result, Signature, TypedDataEncoder, Wallet } from 'ethers'
import type { Address } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import {
  datanetInterface,
  decodeOperator,
  type OperatorEntryRead,
  tokenInterface,
} from './bindings.ts'
import { ChainError } from './error.ts'
import type { ChannelAmounts } from './mirror-state.ts'
import { openSender, type Receipt, type RpcRequest, readContract } from './transactions.ts'

/** The contract and the way to it. */
export interface ContractAccess {
  readonly rpc: RpcRequest
  readonly chainId: bigint
  readonly contract: Address
  readonly token: Address
}

/** Who signs, and how long to wait for a block (default 180 s). */
export interface Signer {
  readonly privateKey: Uint8Array
  readonly receiptTimeoutMs?: number
}

/** A part of a deposit; amounts in token base units. */
export interface DepositPart {
  readonly operatorId: number
  readonly amount: bigint
}

/** Long enough for a congested chain, short enough that a forgotten permit is worthless soon. */
const PERMIT_SECONDS = 3_600
const PERMIT_TYPES = {
  Permit: [
    { name: 'owner', type: 'address' },
    { name: 'spender', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
  ],
}

/**
 * Deposits from the account's own tokens: one transaction where the token knows ERC-2612 permits,
 * else an approval first. Resolves when mined. Throws ChainError insufficient-funds, transaction-
 * failed, …
 */
export async function deposit(
  access: ContractAccess,
  signer: Signer,
  parts: readonly DepositPart[],
  nowSeconds: number,
): Promise<Receipt> {
  const account = accountOf(signer.privateKey)
  const sum = parts.reduce((total, part) => total + part.amount, 0n)
  const balance = await tokenBalance(access, account)
  if (balance < sum) {
    const text = `account ${account} has ${balance} base units of the token and needs ${sum}`
    throw new ChainError('insufficient-funds', text)
  }
  const sender = openSender({ ...access, ...signer })
  // The contract wants operators strictly increasing.
  const split = parts
    .map((part) => [part.operatorId, part.amount] as const)
    .sort((a, b) => a[0] - b[0])
  const permit = await signPermit(
    access,
    signer,
    sum,
    BigInt(Math.floor(nowSeconds) + PERMIT_SECONDS),
  )
  if (permit !== undefined) {
    const { deadline, signature } = permit
    const args = [split, deadline, signature.v, signature.r, signature.s]
    const data = datanetInterface.encodeFunctionData('depositWithPermit', args)
    return sender.send({ to: access.contract, data, what: 'depositWithPermit' })
  }
  const approval = tokenInterface.encodeFunctionData('approve', [access.contract, sum])
  await sender.send({ to: access.token, data: approval, what: 'approve' })
  const data = datanetInterface.encodeFunctionData('deposit', [split])
  return sender.send({ to: access.contract, data, what: 'deposit' })
}

/**
 * An ERC-2612 permit for the contract; undefined where the token has none or signs in an unknown
 * way.
 */
async function signPermit(
  access: ContractAccess,
  signer: Signer,
  value: bigint,
  deadline: bigint,
): Promise<{ deadline: bigint; signature: Signature } | undefined> {
  const wallet = new Wallet(`0x${Buffer.from(signer.privateKey).toString('hex')}`)
  const ask = (name: string, args: readonly unknown[] = []): Promise<readonly unknown[]> =>
    read(access.rpc, access.token, tokenInterface, name, args)
  try {
    const [[separator], described, [nonce]] = await Promise.all([
      ask('DOMAIN_SEPARATOR'),
      ask('eip712Domain'),
      ask('nonces', [wallet.address]),
    ])
    const [name, version] = [String(described[1]), String(described[2])]
    const domain = { name, version, chainId: access.chainId, verifyingContract: access.token }
    if (TypedDataEncoder.hashDomain(domain) !== separator) return undefined
    const values = { owner: wallet.address, spender: access.contract, value, nonce, deadline }
    const signature = Signature.from(await wallet.signTypedData(domain, PERMIT_TYPES, values))
    return { deadline, signature }
  } catch (error) {
    // A token without these functions reverts, or answers nothing to decode.
    if (error instanceof ChainError && error.code !== 'rpc-error') throw error
    return undefined
  }
}

/** Enables or, for good, disables one of the account's TLS keys. `spkiSha256`: 64 hex digits. */
export function setDeviceKey(
  access: Omit<ContractAccess, 'token'>,
  signer: Signer,
  spkiSha256: string,
  enabled: boolean,
): Promise<Receipt> {
  const data = datanetInterface.encodeFunctionData('setDeviceKey', [`0x${spkiSha256}`, enabled])
  return openSender({ ...access, ...signer }).send({
    to: access.contract,
    data,
    what: 'setDeviceKey',
  })
}

/** The account's escrow with one operator; all zero where nothing was ever deposited. */
export async function readChannel(
  access: Pick<ContractAccess, 'rpc' | 'contract'>,
  operatorId: number,
  account: Address,
): Promise<ChannelAmounts> {
  const args = [operatorId, account]
  const [found] = await read(access.rpc, access.contract, datanetInterface, 'channel', args)
  const amounts = found as readonly unknown[]
  const amount = (index: number): bigint => BigInt(String(amounts[index]))
  return {
    deposit: amount(0),
    reserved: amount(1),
    highestVoucher: amount(2),
    withdrawn: amount(3),
  }
}

/** The operator's entry; throws ChainError 'rpc-error' where the id is unknown. */
export async function readOperator(
  access: Pick<ContractAccess, 'rpc' | 'contract'>,
  operatorId: number,
): Promise<OperatorEntryRead> {
  const data = datanetInterface.encodeFunctionData('operator', [operatorId])
  return decodeOperator(await readContract(access.rpc, access.contract, data))
}

/**
 * Whether a server with this key (64 hex digits of its SPKI's SHA-256) may speak for the operator
 * now.
 */
export async function isServerKey(
  access: Pick<ContractAccess, 'rpc' | 'contract'>,
  operatorId: number,
  spkiSha256: string,
): Promise<boolean> {
  const args = [operatorId, `0x${spkiSha256}`]
  const [is] = await read(access.rpc, access.contract, datanetInterface, 'isServerKey', args)
  return is === true
}

/** What the contract says of one of the account's TLS keys. */
export async function readDeviceKey(
  access: Pick<ContractAccess, 'rpc' | 'contract'>,
  account: Address,
  spkiSha256: string,
): Promise<'unset' | 'enabled' | 'disabled'> {
  const args = [account, `0x${spkiSha256}`]
  const [found] = await read(access.rpc, access.contract, datanetInterface, 'deviceKey', args)
  return (['unset', 'enabled', 'disabled'] as const)[Number(found)] ?? 'disabled'
}

/** The account's own tokens, in base units. */
export async function tokenBalance(
  access: Pick<ContractAccess, 'rpc' | 'token'>,
  account: Address,
): Promise<bigint> {
  const [balance] = await read(access.rpc, access.token, tokenInterface, 'balanceOf', [account])
  return BigInt(String(balance))
}

/** A view function's answer, decoded. Throws ChainError. */
export async function read(
  rpc: RpcRequest,
  to: Address,
  of: typeof datanetInterface,
  name: string,
  args: readonly unknown[],
): Promise<Result> {
  const answer = await readContract(rpc, to, of.encodeFunctionData(name, args))
  if (answer === '0x') throw new ChainError('rpc-error', `${to} has no function ${name}`)
  return of.decodeFunctionResult(name, answer)
}

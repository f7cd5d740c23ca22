// Joins an operator: a little of the chain's coin for gas where the operator has a faucet, its
// signed approval, a proof that the BLS key is ours, one transaction. Called by the agent in the
// open window; everything can be tried again.

import { blsPublicKey, provePossession } from '../chain/bls.ts'
import { bigintOf } from '../chain/jsonrpc.ts'
import { type BlockTiming, periodAt, startOf } from '../chain/payplace/timing.ts'
import type { Receipt, RpcRequest, Sender } from '../chain/transactions.ts'
import { DeviceError } from '../device/error.ts'
import { requestJson } from '../device/http.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { keccak256 } from '../ethereum/keccak.ts'
import { merchantApprovalDigest } from '../ethereum/merchant-messages.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import type { Domain } from '../ethereum/typed-data.ts'
import type { OperatorApi } from './api.ts'
import { registerCall } from './contract.ts'

/** What joining takes. */
export interface RegistrationDeps {
  readonly api: Pick<OperatorApi, 'approval'>
  readonly rpc: RpcRequest
  readonly sender: Sender
  readonly domain: Domain
  readonly contract: Address
  readonly chainId: bigint
  readonly operatorId: number
  readonly operatorUrl: string
  /** The account that must have signed the approval. */
  readonly operatorAccount: Address
  /** Of that operator. */
  readonly timing: BlockTiming
  /** 32 bytes, BLS. */
  readonly secret: Buffer
  /** Wall clock, Unix seconds. */
  readonly now: () => number
}

/** A registration and some withdrawals at a generous 20 gwei. */
const GAS_WEI_LOW = 2n * 10n ** 16n

/**
 * Joins; 'not-a-merchant' where the operator's access points do not name this account. Throws
 * DeviceError or ChainError where it has to be tried again.
 */
export async function register(deps: RegistrationDeps): Promise<Receipt | 'not-a-merchant'> {
  const { api, sender, secret, contract, chainId, operatorId, domain, timing } = deps
  const { account } = sender
  await ensureGas(deps, account)
  const blsKey = blsPublicKey(secret)
  const pkHash = keccak256(blsKey)
  const approval = await api.approval(pkHash)
  if (approval === 'not-a-merchant') return approval
  const { validUntil, signature } = approval
  const value = { operator: operatorId, account, pkHash, validUntil }
  // The contract would refuse it as well, for the price of a transaction.
  if (recoverAddress(merchantApprovalDigest(domain, value), signature) !== deps.operatorAccount) {
    throw new DeviceError('refused', "the approval is not signed by the operator's account")
  }
  const now = deps.now()
  if (validUntil <= now) {
    throw new DeviceError('unavailable', 'the approval came after its own end; trying again')
  }
  const ends = startOf(timing, periodAt(timing, now)) + timing.beta - timing.delta
  if (validUntil > ends) {
    throw new DeviceError('refused', 'the approval is for longer than the open window (D3)')
  }
  const proof = provePossession(secret, { account, contract, chainId, operatorId })
  const call = { operatorId, blsKey, proof, validUntil, approval: signature }
  return sender.send(registerCall(contract, call))
}

/** Asks the faucet of an embedded chain; elsewhere says what is missing. */
export async function ensureGas(
  { rpc, operatorUrl }: Pick<RegistrationDeps, 'rpc' | 'operatorUrl'>,
  account: Address,
): Promise<void> {
  const wei = bigintOf(await rpc.request('eth_getBalance', [account, 'latest']))
  if (wei >= GAS_WEI_LOW) return
  // One base unit of the token: the faucet brings gas with it.
  const body = { account: checksumAddress(account), amount: '1' }
  const answer = await requestJson(`${operatorUrl}/v1/faucet`, { body }).catch(() => undefined)
  if (answer?.status === 200 || wei > 0n) return
  const text = `${checksumAddress(account)} has nothing to pay the chain's gas with`
  throw new DeviceError('unavailable', `${text}: send it some`)
}

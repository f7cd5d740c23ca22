// A merchant's calls of the contract, encoded and with gas limits of their own. Encodes only; sent
// by registration.ts, watch.ts and withdraw.ts through one Sender.

import { datanetInterface } from '../chain/bindings.ts'
import type { Leaf } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import {
  challengeData,
  hex,
  type LeafPayment,
  leafGas,
  unlockData,
  withdrawData,
} from '../chain/payplace-calls.ts'
import { type Call, limitedGas } from '../chain/transactions.ts'
import type { Address } from '../ethereum/address.ts'

// Limits with room above what was measured: a node may estimate at the time of its newest block,
// when the window that these functions wait for was not open yet. What is not used is not paid.
const REGISTER_GAS = 600_000n
const EXIT_GAS = 400_000n
const CLAIM_GAS = 150_000n

/** What joining takes besides the operator's approval. */
export interface Registration {
  readonly operatorId: number
  /** 128 bytes. */
  readonly blsKey: Buffer
  /** 256 bytes. */
  readonly proof: Buffer
  /** Unix seconds. */
  readonly validUntil: number
  /** 65 bytes by the operator. */
  readonly approval: Buffer
}

export function registerCall(contract: Address, registration: Registration): Call {
  const { operatorId, blsKey, proof, validUntil, approval } = registration
  const args = [operatorId, hex(blsKey), hex(proof), validUntil, hex(approval)]
  const data = datanetInterface.encodeFunctionData('register', args)
  return { to: contract, data, what: 'the registration', gas: REGISTER_GAS }
}

/** Of no fixed gas: what somebody else has challenged is found out by an estimate, for nothing. */
export function challengeCall(contract: Address, operatorId: number, voucher: Source): Call {
  const data = challengeData(operatorId, voucher)
  return { to: contract, data, what: 'the challenge of a shift' }
}

/** One step of being paid or leaving; several go into one transaction. */
export type PayoutStep =
  | { readonly step: 'unlock'; readonly leaf: Leaf }
  | (LeafPayment & { readonly step: 'withdraw' })
  | { readonly step: 'exit'; readonly id: number; readonly blsKey: Buffer }

/** What the steps are carried out with. */
export interface PayoutAccess {
  readonly contract: Address
  readonly operatorId: number
  readonly to: Address
}

/** One transaction with these steps in their order; all or none take place. */
export function payoutCall(access: PayoutAccess, steps: readonly PayoutStep[]): Call {
  const calls = steps.map((step) => encodeStep(access, step))
  const gas = limitedGas(steps.reduce((sum, step) => sum + gasOf(step), 0n))
  const what = steps.map(({ step }) => step).join(', ')
  const [only] = calls
  const data =
    calls.length === 1 && only !== undefined
      ? only
      : datanetInterface.encodeFunctionData('multicall', [calls])
  return { to: access.contract, data, what, gas }
}

function encodeStep({ operatorId, to }: PayoutAccess, step: PayoutStep): string {
  switch (step.step) {
    case 'unlock':
      return unlockData(operatorId, step.leaf)
    case 'withdraw':
      return withdrawData(operatorId, step, to)
    case 'exit':
      return datanetInterface.encodeFunctionData('exit', [operatorId, step.id, hex(step.blsKey)])
  }
}

const gasOf = (step: PayoutStep): bigint => (step.step === 'exit' ? EXIT_GAS : leafGas(step.leaf))

/** Takes what a forced payment left for the account. */
export function claimCall(contract: Address, to: Address): Call {
  const data = datanetInterface.encodeFunctionData('claim', [to])
  return { to: contract, data, what: 'claim', gas: CLAIM_GAS }
}

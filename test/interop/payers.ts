// Accounts with escrow, for tests that need more of them than the device's commands would make in
// time: keys without a keystore, gas and tokens from the running server's faucet, deposits and
// operators through its /v1/chain, as any stranger could. Called by refusals.test.ts and
// resumption.test.ts.

import { type ContractAccess, deposit } from '../../chain/calls.ts'
import { ensureOperator } from '../../chain/operator.ts'
import { openChain } from '../../device/chain.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import type { RunningServer } from './server.ts'

/** What `GET /v1/operator` says, and what can be done there. */
export interface Payers {
  readonly operatorId: number
  readonly serverName: string
  readonly caPem: string
  /** The contract through the server's own proxy. */
  readonly access: ContractAccess
  /** Brings this many base units of the token into the account's escrow with an operator. */
  fund(accountKey: Buffer, operatorId: number, amount: bigint): Promise<void>
  /** Gas, and base units of the token that stay with the account. */
  faucet(accountKey: Buffer, amount: bigint): Promise<void>
  /** Registers one more operator on the same contract; its id. */
  anotherOperator(operatorKey: Buffer): Promise<number>
}

export function addressOf(text: unknown): Address {
  const parsed = parseAddress(String(text))
  if (parsed === undefined) throw new Error(`${text} is no address`)
  return parsed
}

interface OperatorAnswer {
  readonly operatorId: number
  readonly chainId: number
  readonly contract: string
  readonly token: { readonly address: string }
  readonly serverName: string
  readonly certificates: readonly string[]
}

export async function openPayers({ url }: RunningServer): Promise<Payers> {
  const operator = (await (await fetch(`${url}/v1/operator`)).json()) as OperatorAnswer
  const access: ContractAccess = {
    rpc: openChain(`${url}/v1/chain`).rpc,
    chainId: BigInt(operator.chainId),
    contract: addressOf(operator.contract),
    token: addressOf(operator.token.address),
  }

  async function faucet(accountKey: Buffer, amount: bigint): Promise<void> {
    const body = JSON.stringify({ account: accountOf(accountKey), amount: `${amount}` })
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${url}/v1/faucet`, { method: 'POST', headers, body })
    if (!answer.ok) throw new Error(`faucet: ${answer.status} ${await answer.text()}`)
  }

  return {
    operatorId: operator.operatorId,
    serverName: operator.serverName,
    caPem: operator.certificates[1] ?? '',
    ...{ access, faucet },
    async fund(accountKey, operatorId, amount) {
      await faucet(accountKey, amount)
      const nowSeconds = Math.floor(Date.now() / 1000)
      await deposit(access, { privateKey: accountKey }, [{ operatorId, amount }], nowSeconds)
    },
    async anotherOperator(operatorKey) {
      // One base unit, for the gas that comes with it.
      await faucet(operatorKey, 1n)
      const ensured = await ensureOperator({
        place: { kind: 'external', url: `${url}/v1/chain` },
        contract: access.contract,
        operatorKey,
        metadataUri: 'http://127.0.0.1:1',
        serverSpkiSha256: '11'.repeat(32),
      })
      return ensured.operatorId
    },
  }
}

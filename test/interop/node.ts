// A chain node of the test's own, with the contracts on it, for a server that is told
// `rpc: ws://…`: the test can stop it, hang it, and take blocks back.

import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureContracts } from '../../chain/deploy.ts'
import { type EmbeddedChain, startEmbeddedChain } from '../../chain/embedded.ts'
import { openFaucet } from '../../chain/faucet.ts'
import { openRpc } from '../../chain/rpc.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'

export interface TestNode {
  readonly chain: EmbeddedChain
  readonly contract: Address
  readonly token: Address
  /** The `chain:` section of a server that uses this node. */
  readonly config: string
  /** Test tokens and gas for an account, as text in whole tokens. */
  give(account: string, tokens: number): Promise<void>
  /** An operator key with gas in the data directory of one more server. */
  prepare(directory: string): Promise<void>
  rpc(method: string, ...params: unknown[]): Promise<unknown>
}

/**
 * Starts the node, deploys, and prepares an operator key with gas in the server's data directory.
 */
export async function startNode(
  t: { teardown(f: () => Promise<void>): void },
  directory: string,
): Promise<TestNode> {
  const chain = await startEmbeddedChain({
    directory: join(directory, 'node'),
    log: () => {},
    now: Date.now,
  })
  t.teardown(() => chain.stop())
  const deployer = randomBytes(32)
  const place = { kind: 'embedded', chain } as const
  const contracts = await ensureContracts({
    place,
    operatorKey: deployer,
    directory: join(directory, 'node'),
  })
  const faucet = openFaucet({ chain, ...contracts, operatorKey: deployer })
  const node = openRpc(chain.url)
  t.teardown(async () => {
    faucet.close()
    node.close()
  })
  async function prepare(at: string): Promise<void> {
    const operatorKey = randomBytes(32)
    mkdirSync(join(at, 'data'), { recursive: true, mode: 0o700 })
    const text = operatorKey.toString('hex')
    writeFileSync(join(at, 'data', 'operator-key'), text, { mode: 0o600 })
    await chain.setBalance(accountOf(operatorKey), 10n ** 20n)
  }
  await prepare(directory)
  return {
    ...{ chain, prepare },
    contract: contracts.contract,
    token: contracts.token,
    config: `rpc: "${chain.url.replace('http', 'ws')}", contract: "${contracts.contract}", stale_after: 6s`,
    async give(account, tokens) {
      const address = parseAddress(account)
      if (address === undefined) throw new Error(account)
      await faucet.fund(address, BigInt(tokens) * 10n ** 18n)
    },
    rpc: (method, ...params) => node.request(method, params),
  }
}

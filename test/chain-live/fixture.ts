// What the tests of a running chain share: a directory, an embedded chain with the contract and an
// operator, accounts with tokens, and waiting for something to become true. Everything it starts it
// also stops.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type ContractAccess, deposit } from '../../chain/calls.ts'
import { type Contracts, ensureContracts } from '../../chain/deploy.ts'
import { type EmbeddedChain, startEmbeddedChain } from '../../chain/embedded.ts'
import { type Faucet, openFaucet } from '../../chain/faucet.ts'
import { ensureOperator } from '../../chain/operator.ts'
import { openRpc } from '../../chain/rpc.ts'
import type { ChainLog } from '../../chain/snapshot.ts'
import type { Address } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'

export const OPERATOR_KEY = Buffer.alloc(32, 0x51)
export const SPKI = 'ab'.repeat(32)

/** An account of the tests by a small number. */
export function testKey(number: number): { key: Buffer; account: Address } {
  const key = Buffer.alloc(32, number)
  return { key, account: accountOf(key) }
}

/** A directory that is gone after the test. */
export function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-chain-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Log lines as [event name, text], and the function that collects them. */
export function collectLog(): { lines: [string, string][]; log: ChainLog } {
  const lines: [string, string][] = []
  const log: ChainLog = (event, text) => {
    lines.push([String((event as { event?: unknown }).event), text])
  }
  return { lines, log }
}

/** An embedded chain that is stopped after the test. */
export async function startChain(
  t: Test,
  directory = temporaryDirectory(t),
  log: ChainLog = () => undefined,
): Promise<EmbeddedChain> {
  const chain = await startEmbeddedChain({ directory, log, now: () => performance.now() })
  t.teardown(() => chain.stop())
  return chain
}

export interface Market {
  readonly chain: EmbeddedChain
  readonly contracts: Contracts
  readonly operatorId: number
  readonly access: ContractAccess
  readonly faucet: Faucet
  /** Mints to the account and deposits with the operator; the block number of the deposit. */
  deposit(key: Buffer, amount: bigint): Promise<number>
}

/** The contract, one operator and a faucet on `chain`. */
export async function openMarket(
  t: Test,
  chain: EmbeddedChain,
  directory: string,
): Promise<Market> {
  const place = { kind: 'embedded', chain } as const
  const contracts = await ensureContracts({ place, operatorKey: OPERATOR_KEY, directory })
  const { contract, token, chainId } = contracts
  const { operatorId } = await ensureOperator({
    place,
    contract,
    operatorKey: OPERATOR_KEY,
    metadataUri: 'http://operator.example',
    serverSpkiSha256: SPKI,
  })
  const rpc = openRpc(chain.url)
  const faucet = openFaucet({ chain, token, contract, operatorKey: OPERATOR_KEY })
  t.teardown(() => {
    rpc.close()
    faucet.close()
  })
  const access = { rpc, chainId, contract, token }
  return {
    chain,
    contracts,
    operatorId,
    access,
    faucet,
    async deposit(key, amount) {
      await faucet.fund(accountOf(key), amount)
      const parts = [{ operatorId, amount }]
      const receipt = await deposit(access, { privateKey: key }, parts, Date.now() / 1_000)
      return receipt.blockNumber
    },
  }
}

/** Resolves with the ms it took until `check` held; throws after `limitMs`. */
export async function until(
  check: () => boolean | Promise<boolean>,
  limitMs: number,
): Promise<number> {
  const began = performance.now()
  while (!(await check())) {
    if (performance.now() - began > limitMs) throw new Error(`not within ${limitMs} ms: ${check}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return performance.now() - began
}

/** Whether a process exists and is no zombie. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
    const { readFile } = await import('node:fs/promises')
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

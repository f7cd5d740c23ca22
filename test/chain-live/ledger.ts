// A throw-away chain for one test file: anvil on a free loopback port with both contracts deployed,
// and funded accounts. Not the product's embedded chain: it has no snapshots and no supervisor.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Contract, ContractFactory, Interface, JsonRpcProvider, Wallet } from 'ethers'
import { anvilBinary } from '../../chain/anvil.ts'
import datanetArtifact from '../../chain/contracts/artifacts/Datanet.json' with { type: 'json' }
import tokenArtifact from '../../chain/contracts/artifacts/TestToken.json' with { type: 'json' }
import { type Address, parseAddress } from '../../ethereum/address.ts'

const START_TIMEOUT_MS = 30_000
/** What a request for a shift puts down, in base units. */
export const SHIFT_BOND = 10n ** 18n
const errors = [datanetArtifact, tokenArtifact].map(({ abi }) => new Interface(abi))

/** A running chain; `stop` ends it. */
export interface Ledger {
  readonly provider: JsonRpcProvider
  readonly chainId: bigint
  readonly token: Contract
  readonly datanet: Contract
  readonly contract: Address
  /** An account with gas, made from a key of 32 bytes filled with `seed`. */
  account(seed: number): Promise<Account>
  stop(): Promise<void>
}

export interface Account {
  readonly key: Buffer
  readonly address: Address
  readonly wallet: Wallet
}

/** Starts anvil with the rules of one hardfork and deploys token and contract from account 1. */
export async function openLedger(hardfork = 'osaka'): Promise<Ledger> {
  const child = spawn(
    anvilBinary(),
    ['--host', '127.0.0.1', '--port', '0', '--hardfork', hardfork, '--accounts', '1'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const port = await listeningPort(child)
  const provider = new JsonRpcProvider(`http://127.0.0.1:${port}`, 31_337n, {
    staticNetwork: true,
    cacheTimeout: -1,
  })
  provider.pollingInterval = 20
  const account = async (seed: number): Promise<Account> => {
    const key = Buffer.alloc(32, seed)
    const wallet = new Wallet(`0x${key.toString('hex')}`, provider)
    await provider.send('anvil_setBalance', [wallet.address, '0x3635c9adc5dea00000'])
    return { key, address: known(wallet.address), wallet }
  }
  const stop = async (): Promise<void> => {
    provider.destroy()
    const gone = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await gone
  }
  const { wallet: sender } = await account(1)
  const token = await deploy(tokenArtifact, sender, [])
  const registrar = '0x0000000000000000000000000000000000000000'
  const datanet = await deploy(datanetArtifact, sender, [
    await token.getAddress(),
    registrar,
    SHIFT_BOND,
  ])
  const contract = known(await datanet.getAddress())
  return { provider, chainId: 31_337n, token, datanet, contract, account, stop }
}

/** What a transaction used, or the name of the error by which a contract refused it. */
export async function outcome(
  sending: Promise<{ wait(): Promise<{ gasUsed: bigint } | null> }>,
): Promise<bigint | string> {
  try {
    return (await (await sending).wait())?.gasUsed ?? 'no receipt'
  } catch (error) {
    return reasonOf(error)
  }
}

/** The name of the custom error in what ethers threw, else its message. */
export function reasonOf(error: unknown): string {
  const { data, message } = error as { data?: string | null; message: string }
  const parsed = errors.map((known) => known.parseError(data ?? '0x')).find((found) => found)
  return parsed?.name ?? message
}

async function deploy(
  artifact: { abi: unknown[]; bytecode: string },
  sender: Wallet,
  args: unknown[],
): Promise<Contract> {
  const abi = JSON.stringify(artifact.abi)
  const deployed = await new ContractFactory(abi, artifact.bytecode, sender).deploy(...args)
  await deployed.waitForDeployment()
  return new Contract(await deployed.getAddress(), abi, sender)
}

function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('anvil did not start')), START_TIMEOUT_MS)
    child.once('exit', (code) => reject(new Error(`anvil ended with ${code}`)))
    if (!child.stdout) throw new Error('anvil has no stdout')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const port = /^Listening on 127\.0\.0\.1:(\d+)$/.exec(line)?.[1]
      if (port === undefined) return
      clearTimeout(timer)
      resolve(Number(port))
    })
  })
}

function known(text: string): Address {
  const address = parseAddress(text)
  if (!address) throw new Error(`${text} is not an address`)
  return address
}

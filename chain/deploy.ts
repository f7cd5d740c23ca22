// Start-up's dealings with the contract: it exists (deployed by us on the embedded chain, checked
// on any other) and is the one our signatures are for. Sends transactions of the operator's
// account; called once per start. It never sends anything to a contract it has not checked.

import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { AbiCoder } from 'ethers'
import { type Address, parseAddress } from '../ethereum/address.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { type ActivityContracts, findActivityContracts } from './activity-calls.ts'
import {
  addressOf,
  datanetBytecode,
  datanetInterface,
  testTokenBytecode,
  tokenInterface,
} from './bindings.ts'
import type { EmbeddedChain } from './embedded.ts'
import { ChainError, reasonOf } from './error.ts'
import { bigintOf, numberOf, quantity, type Rpc } from './jsonrpc.ts'
import { openRpc } from './rpc.ts'
import { DEPLOYMENT_RECORD, syncDirectory } from './snapshot.ts'
import { openSender, readContract, type Sender } from './transactions.ts'

/** The contract this server works with. */
export interface Contracts {
  readonly chainId: bigint
  readonly contract: Address
  readonly token: Address
  /** Made with the contract: published activities and their verifiers. */
  readonly activity: ActivityContracts
  readonly tokenSymbol: string
  readonly tokenDecimals: number
  /** No event of the contract is older. */
  readonly deployBlock: number
  /** The contract in use before, when changed bytecode made us deploy a new one. */
  readonly replaced?: Address
}

/** Where the contract is: on our own chain (deployed when needed) or at an address on another. */
export type ContractPlace =
  | {
      readonly kind: 'embedded'
      readonly chain: Pick<EmbeddedChain, 'url' | 'setBalance' | 'saved'>
    }
  | { readonly kind: 'external'; readonly url: string; readonly contract: 'auto' | Address }

interface Deployment {
  readonly chainId: string
  readonly contract: Address
  readonly token: Address
  readonly deployBlock: number
  readonly contractHash: string
  readonly tokenHash: string
}

/** Gas for the operator on the embedded chain: refilled to the second when below the first. */
const OPERATOR_WEI_MIN = 10n ** 18n
const OPERATOR_WEI = 1_000n * 10n ** 18n
/** Two blocks deploy everything; twice that many without a record are two interrupted attempts. */
const UNRECORDED_BLOCKS_MAX = 4
/** One test token: what a refused shift costs a consumer of the embedded chain. */
const SHIFT_BOND = 10n ** 18n
const NO_REGISTRAR = `0x${'0'.repeat(40)}`

/**
 * Finds or makes the contract. `directory` holds deployment.json (data/chain/). Throws ChainError:
 * contract-not-set, contract-missing, contract-mismatch, deployment-unreadable, dev-key-on-public-
 * chain, chain-unreachable, …
 */
export async function ensureContracts(o: {
  readonly place: ContractPlace
  readonly operatorKey: Uint8Array
  readonly directory: string
}): Promise<Contracts> {
  const rpc = openRpc(o.place.kind === 'embedded' ? o.place.chain.url : o.place.url)
  try {
    const chainId = bigintOf(await rpc.request('eth_chainId', []))
    const sender = openSender({ rpc, chainId, privateKey: o.operatorKey })
    if (o.place.kind === 'external') {
      return await checkExternal(rpc, chainId, o.place.contract, o.directory)
    }
    const wei = bigintOf(await rpc.request('eth_getBalance', [sender.account, 'latest']))
    if (wei < OPERATOR_WEI_MIN) await o.place.chain.setBalance(sender.account, OPERATOR_WEI)
    return await ensureDeployed(rpc, chainId, sender, o.directory, o.place.chain)
  } finally {
    rpc.close()
  }
}

async function ensureDeployed(
  rpc: Rpc,
  chainId: bigint,
  sender: Sender,
  directory: string,
  chain: Pick<EmbeddedChain, 'saved'>,
): Promise<Contracts> {
  const contractHash = sha256(datanetBytecode)
  const tokenHash = sha256(testTokenBytecode)
  const before = await readRecord(directory)
  if (before === undefined) await refuseForgotten(rpc, sender.account, directory)
  // Code may be missing under a recorded address: the chain could not save it before a kill -9.
  const tokenStays =
    before?.tokenHash === tokenHash &&
    (await hasCode(rpc, before.token)) &&
    (await isMinter(rpc, before.token, sender.account))
  const contractThere = before !== undefined && (await hasCode(rpc, before.contract))
  if (tokenStays && contractThere && before.contractHash === contractHash) {
    return { ...(await describe(rpc, chainId, before.contract)), deployBlock: before.deployBlock }
  }
  const token = tokenStays
    ? before.token
    : (await create(sender, testTokenBytecode, 'deploying the test token')).contract
  const words = AbiCoder.defaultAbiCoder().encode(
    ['address', 'address', 'uint96'],
    [token, NO_REGISTRAR, SHIFT_BOND],
  )
  const code = datanetBytecode + words.slice(2)
  const made = await create(sender, code, 'deploying the contract')
  await chain.saved()
  // Asked before it is recorded: a restart of the node may have lost what was deployed.
  const described = await describe(rpc, chainId, made.contract)
  await writeRecord(directory, { chainId: `${chainId}`, ...made, token, contractHash, tokenHash })
  return { ...described, ...made, ...(before === undefined ? {} : { replaced: before.contract }) }
}

/**
 * Without a record, a chain that others have used still holds their deposits: deploying anew would
 * orphan them. Blocks of our own account alone are a first start that was interrupted between
 * deploying and recording, when nobody had deposited yet.
 */
async function refuseForgotten(rpc: Rpc, account: Address, directory: string): Promise<void> {
  const [head, sent] = (
    await rpc.batch([
      { method: 'eth_blockNumber', params: [] },
      { method: 'eth_getTransactionCount', params: [account, 'latest'] },
    ])
  ).map(numberOf) as [number, number]
  if (head <= UNRECORDED_BLOCKS_MAX && head <= sent) return
  const text = `the chain in ${directory} has ${head} blocks, but ${join(directory, DEPLOYMENT_RECORD)}, \
which says where its contract is, does not exist; put that file back, or move ${directory} away to \
begin an empty chain without the deposits of this one`
  throw new ChainError('deployment-unreadable', text)
}

async function create(
  sender: Sender,
  data: string,
  what: string,
): Promise<{ contract: Address; deployBlock: number }> {
  const receipt = await sender.send({ data, what })
  if (receipt.contract === undefined) throw new ChainError('transaction-failed', `${what} failed`)
  return { contract: receipt.contract, deployBlock: receipt.blockNumber }
}

async function checkExternal(
  rpc: Rpc,
  chainId: bigint,
  contract: 'auto' | Address,
  directory: string,
): Promise<Contracts> {
  if (contract === 'auto') {
    const text = `chain.contract: auto works on the embedded chain only; set chain.contract to the \
address of the Datanet contract on chain ${chainId}`
    throw new ChainError('contract-not-set', text)
  }
  if (!(await hasCode(rpc, contract))) {
    const text = `there is no contract at ${contract} on chain ${chainId} (node ${rpc.host}); \
check chain.contract and chain.rpc`
    throw new ChainError('contract-missing', text)
  }
  const recorded = await readRecord(directory)
  // The same address under another chain id: a copy, whose deposits are not the ones we know.
  if (recorded?.contract === contract && recorded.chainId !== `${chainId}`) {
    const text = `the Ethereum node at ${rpc.host} is of chain ${chainId}, but ${directory} is of \
chain ${recorded.chainId}; correct chain.rpc, or use another data directory`
    throw new ChainError('wrong-chain-id', text)
  }
  const described = await describe(rpc, chainId, contract)
  if (recorded?.contract === contract) {
    return { ...described, deployBlock: recorded.deployBlock }
  }
  const deployBlock = await findDeployBlock(rpc, contract)
  const { token } = described
  const hashes = { contractHash: '', tokenHash: '' }
  await writeRecord(directory, { chainId: `${chainId}`, contract, token, deployBlock, ...hashes })
  return { ...described, deployBlock }
}

/**
 * Reads what the contract says of itself; 'contract-mismatch' where our signatures would not be
 * its.
 */
async function describe(
  rpc: Rpc,
  chainId: bigint,
  contract: Address,
): Promise<Omit<Contracts, 'deployBlock' | 'replaced'>> {
  try {
    const separator = await ask(rpc, contract, 'domainSeparator')
    if (separator !== `0x${payPlaceDomain(chainId, contract).toString('hex')}`) {
      throw new Error('its signing domain is another')
    }
    const token = addressOf(await ask(rpc, contract, 'token'))
    const [tokenSymbol, tokenDecimals] = await Promise.all([
      ask(rpc, token, 'symbol', tokenInterface).then(String),
      ask(rpc, token, 'decimals', tokenInterface).then(Number),
    ])
    const activity = await findActivityContracts(rpc, contract)
    return { chainId, contract, token, activity, tokenSymbol, tokenDecimals }
  } catch (cause) {
    if (cause instanceof ChainError && cause.code !== 'rpc-error') throw cause
    const text = `the contract at ${contract} on chain ${chainId} is not a Datanet contract of \
this version (${reasonOf(cause)}); check chain.contract`
    throw new ChainError('contract-mismatch', text, { cause })
  }
}

async function ask(
  rpc: Rpc,
  to: Address,
  name: string,
  of = datanetInterface,
  args: readonly unknown[] = [],
): Promise<unknown> {
  const answer = await readContract(rpc, to, of.encodeFunctionData(name, args))
  return of.decodeFunctionResult(name, answer)[0]
}

async function hasCode(rpc: Rpc, address: Address, block = 'latest'): Promise<boolean> {
  const code = await rpc.request('eth_getCode', [address, block])
  return typeof code === 'string' && code.length > 2
}

async function isMinter(rpc: Rpc, token: Address, account: Address): Promise<boolean> {
  return String(await ask(rpc, token, 'minter', tokenInterface)).toLowerCase() === account
}

/**
 * The first block in which the contract has code, by bisection; 0 where the node forgets old
 * states, since a later guess would miss deposits while an earlier one only reads more.
 */
async function findDeployBlock(rpc: Rpc, contract: Address): Promise<number> {
  let [without, having] = [-1, numberOf(await rpc.request('eth_blockNumber', []))]
  try {
    while (having - without > 1) {
      const middle = Math.floor((without + having) / 2)
      if (await hasCode(rpc, contract, quantity(middle))) having = middle
      else without = middle
    }
    return having
  } catch (error) {
    if (error instanceof ChainError && error.code === 'rpc-error') return 0
    throw error
  }
}

/** Undefined only where there is no such file: a record that can't be read is not none. */
async function readRecord(directory: string): Promise<Deployment | undefined> {
  const path = join(directory, DEPLOYMENT_RECORD)
  try {
    return parseRecord(await readFile(path, 'utf8'))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const text = `${path}, which says where the contract is, can't be read (${reasonOf(cause)}); \
put the right file back, or move ${directory} away to begin without what is recorded there`
    throw new ChainError('deployment-unreadable', text, { cause })
  }
}

function parseRecord(text: string): Deployment {
  const value: unknown = JSON.parse(text)
  const { chainId, deployBlock, contractHash, tokenHash, ...rest } = Object(value)
  const contract = parseAddress(String(rest.contract))
  const token = parseAddress(String(rest.token))
  const texts = [chainId, contractHash, tokenHash].every((one) => typeof one === 'string')
  if (
    contract === undefined ||
    token === undefined ||
    !texts ||
    !Number.isSafeInteger(deployBlock)
  ) {
    throw new Error('it is no record of a deployment')
  }
  return { chainId, contract, token, deployBlock, contractHash, tokenHash }
}

async function writeRecord(directory: string, deployment: Deployment): Promise<void> {
  const path = join(directory, DEPLOYMENT_RECORD)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const handle = await open(`${path}.writing`, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify(deployment, undefined, 2)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(`${path}.writing`, path)
  await syncDirectory(directory)
}

function sha256(hex: string): string {
  return createHash('sha256').update(hex).digest('hex')
}

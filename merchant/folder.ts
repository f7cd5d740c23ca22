// merchant.json in a merchant's DIR: which account, which operator, which contract, through which
// node. Holds no secret. Owns its form; written by `merchant create`, read by the other verbs.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type Lock, lockFile } from '../chain/lock.ts'
import { DeviceError } from '../device/error.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import type { StoreIdentity } from './store.ts'

export const MERCHANT_FILE = 'merchant.json'
export const WALLET_FILE = 'wallet.json'
export const STORE_FILE = 'merchant.sqlite'

const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text)
  if (parsed !== undefined) return parsed
  context.addIssue({ code: 'custom', message: 'is not an address' })
  return z.NEVER
})

const merchantFile = z.object({
  version: z.literal(1),
  name: z.string().min(1),
  account: address,
  operatorUrl: z.url({ protocol: /^https?$/ }),
  operatorId: z.int().min(1),
  operatorName: z.string(),
  contract: address,
  chainId: z.int().min(1),
  rpc: z.url({ protocol: /^(https?|wss?)$/ }),
  /** Blocks that a head needs on top of it to count; 1: none. */
  confirmations: z.int().min(1).default(1),
  /** No event of the contract is older. */
  fromBlock: z.int().min(0),
  token: z.object({ address, symbol: z.string(), decimals: z.int().min(0).max(36) }),
  /** True: a block that lacks what the receipts show is not signed. */
  requireIncome: z.boolean().default(false),
})

/** merchant.json; `rpc`, `confirmations` and `requireIncome` are the owner's to change. */
export type MerchantFile = z.infer<typeof merchantFile>

/** The text of merchant.json, addresses in their EIP-55 form. */
export function merchantJson(merchant: MerchantFile): string {
  const { account, contract, token } = merchant
  const shown = {
    ...merchant,
    account: checksumAddress(account),
    contract: checksumAddress(contract),
    token: { ...token, address: checksumAddress(token.address) },
  }
  return `${JSON.stringify(shown, null, 2)}\n`
}

// Half a KB is usual; a long file is none of ours.
const FILE_BYTES_MAX = 64 * 1024

/** A text file of DIR. Throws DeviceError 'usage' where there is none, 'permission', 'damaged'. */
export async function readMerchantText(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const way = 'give the DIR that `npx datanet merchant create` wrote'
      throw new DeviceError('usage', `${path} does not exist; ${way}`, error)
    }
    throw new DeviceError('permission', `${path} cannot be read (${code})`, error)
  }
  if (text.length > FILE_BYTES_MAX) throw new DeviceError('damaged', `${path} is too long`)
  return text
}

/** merchant.json of DIR; throws as readMerchantText, and 'damaged' where a field is wrong. */
export async function readMerchant(directory: string): Promise<MerchantFile> {
  const path = join(directory, MERCHANT_FILE)
  const text = await readMerchantText(directory, MERCHANT_FILE)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new DeviceError('damaged', `${path} is not JSON`, error)
  }
  const parsed = merchantFile.safeParse(json)
  if (parsed.success) return parsed.data
  const field = parsed.error.issues[0]?.path.join('.') ?? ''
  throw new DeviceError('damaged', `${path}: ${field} is malformed`)
}

/**
 * Keeps a second agent away from DIR: both would sign in the same period. The other verbs sign no
 * block, and work beside it. Throws DeviceError 'exists' where one runs already.
 */
export function lockAgent(directory: string): Lock {
  const text = `merchant run works on ${directory} already: stop it first`
  return lockFile(join(directory, 'run.lock'), (cause) => new DeviceError('exists', text, cause))
}

/** To whom a store belongs; `now` in Unix seconds. */
export function storeIdentity(merchant: MerchantFile, now: number): StoreIdentity {
  const { account, operatorId, contract, chainId } = merchant
  return { identity: `1|${chainId}|${contract}|${operatorId}|${account}`, now }
}

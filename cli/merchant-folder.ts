// What the merchant verbs share: DIR opened for reading, with or without the account's key, and a
// way to the chain. Prints nothing.

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createPayplaceView, type PayplaceView } from '../chain/payplace-view.ts'
import { openSender, type Sender } from '../chain/transactions.ts'
import { DeviceError } from '../device/error.ts'
import { openAccount } from '../device/keystore.ts'
import { accountOf } from '../ethereum/signature.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { type OperatorApi, openApi } from '../merchant/api.ts'
import {
  type MerchantFile,
  readMerchant,
  readMerchantText,
  STORE_FILE,
  storeIdentity,
  WALLET_FILE,
} from '../merchant/folder.ts'
import { type Node, openNode } from '../merchant/node.ts'
import { type MerchantStore, openStore } from '../merchant/store.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

/** DIR, its memory, and the chain; `close` when done. */
export interface MerchantFolder {
  readonly merchant: MerchantFile
  readonly store: MerchantStore
  readonly node: Node
  readonly view: PayplaceView
  close(): void
}

/** With the account's key: what can sign and send. */
export interface UnlockedMerchant extends MerchantFolder {
  readonly accountKey: Buffer
  readonly api: OperatorApi
  readonly sender: Sender
}

/** Random 32 bits for tables whose keys strangers choose. */
export const seed = (): number => randomBytes(4).readUInt32BE()

/** Opens DIR without its key. The agent that may run on it goes on: SQLite lets both read. */
export async function openMerchant(directory: string, terminal: Terminal): Promise<MerchantFolder> {
  const merchant = await readMerchant(directory)
  const store = openStore(
    join(directory, STORE_FILE),
    storeIdentity(merchant, terminal.now() / 1_000),
  )
  const node = openNode(merchant.rpc)
  const { contract, operatorId, fromBlock, confirmations } = merchant
  const source = { rpc: node.rpc, contract, operatorId, fromBlock, confirmations }
  const view = createPayplaceView({ ...source, store: store.view })
  const close = (): void => {
    node.close()
    store.close()
  }
  return { merchant, store, node, view, close }
}

/** Opens DIR with its password. Throws DeviceError 'permission' on a wrong one. */
export async function unlockMerchant(
  directory: string,
  terminal: Terminal,
): Promise<UnlockedMerchant> {
  // Before anything is opened: a wrong password leaves nothing behind.
  const { account, contract, chainId, operatorId, operatorUrl } = await readMerchant(directory)
  const wallet = await readMerchantText(directory, WALLET_FILE)
  const accountKey = await openAccount(wallet, await knownPassword(terminal))
  if (accountOf(accountKey) !== account) {
    throw new DeviceError('damaged', `wallet.json of ${directory} is another account's`)
  }
  const folder = await openMerchant(directory, terminal)
  const now = (): number => terminal.now() / 1_000
  const domain = payPlaceDomain(BigInt(chainId), contract)
  const api = openApi({ url: operatorUrl, operatorId, domain, account, accountKey, now })
  const { rpc } = folder.node
  const sender = openSender({ rpc, chainId: BigInt(chainId), privateKey: accountKey })
  return { ...folder, accountKey, api, sender }
}

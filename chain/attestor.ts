// Who attests for our operator: its own account, named once where it has named nobody. Called at
// start-up; it never takes away what the operator has decided since.

import type { Address } from '../ethereum/address.ts'
import { accountOf } from '../ethereum/signature.ts'
import {
  type ActivityContracts,
  isAttestor,
  readThreshold,
  setAttestors,
} from './activity-calls.ts'
import { bigintOf } from './jsonrpc.ts'
import type { OperatorPlace } from './operator.ts'
import { openRpc } from './rpc.ts'

/** What is to be named. */
export interface AttestorEntry {
  readonly place: OperatorPlace
  readonly activity: ActivityContracts
  readonly operatorKey: Uint8Array
  readonly operatorId: number
}

/**
 * `set`: it was named now; `there`: it was already; `other`: the operator has named others. Throws
 * ChainError.
 */
export async function ensureAttestor(o: AttestorEntry): Promise<'set' | 'there' | 'other'> {
  const { place, activity, operatorId, operatorKey: privateKey } = o
  const rpc = openRpc(place.kind === 'embedded' ? place.chain.url : place.url)
  const account: Address = accountOf(privateKey)
  try {
    if (await isAttestor(rpc, activity, operatorId, account)) return 'there'
    if ((await readThreshold(rpc, activity, operatorId)) > 0) return 'other'
    const chainId = bigintOf(await rpc.request('eth_chainId', []))
    await setAttestors({ rpc, chainId, privateKey }, activity, operatorId, [account], 1)
    if (place.kind === 'embedded') await place.chain.saved()
    return 'set'
  } finally {
    rpc.close()
  }
}

// Stores, clocks and facts for the tests of this folder.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import type { BlockTiming } from '../../chain/payplace/timing.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import { type MerchantStore, openStore } from '../../merchant/store.ts'
import { consumer } from '../chain/payplace/support.ts'

/** g0 1,000; period 3 begins at 1,180. */
export const TIMING: BlockTiming = {
  ...{ g0: 1_000, beta: 60, gamma: 15, delta: 4 },
  ...{ challenge: 130, eta: 30 },
}
export const IDENTITY = { identity: 'merchant 2 of the tests', now: 1_050 }

/** A path for a store in a directory that is gone after the test. */
export function storePath(t: Pick<Test, 'teardown'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-merchant-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return join(directory, 'merchant.sqlite')
}

/** An open store in a directory of its own. */
export function newStore(t: Pick<Test, 'teardown'>): MerchantStore {
  const store = openStore(storePath(t), IDENTITY)
  t.teardown(() => store.close())
  return store
}

/** Merchant 2, Active since block 1, with nothing special. */
export function record(more: Partial<MerchantRecord> = {}): MerchantRecord {
  return {
    ...{ id: 2, account: consumer(5), blsKey: Buffer.alloc(128, 7), status: 'active' },
    ...{ joinedAt: 1, missingSince: undefined, settled: { k: 0, shards: [] } },
    ...{ locks: [], withdrawn: NO_ENTRIES, capped: NO_ENTRIES },
    ...more,
  }
}

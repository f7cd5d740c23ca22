// A store under test, and what the tests of every store share.

import { isDeepStrictEqual } from 'node:util'
import type { Test } from 'tap'
import type { Changes } from '../../accounting/session.ts'
import type { Storage } from '../../accounting/storage.ts'
import * as f from './store-fixtures.ts'

/** One empty store, and another way to look into it. */
export interface StoreBed {
  /** Opens it; the caller closes it. */
  open(): Promise<Storage>
  /** What any other program sees in it. */
  sql(text: string): Promise<Record<string, unknown>[]>
}

/** Some changes, and nothing of the rest. */
export const commit = (store: Storage, changes: Partial<Changes>) =>
  store.commit({ ...f.EMPTY, ...changes })

/** tap's own comparison prints a difference well, this one is strict about undefined. */
export function equal(t: Test, found: unknown, wanted: unknown, name: string): void {
  if (!isDeepStrictEqual(found, wanted)) t.strictSame(found, wanted, `${name} (not the same)`)
  t.ok(isDeepStrictEqual(found, wanted), name)
}

/** Makes an empty one. */
export type Bed = (t: Test) => Promise<StoreBed>

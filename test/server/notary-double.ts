// A notary that has nothing to sign, for an HTTP side whose other routes are under test.

import type { Notary } from '../../server/notary.ts'

/** As it is before the chain was read; parts may be replaced. */
export const notaryDouble = (parts: Partial<Notary> = {}): Notary => ({
  status: () => undefined,
  journalSinceMs: () => 0,
  timing: () => undefined,
  request: () => undefined,
  payout: () => undefined,
  merchant: () => undefined,
  proposal: () => undefined,
  answer: () => undefined,
  past: async () => undefined,
  start: () => undefined,
  async stop() {},
  ...parts,
})

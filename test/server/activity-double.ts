// Published activities for servers that have no chain: nothing was published, nothing is attested.
// Called by tests and benches that open the HTTP side.

import type { ActivityContracts } from '../../chain/activity-calls.ts'
import type { Address } from '../../ethereum/address.ts'
import { createActivityBook } from '../../server/activity-book.ts'
import type { HttpDeps } from '../../server/http.ts'

const addressOf = (byte: string): Address => `0x${byte.repeat(20)}` as Address

export const noActivityContracts: ActivityContracts = {
  activities: addressOf('a1'),
  attestors: addressOf('a2'),
  devices: addressOf('a3'),
}

export const activityDouble = (parts: Partial<HttpDeps['activity']> = {}): HttpDeps['activity'] => {
  const refusal = { refusal: 'unknown-consumer', message: 'nobody is known' } as const
  return {
    book: createActivityBook({
      rpc: { request: async () => [] },
      ...{ activity: noActivityContracts, deployBlock: 1, head: () => 7 },
    }),
    desk: {
      ...{ propose: async () => refusal, attest: async () => refusal },
      enrol: async () => refusal,
    },
    ...parts,
  }
}

// An account with a deposit that signs what it pays, and the operator's books about it. The test
// decides where a payment goes out: through the simulated air or from this machine. Called by
// hwsim.test.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openAccount } from '../../../device/keystore.ts'
import { checksumAddress } from '../../../ethereum/address.ts'
import { accountOf, signDigest } from '../../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../../ethereum/typed-data.ts'
import { openPayers } from '../payers.ts'
import type { RunningServer } from '../server.ts'

/** A session as `GET /v1/sessions` shows it to the operator; amounts in token base units. */
export interface Session {
  readonly id: string
  readonly account: string | null
  readonly kind: string
  readonly state: string
  readonly startedAt: number
  readonly endedAt: number | null
  readonly endedBy: string | null
  readonly cutReason: string | null
  readonly inputOctets: string
  readonly outputOctets: string
  readonly owed: string
  readonly paid: string
  readonly due: string
}

/** One device's money. */
export interface Payer {
  readonly account: string
  /** The body of `POST /v1/payments` for everything paid so far and this much more. */
  payment(more: bigint, session?: string): string
  /** Its sessions, newest first. */
  sessions(): Promise<Session[]>
}

/** Opens the device's keystore; `password` is the one `datanet device create` was given. */
export async function openPayer(
  server: RunningServer,
  deviceDirectory: string,
  password: string,
): Promise<Payer> {
  const key = await openAccount(
    readFileSync(join(deviceDirectory, 'wallet.json'), 'utf8'),
    password,
  )
  const { operatorId, access } = await openPayers(server)
  const domain = payPlaceDomain(access.chainId, access.contract)
  const consumer = accountOf(key)
  const account = checksumAddress(consumer)
  const token = readFileSync(join(server.directory, 'data', 'admin-token'), 'utf8').trim()
  let paid = 0n
  return {
    account,
    payment(more, session) {
      paid += more
      const digest = voucherDigest(domain, { consumer, operator: operatorId, amount: paid })
      const signature = `0x${signDigest(digest, key).toString('hex')}`
      const named = session === undefined ? {} : { session }
      return JSON.stringify({
        ...{ consumer: account, operator: operatorId, amount: `${paid}`, signature },
        ...named,
      })
    },
    async sessions() {
      const headers = { authorization: `Bearer ${token}` }
      const path = `/v1/sessions?all=true&account=${account}`
      const answer = await fetch(`${server.url}${path}`, { headers })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      const { sessions } = (await answer.json()) as { sessions: Session[] }
      return sessions.sort((a, b) => b.startedAt - a.startedAt)
    },
  }
}

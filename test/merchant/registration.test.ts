// What a merchant does not pay a transaction for: approvals that the contract would refuse.

import t from 'tap'
import { blsPublicKey } from '../../chain/bls.ts'
import { DeviceError } from '../../device/error.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantApprovalDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { register } from '../../merchant/registration.ts'
import { consumer, DOMAIN, OPERATOR } from '../chain/payplace/support.ts'
import { TIMING } from './support.ts'

/** Period 3 begins at 1,180; its open window ends at 1,236. */
const NOW = 1_210
const ENDS = 1_236
const secret = Buffer.alloc(32, 3)
const [approver, stranger] = [Buffer.alloc(32, 7), Buffer.alloc(32, 9)]

/** The outcome with this approval, and how many transactions were sent. */
async function outcome(validUntil: number, signer = approver) {
  const account = accountOf(Buffer.alloc(32, 8))
  const value = { operator: OPERATOR, account, pkHash: keccak256(blsPublicKey(secret)), validUntil }
  const signature = signDigest(merchantApprovalDigest(DOMAIN, value), signer)
  let sent = 0
  const result = await register({
    ...{ secret, domain: DOMAIN, contract: consumer(5), chainId: 31_337n, operatorId: OPERATOR },
    ...{ operatorUrl: '', operatorAccount: accountOf(approver), timing: TIMING, now: () => NOW },
    api: { approval: async () => ({ validUntil, signature }) },
    rpc: { request: async () => '0xffffffffffffffffff' },
    sender: {
      account,
      async send() {
        sent += 1
        return { transactionHash: '0x1', blockNumber: 1 }
      },
    },
  }).then(
    () => 'registered',
    (error: unknown) => (error instanceof DeviceError ? error.code : error),
  )
  return [result, sent]
}

t.test('D3: only an approval that the contract takes costs a transaction', async (t) => {
  t.same(await outcome(ENDS), ['registered', 1])
  t.same(await outcome(ENDS + 1), ['refused', 0], 'longer than the window')
  t.same(await outcome(NOW), ['unavailable', 0], 'over')
  t.same(await outcome(ENDS, stranger), ['refused', 0], "not the operator's")
})

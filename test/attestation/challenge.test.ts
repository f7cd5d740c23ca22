import t from 'tap'
import { challengeOf } from '../../attestation/challenge.ts'
import { parseAddress } from '../../ethereum/address.ts'

const account = parseAddress(`0x${'11'.repeat(20)}`)
const other = parseAddress(`0x${'12'.repeat(20)}`)
if (account === undefined || other === undefined) throw new Error('no address')
const nonce = Buffer.alloc(32, 7)

t.test('a challenge is of one nonce, one account and one operator', async (t) => {
  const challenge = challengeOf(nonce, account, 1)
  t.equal(challenge.length, 32)
  t.same(challengeOf(Buffer.alloc(32, 7), account, 1), challenge)
  t.notSame(challengeOf(Buffer.alloc(32, 8), account, 1), challenge)
  t.notSame(challengeOf(nonce, other, 1), challenge)
  t.notSame(challengeOf(nonce, account, 11), challenge)
  t.throws(() => challengeOf(Buffer.alloc(31), account, 1), { name: 'RangeError' })
})

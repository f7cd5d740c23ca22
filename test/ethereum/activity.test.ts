// Digests of activities and enrolments against ethers, and what does not fit its type.

import { TypedDataEncoder, type TypedDataField } from 'ethers'
import fc from 'fast-check'
import t from 'tap'
import {
  type Activity,
  activityDigest,
  deviceEnrolmentDigest,
  devicesDomain,
} from '../../ethereum/activity.ts'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'

const contract = `0x${'c0'.repeat(20)}` as Address
const chainId = 31_337
const fields = (text: string): TypedDataField[] =>
  text.split(',').map((field) => {
    const [type = '', name = ''] = field.split(' ')
    return { type, name }
  })
const ACTIVITY = fields(
  'address consumer,uint32 operator,uint64 start,uint64 end,uint64 bytesUp,uint64 bytesDown,uint32 sessions,uint96 paid,uint8 verifier,bytes32 evidenceHash,uint256 nonce',
)
const ENROLMENT = fields('uint32 operator,address consumer,bytes32 qx,bytes32 qy,uint64 validUntil')
const byEthers = (domain: string, name: string, types: TypedDataField[], value: object): string =>
  TypedDataEncoder.hash(
    { name: domain, version: '1', chainId, verifyingContract: checksumAddress(contract) },
    { [name]: types },
    value,
  ).slice(2)

const bits = (n: bigint) => fc.bigInt({ min: 0n, max: 2n ** n - 1n })
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const word = fc.uint8Array({ minLength: 32, maxLength: 32 })
const account = fc
  .uint8Array({ minLength: 20, maxLength: 20 })
  .map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as Address)

t.test('Activity and DeviceEnrolment digests equal those of ethers', async (t) => {
  const domain = payPlaceDomain(chainId, contract)
  const activity = fc.record({
    ...{ consumer: account, operator: uint32, start: time, end: time, sessions: uint32 },
    ...{ bytesUp: bits(64n), bytesDown: bits(64n), paid: bits(96n), nonce: bits(256n) },
    ...{ verifier: fc.integer({ min: 0, max: 255 }), evidenceHash: word },
  })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(activity, (value) => {
        const expected = byEthers('PayPlace', 'Activity', ACTIVITY, value)
        return activityDigest(domain, value).toString('hex') === expected
      }),
      { seed: 1, numRuns: 50 },
    ),
  )
  const enrolment = fc.record({
    ...{ operator: uint32, consumer: account, qx: word, qy: word, validUntil: time },
  })
  const devices = devicesDomain(chainId, contract)
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(enrolment, (value) => {
        const expected = byEthers('DatanetDevices', 'DeviceEnrolment', ENROLMENT, value)
        return deviceEnrolmentDigest(devices, value).toString('hex') === expected
      }),
      { seed: 2, numRuns: 50 },
    ),
  )
})

t.test('a number that does not fit its type has no digest', async (t) => {
  const domain = payPlaceDomain(chainId, contract)
  const right: Activity = {
    ...{ consumer: contract, operator: 1, start: 1, end: 2, bytesUp: 0n, bytesDown: 0n },
    ...{ sessions: 0, paid: 0n, verifier: 1, evidenceHash: Buffer.alloc(32), nonce: 0n },
  }
  for (const change of [
    ...[{ operator: 2 ** 32 }, { start: -1 }, { bytesUp: 2n ** 64n }, { bytesDown: -1n }],
    ...[{ sessions: 2 ** 32 }, { paid: 2n ** 96n }, { verifier: 256 }, { nonce: 2n ** 256n }],
    { evidenceHash: Buffer.alloc(31) },
  ]) {
    t.throws(() => activityDigest(domain, { ...right, ...change }), RangeError)
  }
})

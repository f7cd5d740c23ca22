// Phases to the second at their borders, and the digest of a block as ethers computes it.

import { TypedDataEncoder } from 'ethers'
import t from 'tap'
import { type BlockHeader, blockDigest, NO_ROOT } from '../../../chain/payplace/block.ts'
import { nextOpen, type Phase, periodAt, phaseAt, startOf } from '../../../chain/payplace/timing.ts'
import { address, DOMAIN, TIMING } from './support.ts'

t.test('4.3: period and phase at every border (g0 1000, beta 60, gamma 15, delta 4)', async (t) => {
  const cases: readonly [time: number, period: number, phase: Phase][] = [
    [999, -1, 'before'],
    [1_000, 0, 'freeze'],
    [1_001, 0, 'commit'],
    [1_014, 0, 'commit'],
    [1_015, 0, 'freeze'],
    [1_019, 0, 'freeze'],
    [1_020, 0, 'open'],
    [1_055, 0, 'open'],
    [1_056, 0, 'freeze'],
    [1_059, 0, 'freeze'],
    [1_060, 1, 'freeze'],
    [1_061, 1, 'commit'],
  ]
  for (const [time, period, phase] of cases) {
    t.equal(periodAt(TIMING, time), period, `period at ${time}`)
    t.equal(phaseAt(TIMING, time), phase, `phase at ${time}`)
  }
  t.equal(startOf(TIMING, 2), 1_120)
})

t.test('Liveness: nobody waits longer than gamma + 2 delta for the open window', async (t) => {
  const bound = TIMING.gamma + 2 * TIMING.delta
  for (let time = 1_000; time < 1_240; time++) {
    const opens = nextOpen(TIMING, time)
    t.equal(phaseAt(TIMING, opens), 'open', `at ${time}`)
    t.ok(opens - time <= bound + 1, `${opens - time} s at ${time}`)
    if (opens > time) t.not(phaseAt(TIMING, opens - 1), 'open', 'not a second too late')
  }
})

t.test('EIP-712: the digest of a block is the one that ethers computes', async (t) => {
  const fields = {
    Block: [
      { name: 'operator', type: 'uint32' },
      { name: 'k', type: 'uint64' },
      { name: 'period', type: 'uint64' },
      { name: 'prevRoot', type: 'bytes32' },
      { name: 'root', type: 'bytes32' },
      { name: 'tau', type: 'uint64' },
    ],
  }
  const domain = {
    ...{ name: 'PayPlace', version: '1', chainId: 31_337 },
    verifyingContract: address(`0x${'c0'.repeat(20)}`),
  }
  const header: BlockHeader = {
    ...{ operator: 7, k: 4, period: 9, tau: 1_764_000_000 },
    ...{ prevRoot: NO_ROOT, root: Buffer.alloc(32, 0xab) },
  }
  const digest = `0x${blockDigest(DOMAIN, header).toString('hex')}`
  t.equal(digest, TypedDataEncoder.hash(domain, fields, header))
  const others: BlockHeader[] = [
    { ...header, operator: 8 },
    { ...header, k: 5 },
    { ...header, period: 10 },
    { ...header, tau: 1 },
    { ...header, prevRoot: header.root },
    { ...header, root: NO_ROOT },
  ]
  const digests = others.map((other) => blockDigest(DOMAIN, other).toString('hex'))
  t.equal(new Set([...digests, digest]).size, others.length + 1, 'D6: every field counts')
  const bad: BlockHeader[] = [
    { ...header, operator: 2 ** 32 },
    { ...header, k: -1 },
    { ...header, tau: 0.5 },
    { ...header, root: Buffer.alloc(31) },
  ]
  for (const other of bad) t.throws(() => blockDigest(DOMAIN, other), RangeError)
})

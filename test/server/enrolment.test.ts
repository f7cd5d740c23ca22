import { randomBytes } from 'node:crypto'
import t from 'tap'
import { METERING_KEYS_MAX } from '../../accounting/metering-keys.ts'
import type { Address } from '../../ethereum/address.ts'
import { createVerifiers, showKey } from '../../server/attestation.ts'
import { accountNamed } from '../accounting/vouchers.ts'
import { enrolmentOf, enrolmentRig, NOW_MS, newMeteringKey } from './enrolment-rig.ts'

t.test('a key in software is enrolled, and is there after a restart', async (t) => {
  const { world, ledger, storage, challenge, enrol, deposit } = await enrolmentRig(t)
  deposit('alice')
  const alice = accountNamed('alice')
  const { status, nonce, expiresAt } = await challenge(alice)
  t.equal(status, 200)
  t.equal(Buffer.from(nonce, 'base64url').length, 32)
  t.equal(expiresAt, NOW_MS / 1_000 + 300)
  const key = newMeteringKey()
  t.same(await enrol(enrolmentOf('alice', key, nonce)), {
    ...{ status: 200, trust: 'software', scheme: 'software', expiresAt: NOW_MS / 1_000 + 86_400 },
  })
  const kept = {
    ...{ account: alice, slot: 0, publicKey: key.publicKey.toString('base64url') },
    ...{ scheme: 'software', trust: 'software', enrolledAtMs: NOW_MS },
    expiresAtMs: NOW_MS + 86_400_000,
    counter: 0,
  }
  t.same(ledger.meteringKeys(alice), [kept])
  t.same((await storage.account(alice))?.meteringKeys, [kept])
  t.same(world.outcomes, ['software enrolled'])
})

t.test('a nonce is for one account, one try that it signed, and five minutes', async (t) => {
  const { world, challenge, enrol, deposit } = await enrolmentRig(t)
  deposit('alice')
  deposit('bob')
  const key = newMeteringKey()
  const { nonce } = await challenge(accountNamed('alice'))
  t.equal(
    (await challenge(accountNamed('alice'))).nonce,
    nonce,
    'asking again takes it from nobody',
  )
  const { nonce: bobs } = await challenge(accountNamed('bob'))
  t.not(bobs, nonce)
  const forged = { ...enrolmentOf('bob', key, nonce), consumer: accountNamed('alice') }
  t.match(await enrol(forged), { status: 401, error: { code: 'bad-signature' } })
  const other = await enrol(enrolmentOf('alice', key, bobs))
  t.match(other, { status: 401, error: { code: 'bad-signature' } }, 'signed for another nonce')
  const body = enrolmentOf('alice', key, nonce)
  t.equal((await enrol(body)).status, 200, 'what others sent did not use it up')
  t.match(await enrol(body), { status: 422, error: { code: 'challenge-mismatch' } }, 'used up')
  const second = await challenge(accountNamed('alice'))
  t.not(second.nonce, nonce)
  world.nowMs += 300_000
  const late = await enrol(enrolmentOf('alice', key, second.nonce))
  t.match(late, { status: 422, error: { code: 'challenge-mismatch' } }, 'too late')
})

t.test('each refusal has its code, and a refused try enrols nothing', async (t) => {
  const { ledger, challenge, enrol, deposit } = await enrolmentRig(t)
  deposit('alice')
  const alice = accountNamed('alice')
  const [key, another] = [newMeteringKey(), newMeteringKey()]
  const evidence = (text: string) => ({ evidence: { signature: text } })
  const cases: [name: string, change: object, status: number, code: string][] = [
    ['an unknown scheme', { scheme: 'abacus' }, 422, 'unsupported'],
    ['SafetyNet', { scheme: 'SafetyNet' }, 422, 'unsupported'],
    ['a property of every object', { scheme: '__proto__' }, 422, 'unsupported'],
    ['no evidence', { evidence: undefined }, 400, 'malformed'],
    ['a list', { evidence: [] }, 400, 'malformed'],
    ['short', evidence('AAAA'), 400, 'malformed'],
    ['more fields', { evidence: { signature: 'A'.repeat(86), more: 1 } }, 400, 'malformed'],
    ['signed by nobody', evidence('A'.repeat(86)), 401, 'bad-signature'],
    ['a field of ours', { trust: 'hardware' }, 400, 'malformed'],
    ['no point', { publicKey: 'A'.repeat(87) }, 400, 'malformed'],
    ['no account', { consumer: '0x12' }, 400, 'malformed'],
    ['a stranger', { consumer: accountNamed('carol') }, 404, 'unknown-consumer'],
    ['no signature', { signature: '0x' }, 400, 'malformed'],
    ['a long scheme', { scheme: 'x'.repeat(33) }, 400, 'malformed'],
    ['evidence beyond its limit', { evidence: 'x'.repeat(65_536) }, 400, 'malformed'],
  ]
  for (const [name, change, status, code] of cases) {
    const { nonce } = await challenge(alice)
    const answer = await enrol(enrolmentOf('alice', key, nonce, change))
    t.match(answer, { status, error: { code, message: /./ } }, name)
  }
  const { nonce } = await challenge(alice)
  const swapped = { evidence: enrolmentOf('alice', another, nonce).evidence }
  const answer = await enrol(enrolmentOf('alice', key, nonce, swapped))
  t.match(answer, { status: 401, error: { code: 'bad-signature' } }, 'signed by another key')
  t.same(ledger.meteringKeys(alice), [])
  t.match(await challenge(accountNamed('carol')), { status: 404 })
})

t.test('evidence is measured before anybody verifies it', async (t) => {
  const { publicKey } = newMeteringKey()
  let asked = 0
  const verify = () => {
    asked += 1
    return { ok: true as const, publicKey, facts: {} }
  }
  const verifiers = new Map([['chip', { trust: 'hardware' as const, verify }]])
  const expected = { challenge: Buffer.alloc(32), nowSeconds: 1, publicKey }
  // With its quotes it is 65,536 characters of JSON.
  t.match(await showKey(verifiers, 'chip', 'x'.repeat(65_534), expected), { ok: true })
  const longer = await showKey(verifiers, 'chip', 'x'.repeat(65_535), expected)
  t.match(longer, { ok: false, reason: 'malformed', detail: /at most 65536/ })
  t.equal(asked, 1)
})

t.test('of nonces there are 10,000: who asks for more takes the oldest away', async (t) => {
  const { enrolment, world } = await enrolmentRig(t)
  const accounts = Array.from(
    { length: 10_001 },
    (_, n) => `0x${n.toString(16).padStart(40, '0')}` as Address,
  )
  const nonceOf = (n: number) => {
    const answer = enrolment.challenge({ consumer: accounts[n] })
    return 'nonce' in answer ? answer.nonce : answer.refusal
  }
  for (const account of accounts) world.depositors.add(account)
  const [first, second] = [nonceOf(0), nonceOf(1)]
  for (let n = 2; n < 10_000; n++) nonceOf(n)
  t.equal(nonceOf(0), first, 'all have room')
  nonceOf(10_000)
  t.equal(nonceOf(1), second)
  t.not(nonceOf(0), first, 'the oldest is gone')
  t.not(nonceOf(1), second, 'and this one for it')
})

t.test('evidence for another key is a mismatch, whatever the scheme', async (t) => {
  const [key, another] = [newMeteringKey(), newMeteringKey()]
  const shown = { ok: true as const, publicKey: another.publicKey, facts: {} }
  const verifiers = new Map([['chip', { trust: 'hardware' as const, verify: () => shown }]])
  const expected = { challenge: Buffer.alloc(32), nowSeconds: 1, publicKey: key.publicKey }
  t.match(await showKey(verifiers, 'chip', {}, expected), { ok: false, reason: 'key-mismatch' })
  const right = { ...expected, publicKey: another.publicKey }
  t.match(await showKey(verifiers, 'chip', {}, right), { ok: true, trust: 'hardware' })
  const gone = await showKey(
    createVerifiers(() => ({}), randomBytes),
    'safetynet',
    {},
    expected,
  )
  t.match(gone, { reason: 'unsupported', detail: /android-key, or play-integrity/ })
})

t.test(
  'an account has a few keys: a new one for the oldest, the same one in its place',
  async (t) => {
    const { world, ledger, storage, challenge, enrol, deposit } = await enrolmentRig(t)
    deposit('alice')
    const alice = accountNamed('alice')
    const keys = Array.from({ length: METERING_KEYS_MAX + 1 }, newMeteringKey)
    const enrolKey = async (index: number) => {
      world.nowMs += 1_000
      const { nonce } = await challenge(alice)
      const key = keys[index]
      if (key === undefined) throw new Error(`${index}`)
      t.equal((await enrol(enrolmentOf('alice', key, nonce))).status, 200)
    }
    for (const index of keys.slice(1).keys()) await enrolKey(index)
    await enrolKey(0)
    await enrolKey(METERING_KEYS_MAX)
    const names = keys.map(({ publicKey }) => publicKey.toString('base64url'))
    const kept = new Set(names.filter((_, index) => index !== 1))
    t.same(new Set(ledger.meteringKeys(alice).map(({ publicKey }) => publicKey)), kept)
    const stored = (await storage.account(alice))?.meteringKeys ?? []
    t.same(new Set(stored.map(({ publicKey }) => publicKey)), kept)
  },
)

t.test('a clock that is set back, or many that ask, keep nobody from enrolling', async (t) => {
  const { world, challenge, enrol, enrolment, deposit } = await enrolmentRig(t)
  for (const name of ['alice', 'bob']) deposit(name)
  await challenge(accountNamed('bob'))
  world.nowMs -= 3_600_000
  const { nonce: first } = await challenge(accountNamed('alice'))
  world.nowMs += 300_000
  const { nonce, expiresAt } = await challenge(accountNamed('alice'))
  t.not(nonce, first, 'what is over is not given again')
  t.equal(expiresAt, world.nowMs / 1_000 + 300)
  const ask = (n: number) => {
    const consumer = `0x${n.toString(16).padStart(40, '0')}` as Address
    world.depositors.add(consumer)
    enrolment.challenge({ consumer })
  }
  for (let n = 1; n < 9_999; n++) ask(n)
  t.equal((await enrol(enrolmentOf('alice', newMeteringKey(), nonce))).status, 200)
  for (let n = 10_000; n < 20_010; n++) ask(n)
  const { status, nonce: last } = await challenge(accountNamed('bob'))
  t.equal(status, 200)
  t.equal((await enrol(enrolmentOf('bob', newMeteringKey(), last))).status, 200)
})

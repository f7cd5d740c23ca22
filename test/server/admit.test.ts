import { createHash, createPublicKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { createLedger } from '../../accounting/ledger.ts'
import type { NasPlace } from '../../accounting/session.ts'
import { StorageError } from '../../accounting/storage.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { deriveDeviceKey, makeBoundCertificate } from '../../certs/device.ts'
import { identityDomain, identityReader } from '../../certs/identity.ts'
import { pemBlock } from '../../certs/x509.ts'
import type { Mirror } from '../../chain/mirror.ts'
import type { Channel } from '../../chain/mirror-state.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { type AdmitPlace, admit, alertFor, wouldAdmit } from '../../server/admit.ts'
import { endUncovered } from '../../server/escrow-watch.ts'

const contract = parseAddress(`0x${'c0'.repeat(20)}`)
if (contract === undefined) throw new Error('contract')
const chainId = 31_337n
const accountKey = createHash('sha256').update('account').digest()
const account = accountOf(accountKey)
const NOW_MS = 1_800_000_000_000
const DAY = 86_400
const tariff = priceTariff(
  'standard',
  {
    perMinute: '1',
    perMegabyte: '1',
    intervalMs: 60_000,
    intervalMegabytes: 10,
    missedMax: 2,
    graceMs: 0,
  },
  0,
)
const at = (callingStationId: string): NasPlace => ({
  ...{ nas: 'lobby', address: '192.0.2.1', nasIdentifier: 'ap', nasIpAddress: '', nasPort: 1 },
  ...{ callingStationId, calledStationId: '', acctSessionId: '', acctMultiSessionId: '' },
})
const place: AdmitPlace = {
  ...{ nasPlace: at('02-00-00-00-00-01'), merchant: undefined, tariff, staleAfterMs: 60_000 },
  rules: {
    ...{ takesDisconnect: true, sessionMaxMs: 3_600_000, perAccount: 100 },
    ...{ prepay: 'off', newcomersPerClient: 100, arrearsWindowMs: 20_000 },
  },
}

function certificate(notBefore = NOW_MS / 1000 - 600, notAfter = notBefore + 30 * DAY): Buffer {
  const key = { accountKey, chainId, contract: contract as Address, name: 'alice' }
  const signingKeyPem = deriveDeviceKey(key)
  const publicKey = createPublicKey(signingKeyPem)
    .export({ type: 'spki', format: 'pem' })
    .toString()
  const pem = makeBoundCertificate({
    ...key,
    ...{ publicKey, signingKeyPem, notBefore, notAfter, serial: randomBytes(16) },
  })
  const der = pemBlock(pem, 'CERTIFICATE')
  if (der === undefined) throw new Error('no certificate')
  return der
}

interface World {
  channel?: Channel
  elsewhere?: boolean
  disabled?: boolean
  heardAtMs?: number
  connected?: boolean
  refresh?: () => boolean
  storageFailed?: boolean
  storageAway?: boolean
}

/**
 * The mirror's questions answered from a plain object: what the chain says is this test's input.
 */
function rig(world: World) {
  const refreshes: number[] = []
  const mirror: Mirror = {
    channel: (operator, who) => (operator === 1 && who === account ? world.channel : undefined),
    operatorsWithDeposit: () => (world.elsewhere ? [2] : world.channel ? [1] : []),
    deviceKey: () => (world.disabled ? 'disabled' : 'unset'),
    operator: () => undefined,
    head: () => ({ number: 1, hash: '0x' }),
    heardAtMs: () => world.heardAtMs ?? NOW_MS,
    connected: () => world.connected ?? true,
    async refresh(timeoutMs) {
      refreshes.push(timeoutMs)
      return world.refresh?.() ?? false
    },
    onChange: () => () => {},
    async stop() {},
  }
  const ledger = createLedger({
    ...{ sessionsMax: 1_000, rememberedMax: 1_000, accountsMax: 1_000, operatorAccount: account },
  })
  const deps = {
    ...{ mirror, operatorId: 1, ledger, now: () => NOW_MS, random: randomBytes },
    ...{ operatorAccount: account, wallNow: () => NOW_MS },
    payments: { payVoucherUri: () => ({ refusal: 'malformed' as const, message: '' }) },
    storageFailed: () => world.storageFailed ?? false,
    async ensureAccount(asked: Address) {
      if (world.storageAway) throw new StorageError('unreachable', 'the database is away')
      ledger.meet(asked)
    },
    readIdentity: identityReader(identityDomain(chainId, contract as Address), 10),
  }
  return { refreshes, ledger, mirror, deps }
}
const escrow = (deposit: bigint, pendingShift = 0n): Channel => ({
  ...{ deposit, reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift },
})

t.test('every refusal has its one reason and its TLS alert', async (t) => {
  const good = certificate()
  const cases: [string, Buffer, World, string, number][] = [
    ['no escrow', good, {}, 'no-escrow', 49],
    ['elsewhere', good, { elsewhere: true }, 'escrow-with-another-operator', 49],
    ['too little', good, { channel: escrow(32n) }, 'insufficient-escrow', 49],
    ['a shift is pending', good, { channel: escrow(999n, 1n) }, 'prepay-required', 49],
    ['revoked', good, { channel: escrow(99n), disabled: true }, 'certificate-revoked', 44],
    [
      'expired',
      certificate(NOW_MS / 1000 - 30 * DAY, NOW_MS / 1000 - 1),
      { channel: escrow(99n) },
      'certificate-expired',
      45,
    ],
    [
      'early',
      certificate(NOW_MS / 1000 + 60),
      { channel: escrow(99n) },
      'certificate-not-yet-valid',
      42,
    ],
    ['garbage', randomBytes(300), { channel: escrow(99n) }, 'certificate-malformed', 42],
    [
      'stale, node away',
      good,
      { channel: escrow(99n), heardAtMs: NOW_MS - 60_000 },
      'chain-unavailable',
      80,
    ],
    ['disk full', good, { channel: escrow(99n), storageFailed: true }, 'storage-unavailable', 80],
    ['database away', good, { channel: escrow(99n), storageAway: true }, 'storage-unavailable', 80],
    ['unknown while cut off', good, { connected: false }, 'chain-unavailable', 80],
  ]
  for (const [name, der, world, reason, alert] of cases) {
    const { deps, ledger } = rig(world)
    const verdict = await admit(der, place, deps)
    t.match(verdict, { admitted: false, reason }, name)
    if (!verdict.admitted) t.equal(alertFor(verdict.reason), alert, `${name}: alert`)
    t.equal(ledger.openCount, 0, `${name}: nothing reserved`)
    // What only asking could tell is found out when the key is proven.
    const expected = world.storageAway === true
    t.equal(wouldAdmit(der, place, rig(world).deps), expected, `${name}: for a ticket`)
  }
})

t.test('RFC 9190 §5.7: the question for a ticket has no effect', async (t) => {
  const { deps, ledger, refreshes } = rig({ channel: escrow(33n) })
  const der = certificate()
  for (let n = 0; n < 3; n++) t.equal(wouldAdmit(der, place, deps), true)
  t.same([ledger.openCount, ledger.account(account), refreshes], [0, undefined, []])
  t.equal(wouldAdmit(der, { ...place, tariff: undefined }, deps), false, 'no tariff')
  t.match(await admit(der, place, deps), { admitted: true })
  const other = { ...place, nasPlace: at('02-00-00-00-00-02') }
  t.equal(wouldAdmit(der, other, deps), false, 'the escrow is reserved')
})

t.test(
  'an outage changes nothing for known accounts until stale_after; then one RPC decides',
  async (t) => {
    const der = certificate()
    const channel = escrow(99n)
    const fresh = rig({ channel, connected: false, heardAtMs: NOW_MS - 59_999 })
    t.match(await admit(der, place, fresh.deps), { admitted: true })
    t.same(fresh.refreshes, [], 'no RPC on the hot path')
    const stale = rig({ channel, heardAtMs: NOW_MS - 60_000, refresh: () => true })
    t.match(await admit(der, place, stale.deps), { admitted: true })
    t.same(stale.refreshes, [500], 'one RPC of at most 500 ms')
  },
)

t.test(
  '50 joins at once are admitted only as far as the escrow covers their reserves',
  async (t) => {
    // A session reserves 33 units: 7 fit into 240.
    const { deps, ledger } = rig({
      channel: escrow(240n),
      heardAtMs: NOW_MS - 60_000,
      refresh: () => true,
    })
    const der = certificate()
    const joins = Array.from({ length: 50 }, (_, i) =>
      admit(der, { ...place, nasPlace: at(`s${i}`) }, deps),
    )
    const verdicts = await Promise.all(joins)
    t.equal(verdicts.filter((v) => v.admitted).length, 7)
    t.ok(verdicts.filter((v) => !v.admitted).every((v) => v.reason === 'insufficient-escrow'))
    t.equal(ledger.standing(account, at('elsewhere'), account, NOW_MS).reserved, 231n)
  },
)

t.test('while a shift is pending who has paid ahead gets in, on what stays', async (t) => {
  for (const [pending, admitted] of [
    [800n, true],
    [980n, false],
  ] as const) {
    const { deps, ledger } = rig({ channel: escrow(1_000n, pending) })
    ledger.meet(account)
    const voucher = { account, amount: 11n, signature: '', settled: 0n }
    ledger.pay(voucher, undefined, NOW_MS)
    const verdict = await admit(certificate(), place, deps)
    const why = admitted ? {} : { reason: 'insufficient-escrow' }
    t.match(verdict, { admitted, ...why }, `${pending} of 1000`)
  }
})

t.test('a shift that leaves too little ends the newest sessions first', async (t) => {
  const world: World = { channel: escrow(240n) }
  const { deps, ledger, mirror } = rig(world)
  const der = certificate()
  for (const [ms, station] of ['a', 'b'].entries()) {
    const verdict = await admit(der, { ...place, nasPlace: at(station) }, deps)
    if (verdict.admitted) ledger.confirm(verdict.session.id, NOW_MS + ms)
  }
  const ended = (pending: bigint): string[] => {
    world.channel = escrow(240n, pending)
    const sessions = endUncovered(new Set([account]), 1, mirror, ledger, NOW_MS)
    return sessions.map(({ place }) => place.callingStationId)
  }
  t.same(ended(174n), [], 'two of 33 are covered by what stays')
  t.same(ended(175n), ['b'])
})

t.test('escrow that the chain takes back ends the newest sessions first', async (t) => {
  const world: World = { channel: escrow(240n) }
  const { deps, ledger, mirror } = rig(world)
  const der = certificate()
  for (const [ms, station] of ['a', 'b', 'c'].entries()) {
    const verdict = await admit(der, { ...place, nasPlace: at(station) }, deps)
    if (verdict.admitted) ledger.confirm(verdict.session.id, NOW_MS + ms)
  }
  world.channel = escrow(66n)
  const stations = (): string[] =>
    endUncovered(new Set([account]), 1, mirror, ledger, NOW_MS).map(
      ({ place }) => place.callingStationId,
    )
  t.same(stations(), ['c'], 'two of 33 are covered')
  t.same(stations(), [], 'and it is decided once')
  delete world.channel
  t.same(stations(), ['a', 'b'])
  t.ok([...ledger.open()].every(({ state }) => state === 'disconnecting'))
})

// Product terms §8.3: a voucher in the certificate goes through the same door as one sent over
// HTTP, before the decision is made.

import { createPublicKey, randomBytes } from 'node:crypto'
import t from 'tap'
import type { AdmissionRules } from '../../accounting/admission.ts'
import { deriveDeviceKey, makeBoundCertificate } from '../../certs/device.ts'
import { identityDomain, identityReader } from '../../certs/identity.ts'
import { pemBlock } from '../../certs/x509.ts'
import type { Mirror } from '../../chain/mirror.ts'
import { formatVoucherUri } from '../../ethereum/voucher-uri.ts'
import { type AdmitPlace, admit } from '../../server/admit.ts'
import {
  accountNamed,
  contract,
  domain,
  keyNamed,
  type SignOptions,
  voucherSignature,
} from '../accounting/vouchers.ts'
import { diskFull, merchant, NOW_MS, rig, tariff } from './payment-rig.ts'

const DAY = 86_400
const { operator, chainId } = domain
const alice = accountNamed('alice')

/** Alice's certificate, with a voucher of that amount or without one. */
function certificate(amount?: bigint, o: SignOptions & { operatorId?: number } = {}): Buffer {
  const key = { accountKey: keyNamed('alice'), chainId, contract, name: 'alice' }
  const signingKeyPem = deriveDeviceKey(key)
  const publicKey = createPublicKey(signingKeyPem).export({ type: 'spki', format: 'pem' })
  const notBefore = NOW_MS / 1_000 - 600
  const carried =
    amount === undefined
      ? {}
      : {
          voucherUri: formatVoucherUri({
            ...{ operator: o.operatorId ?? operator, amount },
            signature: voucherSignature('alice', amount, o),
          }),
        }
  const pem = makeBoundCertificate({
    ...{ ...key, ...carried, publicKey: publicKey.toString(), signingKeyPem },
    ...{ notBefore, notAfter: notBefore + 30 * DAY, serial: randomBytes(16) },
  })
  const der = pemBlock(pem, 'CERTIFICATE')
  if (der === undefined) throw new Error('no certificate')
  return der
}

/** Alice at an access point of the merchant; an interval costs 20 and a session reserves 60. */
function join(prepay: AdmissionRules['prepay'] = 'off') {
  const { world, ledger, payments, deposit, open } = rig()
  deposit('alice', 200n)
  const mirror: Mirror = {
    channel: (id, account) => (id === operator ? world.channels.get(account) : undefined),
    operatorsWithDeposit: () => [],
    deviceKey: () => 'unset',
    operator: () => undefined,
    head: () => undefined,
    heardAtMs: () => world.heardAtMs,
    connected: () => true,
    refresh: async () => true,
    onChange: () => () => {},
    async stop() {},
  }
  const deps = {
    ...{ mirror, operatorId: operator, ledger, payments, random: randomBytes },
    ...{ operatorAccount: accountNamed('operator'), now: () => world.nowMs },
    wallNow: () => world.nowMs,
    storageFailed: () => world.failed !== undefined,
    ensureAccount: async () => void (ledger.knows(alice) || ledger.meet(alice)),
    readIdentity: identityReader(identityDomain(chainId, contract), 10),
  }
  const place: AdmitPlace = {
    nasPlace: {
      ...{ nas: 'lobby', address: '192.0.2.1', nasIdentifier: 'ap', nasIpAddress: '192.0.2.1' },
      ...{ nasPort: 1, callingStationId: '02-00-00-00-00-01', calledStationId: '' },
      ...{ acctSessionId: '', acctMultiSessionId: '' },
    },
    ...{ merchant, tariff, staleAfterMs: 60_000 },
    rules: {
      ...{ takesDisconnect: true, sessionMaxMs: 3_600_000, perAccount: 10, prepay },
      ...{ newcomersPerClient: 10, arrearsWindowMs: 0 },
    },
  }
  /** Alice was here and left without paying. */
  const owing = (): string => {
    const id = open('alice')
    world.nowMs += 60_000
    ledger.close(id, 'stopped', world.nowMs)
    world.nowMs += 120_000
    world.heardAtMs = world.nowMs
    return id
  }
  return { world, ledger, owing, admit: (der: Buffer) => admit(der, place, deps) }
}

t.test('arrears and a first interval are paid inside EAP', async (t) => {
  const { ledger, world, owing, admit } = join()
  const old = owing()
  t.match(await admit(certificate()), { admitted: false, reason: 'debt' })
  const verdict = await admit(certificate(30n))
  t.match(verdict, { admitted: true, session: { kind: 'normal', account: alice } })
  t.equal(ledger.session(old)?.credit, 10n, 'the debt is paid in full')
  t.equal(ledger.account(alice)?.credit, 20n, 'the rest waits for the first interval')
  if (!verdict.admitted) return
  ledger.confirm(verdict.session.id, world.nowMs)
  world.nowMs += tariff.intervalMs
  ledger.advance(world.nowMs)
  t.match(ledger.session(verdict.session.id), { state: 'current', credit: 20n, missed: 0 })
  t.same(world.outcomes, ['paid'])
})

t.test('prepay: a newcomer’s first interval may come in its certificate', async (t) => {
  const { admit, ledger } = join('newcomers')
  t.match(await admit(certificate()), { admitted: false, reason: 'prepay-required' })
  t.match(await admit(certificate(19n)), { admitted: false, reason: 'prepay-required' })
  t.match(await admit(certificate(20n)), { admitted: true })
  t.equal(ledger.account(alice)?.voucher?.amount, 20n)
})

t.test('the same certificate at every join: its voucher pays once', async (t) => {
  const { admit, ledger, world } = join()
  const der = certificate(20n)
  for (const turn of [1, 2, 3]) t.match(await admit(der), { admitted: true }, `join ${turn}`)
  t.equal(ledger.account(alice)?.credit, 20n)
  t.same(world.outcomes, ['paid', 'not-higher', 'not-higher'])
})

t.test('a voucher that is refused refuses nobody: the decision rests on the books', async (t) => {
  const cases: [name: string, der: Buffer, outcome: string][] = [
    ['for another operator', certificate(30n, { operatorId: 4, operator: 4 }), 'wrong-operator'],
    ['another’s, said to be for us', certificate(30n, { operator: 4 }), 'bad-signature'],
    ['signed by bob', certificate(30n, { key: keyNamed('bob') }), 'bad-signature'],
    ['above the deposit', certificate(201n), 'over-deposit'],
  ]
  for (const [name, der, outcome] of cases) {
    const good = join()
    t.match(await good.admit(der), { admitted: true }, name)
    t.same(good.world.outcomes, [outcome], name)
    t.equal(good.ledger.account(alice)?.voucher, undefined, name)
    const indebted = join()
    indebted.owing()
    t.match(await indebted.admit(der), { admitted: false, reason: 'debt' }, `${name}, in debt`)
  }
})

t.test('a store that fails takes no voucher', async (t) => {
  const { admit, ledger, world } = join()
  world.failed = diskFull()
  t.match(await admit(certificate(30n)), { admitted: false, reason: 'storage-unavailable' })
  t.notOk(ledger.knows(alice))
})

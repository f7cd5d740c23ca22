// What a running payer keeps fresh beside paying: the certificate and the voucher it carries, and
// the paths of a profile whose folder was moved.

import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { deriveDeviceKey, makeBoundCertificate } from '../../certs/device.ts'
import { wpaSupplicantConf } from '../../certs/profiles/wpa_supplicant.ts'
import type { DeviceFile } from '../../device/device-file.ts'
import { amountToCarry, createMaintenance } from '../../device/maintenance.ts'
import { blockText, operatorCaFile } from '../../device/network-block.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import {
  carriedVoucher,
  isRenewalDue,
  mendPaths,
  renewCertificate,
  voucherUriOf,
} from '../../device/renewal.ts'
import type { RunEvent } from '../../device/run-events.ts'
import { freshState, type RunState } from '../../device/run-state.ts'
import { readSessions, type SessionView } from '../../device/session-view.ts'
import type { Till } from '../../device/till.ts'
import { EMPTY_BOOK } from '../../device/voucher-book.ts'
import type { Link } from '../../device/wpa-control.ts'
import { parseVoucherUri } from '../../ethereum/voucher-uri.ts'
import { CONTRACT, genuine, TOKEN } from './operator-double.ts'
import { accountKey, payingTo, sessionJson } from './payer-double.ts'

const DAY = 86_400
const NOW = 1_700_000_000
const to = payingTo('http://127.0.0.1:8080')
const device: DeviceFile = {
  ...{ version: 1, name: 'alice', kind: 'bound', account: to.account, contract: CONTRACT },
  ...{ operatorUrl: to.url, operatorId: 1, operatorName: 'Corner', chainId: 31337 },
  ...{ serverName: genuine.serverName, serverSpkiSha256: genuine.spkiSha256 },
  ...{ rpc: `${to.url}/v1/chain`, privateKey: 'key.pem' },
  token: { address: TOKEN, symbol: 'DNT', decimals: 18 },
}

/** DIR with a certificate of 30 days from NOW. */
function folder(t: { teardown(f: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-renewal-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const input = { accountKey, chainId: 31337n, contract: CONTRACT, name: 'alice' }
  const keyPem = deriveDeviceKey(input)
  const publicKey = publicPem(keyPem)
  const times = { notBefore: NOW, notAfter: NOW + 30 * DAY, serial: Buffer.alloc(16, 7) }
  const certificate = makeBoundCertificate({ ...input, ...times, publicKey, signingKeyPem: keyPem })
  writeFileSync(join(directory, 'key.pem'), keyPem)
  writeFileSync(join(directory, 'cert.pem'), certificate)
  return directory
}

const publicPem = (keyPem: string): string =>
  createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'pem' }).toString()
const certificateIn = (directory: string): X509Certificate =>
  new X509Certificate(readFileSync(join(directory, 'cert.pem')))

t.test('at two thirds of its life a certificate is renewed, for the same key', async (t) => {
  const directory = folder(t)
  t.equal(await isRenewalDue(directory, NOW + 20 * DAY - 1), false)
  t.equal(await isRenewalDue(directory, NOW + 20 * DAY), true)
  const before = certificateIn(directory)
  const renewal = { directory, device, accountKey }
  t.equal(await renewCertificate(renewal, NOW + 20 * DAY, undefined), NOW + 50 * DAY - 600)
  const after = certificateIn(directory)
  t.equal(await isRenewalDue(directory, NOW + 20 * DAY), false)
  t.ok(after.publicKey.equals(before.publicKey))
  t.ok(after.verify(after.publicKey), 'signed by the key of DIR')
  t.not(after.serialNumber, before.serialNumber)
  rmSync(join(directory, 'key.pem'))
  await renewCertificate(renewal, NOW + 40 * DAY, undefined)
  t.ok(certificateIn(directory).publicKey.equals(before.publicKey), 'also for a key in a token')
})

t.test('the voucher it carries comes back as it was put in', async (t) => {
  const directory = folder(t)
  t.equal(await carriedVoucher(directory), undefined)
  const uri = voucherUriOf(to, 123n)
  await renewCertificate({ directory, device, accountKey }, NOW, uri)
  t.equal(await carriedVoucher(directory), uri)
  t.match(parseVoucherUri(uri), { operator: 1, amount: 123n })
})

const blockOf = (directory: string, caFile = 'operator-ca.pem'): string =>
  wpaSupplicantConf({
    ...{ kind: 'bound', realm: 'corner.datanet.invalid', serverName: 'a.b' },
    caPath: join(directory, caFile),
    certificatePath: join(directory, 'cert.pem'),
    keyPath: join(directory, 'key.pem'),
  })

t.test('the paths of every block, after DIR moved', async (t) => {
  const place = folder(t)
  const profileOf = (directory: string): string =>
    `${blockOf(directory)}\n${blockText(blockOf(directory, operatorCaFile(7)), 7)}`
  for (const name of ['plain', "o'd", 'é']) {
    const directory = join(place, name)
    const path = join(directory, 'wpa_supplicant.conf')
    mkdirSync(directory)
    writeFileSync(path, profileOf('/old/alice'))
    t.equal(await mendPaths(directory, device), true, name)
    t.equal(readFileSync(path, 'utf8'), profileOf(directory), name)
    t.equal(await mendPaths(directory, device), false, `${name}: once is enough`)
  }
  t.equal(await mendPaths(join(place, 'nowhere'), device), false, 'no profile, nothing to mend')
})

const DOWN: Link = {
  ...{ isUp: false, isEap: false, isWifi: true, ssid: '', bssid: '', networkId: '', idText: '' },
}
const session = (o: Record<string, unknown>): SessionView => {
  const [read] = readSessions({ sessions: [sessionJson(o)] })
  if (read === undefined) throw new Error('no session')
  return read
}
const debt = session({ state: 'closed', due: '90' })
const open = session({ id: 'b'.repeat(32), paid: '30' })

function tillOf(sessions: readonly SessionView[], o: Partial<Till> = {}): Till {
  return {
    ...{ operatorId: 1, sessions, viewAtMs: 0, deposit: 1_000_000n, now: () => 1_100_000 },
    trust: undefined,
    book: { ...EMPTY_BOOK, taken: 500n, signed: 500n },
    ageMostMs: () => undefined,
    ask: async () => 0,
    outdate: () => undefined,
    pay: async () => ({ kind: 'known' }),
    report: async () => 'over',
    signed: async () => undefined,
    readDeposit: async () => undefined,
    ...o,
  }
}

async function stateOf(link: Link | undefined, seenMs?: number): Promise<RunState> {
  const state = await freshState(new Map())
  state.link = link
  if (seenMs === undefined) return state
  const { terms, startedAtMs } = open
  const times = { startedAtMs, connectedAtMs: startedAtMs, seenAtMs: startedAtMs + seenMs }
  const unwatched = { isFromStart: false, isWatched: false }
  state.seen.set(open.id, { terms, ...times, meter: undefined, boot: '', ...unwatched })
  return state
}

/** One interval: 60 for its time, 10,000 for its megabytes. */
const FIRST = 10_060n
const CARRIED: readonly [
  name: string,
  sessions: SessionView[],
  seenMs: number | undefined,
  due: bigint,
][] = [
  ['nothing is owed', [], undefined, 0n],
  ['a debt and a first interval', [debt], undefined, 500n + 90n + FIRST],
  ['a debt above its terms', [session({ state: 'closed', due: '99999' })], undefined, 0n],
  ['an open session by the own clock', [open], 120_000, 500n + 90n + FIRST],
  ['… paid as far as it went', [open], 30_000, 0n],
  ['… of a device that never saw it', [open], undefined, 0n],
]

t.test('what the certificate should carry while there is no connection', async (t) => {
  for (const [name, sessions, seenMs, due] of CARRIED) {
    const state = await stateOf(DOWN, seenMs)
    t.equal(amountToCarry(tillOf(sessions), state, DEFAULT_POLICY), due, name)
  }
  const policies = { off: 0n, arrears: 0n, prepay: 500n + FIRST }
  for (const [certificateVoucher, due] of Object.entries(policies)) {
    const policy = { ...DEFAULT_POLICY, certificateVoucher } as typeof DEFAULT_POLICY
    const paid = { ...open, paid: 120n }
    t.equal(
      amountToCarry(tillOf([paid]), await stateOf(DOWN, 60_000), policy),
      due,
      certificateVoucher,
    )
  }
  const up = await stateOf({ ...DOWN, isUp: true })
  t.equal(amountToCarry(tillOf([debt]), up, DEFAULT_POLICY), 0n, 'over HTTP it is named')
  const poor = tillOf([debt], { deposit: 500n + 90n })
  t.equal(amountToCarry(poor, await stateOf(DOWN), DEFAULT_POLICY), 0n, 'never above the deposit')
})

t.test('a running payer: once for each amount, noted before it is signed', async (t) => {
  const directory = folder(t)
  const told: RunEvent[] = []
  const noted: [bigint, string | undefined][] = []
  const till = tillOf([debt], {
    signed: async (amount) => void noted.push([amount, await carriedVoucher(directory)]),
  })
  writeFileSync(join(directory, 'wpa_supplicant.conf'), blockOf('/old/alice'))
  let nowMs = (NOW + DAY) * 1000
  const maintain = createMaintenance({
    ...{ directory, device, accountKey, policy: DEFAULT_POLICY },
    now: () => nowMs,
    emit: (event) => told.push(event),
  })
  const state = await stateOf(DOWN)
  for (let round = 0; round < 3; round++) await maintain({ till, to }, state)
  t.same(noted, [[500n + 90n + FIRST, undefined]])
  t.same(told, [
    { event: 'renewed', what: 'paths' },
    { event: 'renewed', what: 'voucher' },
  ])
  t.ok((await carriedVoucher(directory))?.startsWith(`datanet:voucher/1/1/${500n + 90n + FIRST}/`))
  nowMs += 21 * DAY * 1000
  told.splice(0)
  await maintain({ till, to }, state)
  t.same(told, [{ event: 'renewed', what: 'certificate' }])
  t.ok(await carriedVoucher(directory), 'renewed with what it carried')
  writeFileSync(join(directory, 'cert.pem'), 'broken')
  nowMs += DAY * 1000
  await maintain({ till, to }, state)
  t.match(told, [{}, { event: 'failed', what: 'certificate' }], 'told, and no reason to stop')
})

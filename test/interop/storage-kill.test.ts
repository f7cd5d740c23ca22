// kill -9 under load: whoever got an Accounting-Response or a receipt finds it in the store
// afterwards, each once. 100 times the accounting port, payment route, books and store alone (a
// whole server takes a second and a chain to start), a few times `datanet serve`. And the control:
// with its answers sent before they are durable the same server is found out.

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../ethereum/typed-data.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import { seeded } from '../sim/random.ts'
import { integrity, lost, startDoomed } from './doomed.ts'
import { forger } from './forged.ts'
import { openPayers } from './payers.ts'
import { createLoad, type Payer, payersOf, SECRET, stationOf } from './paying-load.ts'
import {
  type RunningServer,
  SECRET as SERVER_SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const SEED = 20_261_123
const KILLS = 100
const LANES = 2
/** Devices of each lane. */
const PAYERS = 24
const STEP = 1_000n
const TOLD_MS = 20_000
/** From its start to the moment it is ready, about. */
const START_MS = 350
/** How long it serves after its first answer, at most. */
const SERVING_MS = 60
/** Of a sabotaged server every kill but few lose something. */
const CONTROL_KILLS = 20
/** Of the whole server, and its devices. */
const SERVER_KILLS = 5
const SERVER_PAYERS = 6
const TOKEN = 10n ** 18n
const CLASS = 25

t.setTimeout(170_000)

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Numbers below 1 that are the same in every run. */
function randomOf(seed: string): () => number {
  const { below } = seeded(seed)
  return () => below(1_000_000) / 1_000_000
}

/** One server and its devices, from kill to kill. */
function lane(t: Test, seed: string, sabotage?: string) {
  const path = join(temporaryDirectory(t), 'books.sqlite')
  const random = randomOf(seed)
  const load = createLoad(payersOf(PAYERS), SECRET, STEP)
  return {
    ...{ load, path },
    /** Starts it on what the last one left, looks whether all is there, and kills it at work. */
    async live(name: string): Promise<string[]> {
      const server = startDoomed(path, PAYERS, sabotage)
      // One in eight dies while it loads, migrates or recovers.
      if (random() < 0.125) {
        await pause(random() * START_MS)
        await server.kill()
        return []
      }
      const ports = await server.ready
      if (ports === undefined) throw new Error(`${name}: it ended by itself: ${server.errors()}`)
      const found = lost(path, load.told)
      // Half of them die in their first transactions, half have paying devices by then.
      const told = random() < 0.5 ? () => load.count() : () => load.told.receipts.length
      const before = told()
      const life = await load.begin(ports)
      await waitFor(
        () => told() > before || server.child.exitCode !== null,
        TOLD_MS,
        () => `${name}: nothing was told: ${server.errors()}`,
      )
      await pause(random() * SERVING_MS)
      await server.kill()
      await life.end()
      t.equal(server.child.signalCode, 'SIGKILL', `${name}: killed at work`)
      t.equal(server.errors(), '', `${name}: and without an error before`)
      return found
    },
  }
}

async function killed(t: Test, seed: string, kills: number): Promise<void> {
  const { load, live, path } = lane(t, seed)
  for (let kill = 1; kill <= kills; kill++) {
    t.same(await live(`${seed}, kill ${kill}`), [], `${seed}: all is there before kill ${kill}`)
  }
  t.same(lost(path, load.told), [], `${seed}: all is there in the end`)
  t.equal(integrity(path), 'ok')
  t.same(load.unexpected, [], 'and nobody got another answer')
  const { records, receipts } = load.told
  t.ok(records.size > kills && receipts.length > kills)
  t.comment(`${seed}: ${kills} kills, ${records.size} responses, ${receipts.length} receipts`)
}

t.test(`kill -9 at ${KILLS} random moments`, async (t) => {
  const seeds = Array.from({ length: LANES }, (_, index) => `${SEED} ${index}`)
  await Promise.all(seeds.map((seed) => killed(t, seed, KILLS / LANES)))
})

for (const [what, message] of [
  ['responses before they are durable', /^answered, and not stored: record|^session \w+ has/],
  ['receipts before they are durable', /^a receipt, and not stored/],
] as const) {
  t.test(`the control: ${what}, and this test fails`, async (t) => {
    const { load, live, path } = lane(t, `${SEED} ${what}`, what)
    for (let kill = 1; kill <= CONTROL_KILLS; kill++) {
      await live(`kill ${kill}`)
      const found = lost(path, load.told)
      if (found.length === 0) continue
      t.match(found[0], message, `found out at kill ${kill}: ${found.length} were lost`)
      return
    }
    t.fail('a server that answers too early was never found out')
  })
}

/** A device with escrow, and a session that it opened by EAP-TLS. */
async function joined(server: RunningServer, n: number): Promise<Payer> {
  const payers = await openPayers(server)
  const { access, operatorId: operator } = payers
  const key = randomBytes(32)
  await payers.fund(key, operator, 100n * TOKEN)
  const secret = Buffer.from(SERVER_SECRET)
  const transport = openTransport({ host: '127.0.0.1', port: server.authPort, secret })
  const credential = forger(access, Math.floor(Date.now() / 1000))({ accountKey: key })
  const supplicant = createSupplicant({ tlsMin: '1.2', tlsMax: '1.3', ...credential })
  const station = stationOf(n)
  const who = { identity: 'anonymous@datanet', callingStationId: station }
  let session: string | undefined
  // The mirror hears of the deposit a moment after its transaction is durable.
  for (let attempt = 0; attempt < 10 && session === undefined; attempt++) {
    if (attempt > 0) await pause(500)
    const { attributes } = await authenticate({ transport, supplicant, ...who })
    const classText = attributes.find(({ type }) => type === CLASS)?.value.toString('latin1')
    session = /^ai:([0-9a-f]{32})$/.exec(classText ?? '')?.[1]
  }
  transport.close()
  if (session === undefined) {
    const why = server.log().findLast(({ msg }) => /^Login incorrect/.test(String(msg)))
    throw new Error(`device ${n} was not let in: ${JSON.stringify(why)}`)
  }
  const consumer = accountOf(key)
  const domain = payPlaceDomain(access.chainId, access.contract)
  return {
    ...{ account: consumer, session, station, acctSessionId: `S${n}` },
    payment(amount) {
      const bytes = signDigest(voucherDigest(domain, { consumer, operator, amount }), key)
      const signature = `0x${bytes.toString('hex')}`
      return JSON.stringify({ consumer, operator, amount: `${amount}`, signature, session })
    },
  }
}

t.test(`kill -9 of the whole server, ${SERVER_KILLS} times`, async (t) => {
  const directory = temporaryDirectory(t)
  const more = 'admission: { newcomers_per_client: 100 }\n'
  const config = testConfig({ more })
  const path = join(directory, 'data', 'datanet.sqlite')
  const random = randomOf(`${SEED} server`)
  let server = await startServer(t, { directory, config })
  const payers: Payer[] = []
  for (let n = 0; n < SERVER_PAYERS; n++) payers.push(await joined(server, n))
  const load = createLoad(payers, SERVER_SECRET, 10n ** 13n)
  for (let kill = 1; kill <= SERVER_KILLS; kill++) {
    const before = load.told.receipts.length
    const http = Number(new URL(server.url).port)
    const life = await load.begin({ accounting: server.accountingPort, http })
    await waitFor(
      () => load.told.receipts.length > before,
      TOLD_MS,
      () => `no receipt: ${JSON.stringify(server.log().slice(-3))}`,
    )
    await pause(random() * SERVING_MS)
    t.equal(await server.stop('SIGKILL'), 'SIGKILL')
    await life.end()
    server = await startServer(t, { directory, config })
    t.same(lost(path, load.told), [], `seed ${SEED}, kill ${kill}: ${load.count()} were told`)
  }
  t.same(load.unexpected, [])
  t.equal(await server.stop(), 0)
  t.equal(integrity(path), 'ok')
})

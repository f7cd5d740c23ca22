// The last step of a login: between the decision and the Access-Accept lies the disk.

import { pino } from 'pino'
import t from 'tap'
import type { Exchange } from '../../eap/exchange.ts'
import { AttributeType as A } from '../../radius/attribute-type.ts'
import { openRequest, sealRequest } from '../../radius/authenticator.ts'
import { splitEapMessage } from '../../radius/eap-message.ts'
import { Code } from '../../radius/packet.ts'
import { type AccessDeps, answerAccess } from '../../server/access.ts'
import { createConversations } from '../../server/conversations.ts'
import { createMetrics } from '../../server/metrics.ts'
import { accountOf, emptyLedger, idOf, newSession } from '../accounting/books.ts'
import { nas, source } from './accounting-rig.ts'
import { runtime } from './http-rig.ts'

const STATE = Buffer.alloc(16, 7)

/** A conversation whose TLS is done and whose session waits for the disk. */
function rig() {
  const ledger = emptyLedger()
  const disk = Promise.withResolvers<void>()
  const lines: { reason?: string }[] = []
  const exchange: Pick<Exchange, 'identity' | 'progress' | 'receive' | 'close'> = {
    ...{ identity: 'anonymous', progress: 3, close: () => undefined },
    receive: async () => ({
      ...{ do: 'accept', eap: Buffer.from([3, 1, 0, 4]), msk: Buffer.alloc(64) },
      ...{ emsk: Buffer.alloc(64), sessionId: Buffer.alloc(33), certificate: Buffer.alloc(0) },
      facts: { version: '1.3', cipher: '', group: '', resumed: false },
    }),
  }
  const conversations = createConversations(
    () => ({ conversationsMax: 1, perNasMax: 1, idleMs: 10_000 }),
    () => undefined,
  )
  const reserved = ledger.begin(newSession(1), 1_000)
  conversations.add(
    {
      ...{ stateAttribute: STATE, nas: nas.name, station: 'x', startedAtMs: 1_000 },
      ...{ progressAtMs: 1_000, busy: false, reserved, exchange: exchange as Exchange },
      ...{ refusedAccount: undefined, refusedDetail: undefined, resumed: false },
    },
    1_000,
  )
  const deps: Partial<AccessDeps> = {
    ...{ ledger, conversations, now: () => 2_000, rules: () => runtime.rules },
    random: (length) => Buffer.alloc(length, 1),
    committer: { durable: () => disk.promise, failed: () => undefined },
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    ...{ metrics: createMetrics(), chargeableIdentityKey: Buffer.alloc(32) },
  }
  const attributes = [
    { type: A.state, value: STATE },
    ...splitEapMessage(Buffer.from([2, 1, 0, 4])),
  ]
  const authenticator = Buffer.alloc(16, 9)
  const sealed = sealRequest(
    { code: Code.accessRequest, identifier: 1, attributes, authenticator },
    nas.secret,
  )
  const request = openRequest(sealed, nas.secret, nas)
  const answered = answerAccess(request, nas, source, deps as AccessDeps)
  return { ledger, disk, answered, lines }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('the Accept goes out once its session is on disk', async (t) => {
  const { ledger, disk, answered, lines } = rig()
  await turn()
  t.equal(lines.length, 0)
  disk.resolve()
  t.match(await answered, { code: Code.accessAccept })
  t.equal(ledger.session(idOf(1))?.state, 'opened')
})

t.test('who is ended while its Accept waits for the disk is not let in', async (t) => {
  type Books = ReturnType<typeof rig>['ledger']
  const cases: [name: string, end: (books: Books) => void, reason: string][] = [
    ['by the chain', (books) => books.cut(idOf(1), 'escrow-removed', 2_001), 'insufficient-escrow'],
    [
      'by the chain, and its NAS has no such session',
      (books) => {
        books.cut(idOf(1), 'escrow-removed', 2_001)
        books.close(idOf(1), 'disconnected', 2_002)
      },
      'insufficient-escrow',
    ],
    ['by the operator', (books) => books.cut(idOf(1), 'operator', 2_001), 'session-ended'],
    ['by a newer login', (books) => books.close(idOf(1), 'replaced', 2_001), 'session-ended'],
  ]
  for (const [name, end, reason] of cases) {
    const { ledger, disk, answered, lines } = rig()
    await turn()
    end(ledger)
    disk.resolve()
    t.match(await answered, { code: Code.accessReject }, name)
    t.equal(ledger.session(idOf(1))?.state, 'closed', name)
    t.match(lines.at(-1), { reason }, name)
    t.equal(ledger.account(accountOf(1))?.cuts, 0)
  }
})

// eap/conversation.ts: every turn of the machine as one line of a table, then its limits.

import t from 'tap'
import {
  type Conversation,
  type EapAction,
  INVALID_MAX,
  newConversation,
  step,
} from '../../eap/conversation.ts'
import type { TlsOutcome } from '../../eap/engine.ts'

const limits = { roundsMax: 50, messageBytesMax: 65_536 }
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/**
 * `<response hex` from the peer, `>packet` sent, `=reply`; outcomes of TLS and the decision by
 * name.
 */
interface Run {
  readonly conversation: Conversation
  readonly said: readonly string[]
}

const outcomes: Record<string, TlsOutcome> = {
  'tls short': { status: 'continue', bytes: Buffer.from('flight') },
  'tls long': { status: 'continue', bytes: Buffer.alloc(100, 0x66) },
  'tls established': { status: 'established' },
  'tls failed': { status: 'failed', bytes: hex('15030300020228'), reason: 'tls-x', detail: 'X' },
  'tls failed mutely': { status: 'failed', bytes: Buffer.alloc(0), reason: 'tls-y' },
}

const packetBytesMax = 64

function run(
  script: readonly string[],
  from: Conversation = newConversation(254),
  to = limits,
): Run {
  let conversation = from
  const said: string[] = []
  for (const line of script) {
    const outcome = outcomes[line]
    let action: EapAction
    if (outcome !== undefined) {
      ;[conversation, action] = step(conversation, { type: 'tls', outcome, packetBytesMax }, to)
    } else if (line === 'accept' || line === 'refuse') {
      const bytes = Buffer.from(line)
      const event = { type: 'decision', accept: line === 'accept', reason: 'no-escrow' } as const
      ;[conversation, action] = step(conversation, { ...event, bytes, packetBytesMax }, to)
    } else {
      const event = { type: 'response', bytes: hex(line), packetBytesMax } as const
      ;[conversation, action] = step(conversation, event, to)
    }
    said.push(describe(action))
  }
  return { conversation, said }
}

function describe(action: EapAction): string {
  const reason = 'reason' in action ? ` ${action.reason}` : ''
  if ('eap' in action) return `${action.do} ${action.eap.toString('hex')}${reason}`
  return `${action.do}${'flight' in action ? ` ${action.flight}` : ''}${reason}`
}

const IDENTITY = '02fe000501'
const START = 'send 01ff00060d20'
/** A one-packet answer `hi` to the start. */
const HELLO = '02ff00080d006869'
const running = [IDENTITY, HELLO]
const toDecision = [...running, 'tls short', '0200 0008 0d00 6869', 'tls established']
const flightSent = 'send 0100000c0d00666c69676874'

/**
 * The turns before the one under test are in the script; `want` is what the last line of it brings.
 */
const table: { name: string; script: readonly string[]; want: string }[] = [
  { name: 'E4 an EAP-Start is asked for its identity', script: [''], want: 'send 01fe000501' },
  { name: 'E4 then the method starts', script: ['', IDENTITY], want: START },
  { name: 'L1 Start: flags 0x20, no L, no data', script: [IDENTITY], want: START },
  { name: 'L13 any outer identity', script: ['02fe000a01 4061 2e6263'], want: START },
  { name: 'E8 the identifier wraps at 256', script: ['02ff000501'], want: 'send 010000060d20' },
  { name: 'the first packet is malformed', script: ['02fe000601'], want: 'ignore eap-malformed' },
  { name: 'the first packet is a request', script: ['01fe000501'], want: 'ignore eap-malformed' },
  {
    name: 'the first packet is of a lost conversation',
    script: ['02fe00060d00'],
    want: 'reject 04fe0004 eap-unknown-conversation',
  },
  {
    name: 'another EAP-Start instead of the identity',
    script: ['', ''],
    want: 'resend 01fe000501 eap-malformed',
  },
  {
    name: 'another type instead of the identity',
    script: ['', '02fe00060d00'],
    want: 'resend 01fe000501 eap-unexpected-type',
  },
  { name: 'E9 Nak', script: [IDENTITY, '02ff00060319'], want: 'reject 04ff0004 eap-nak' },
  {
    name: 'E9 expanded Nak',
    script: [IDENTITY, '02ff0014fe00000000000003fe00000000000019'],
    want: 'reject 04ff0004 eap-nak',
  },
  {
    name: 'E9 a Nak after the first answer is not one',
    script: [...running, 'tls short', '020000060319'],
    want: 'resend 0100000c0d00666c69676874 eap-unexpected-nak',
  },
  {
    name: 'another method',
    script: [IDENTITY, '02ff00061900'],
    want: 'resend 01ff00060d20 eap-unexpected-type',
  },
  {
    name: 'another identity',
    script: [IDENTITY, '02ff000501'],
    want: 'resend 01ff00060d20 eap-unexpected-type',
  },
  {
    name: 'E6 malformed',
    script: [IDENTITY, '02ff00070d00'],
    want: 'resend 01ff00060d20 eap-malformed',
  },
  {
    name: 'E6 a request',
    script: [IDENTITY, '01ff00060d00'],
    want: 'resend 01ff00060d20 eap-malformed',
  },
  {
    name: 'E6 a success',
    script: [IDENTITY, '03ff0004'],
    want: 'resend 01ff00060d20 eap-malformed',
  },
  {
    name: 'E6 EAP-TLS without flags',
    script: [IDENTITY, '02ff00050d'],
    want: 'resend 01ff00060d20 eap-tls-malformed',
  },
  {
    name: 'E6 L without a length',
    script: [IDENTITY, '02ff00080d800000'],
    want: 'resend 01ff00060d20 eap-tls-malformed',
  },
  {
    name: 'E8 a duplicate',
    script: [IDENTITY, IDENTITY],
    want: 'resend 01ff00060d20 eap-duplicate',
  },
  {
    name: 'E8 a wrong identifier',
    script: [IDENTITY, '020300060d00'],
    want: 'resend 01ff00060d20 eap-identifier',
  },
  {
    name: 'L4 Start from the peer',
    script: [IDENTITY, '02ff00060d20'],
    want: 'reject 04ff0004 eap-tls-start-from-peer',
  },
  {
    name: 'an empty answer to the start',
    script: [IDENTITY, '02ff00060d00'],
    want: 'reject 04ff0004 eap-tls-empty-message',
  },
  { name: 'a whole flight runs TLS', script: running, want: 'run-tls hi' },
  {
    name: 'L3 a fragment is acknowledged with the flags octet only',
    script: [IDENTITY, '02ff000c0dc000000004 6162'],
    want: 'send 010000060d00',
  },
  {
    name: 'L3 the last fragment runs TLS',
    script: [IDENTITY, '02ff000c0dc000000004 6162', '020000080d00 6364'],
    want: 'run-tls abcd',
  },
  {
    name: 'L4 a length that lies',
    script: [IDENTITY, '02ff000c0dc000000004 6162', '020000070d00 63'],
    want: 'reject 04000004 eap-tls-length-mismatch',
  },
  {
    name: 'a duplicate between fragments',
    script: [IDENTITY, '02ff000c0dc000000004 6162', '02ff000c0dc000000004 6162'],
    want: 'resend 010000060d00 eap-duplicate',
  },
  { name: 'busy while TLS runs', script: [...running, HELLO], want: 'ignore eap-busy' },
  {
    name: 'a decision out of turn',
    script: [...running, 'accept'],
    want: 'ignore eap-out-of-turn',
  },
  { name: 'TLS out of turn', script: [IDENTITY, 'tls short'], want: 'ignore eap-out-of-turn' },
  {
    name: 'L2 a flight in one packet has no L',
    script: [...running, 'tls short'],
    want: flightSent,
  },
  {
    name: 'L2 a long one has L on the first',
    script: [...running, 'tls long'],
    want: `send 010000400dc000000064${'66'.repeat(54)}`,
  },
  {
    name: 'L3 an ack brings the next',
    script: [...running, 'tls long', '020000060d00'],
    want: `send 010100340d00${'66'.repeat(46)}`,
  },
  {
    name: 'data instead of the ack',
    script: [...running, 'tls long', '020000070d0061'],
    want: 'reject 04000004 eap-tls-data-instead-of-ack',
  },
  {
    name: 'a start instead of the ack',
    script: [...running, 'tls long', '020000060d20'],
    want: 'reject 04000004 eap-tls-data-instead-of-ack',
  },
  {
    name: 'an ack to a flight that is complete',
    script: [...running, 'tls long', '020000060d00', '020100060d00'],
    want: 'reject 04010004 eap-tls-empty-message',
  },
  { name: 'established asks for a decision', script: toDecision, want: 'decide' },
  { name: 'busy while deciding', script: [...toDecision, HELLO], want: 'ignore eap-busy' },
  {
    name: 'L8 the commitment is sent',
    script: [...toDecision, 'accept'],
    want: 'send 0101000c0d00616363657074',
  },
  {
    name: 'L8 its ack brings the success, with the identifier of the ack',
    script: [...toDecision, 'accept', '020100060d00'],
    want: 'accept 03010004',
  },
  {
    name: 'L7 data after the commitment is no ack',
    script: [...toDecision, 'accept', '0201000d0d00 15030300020230'],
    want: 'reject 04010004 eap-tls-data-instead-of-ack',
  },
  {
    name: 'a wrong identifier is no ack',
    script: [...toDecision, 'accept', '020000060d00'],
    want: 'resend 0101000c0d00616363657074 eap-duplicate',
  },
  {
    name: 'a Nak is no ack',
    script: [...toDecision, 'accept', '020100060319'],
    want: 'resend 0101000c0d00616363657074 eap-unexpected-nak',
  },
  {
    name: 'nothing after the success',
    script: [...toDecision, 'accept', '020100060d00', '020100060d00'],
    want: 'ignore eap-finished',
  },
  {
    name: 'L6 a refusal sends the alert',
    script: [...toDecision, 'refuse'],
    want: 'send 0101000c0d00726566757365',
  },
  {
    name: 'L6 its ack brings the failure',
    script: [...toDecision, 'refuse', '020100060d00'],
    want: 'reject 04010004 no-escrow',
  },
  {
    name: 'L6 a new ClientHello after the alert too',
    script: [...toDecision, 'refuse', '020100080d006869'],
    want: 'reject 04010004 no-escrow',
  },
  {
    name: 'L6 a duplicate after the alert is no answer to it',
    script: [...toDecision, 'refuse', '020000080d006869'],
    want: 'resend 0101000c0d00726566757365 eap-duplicate',
  },
  {
    name: 'L6 an alert of TLS is sent',
    script: [...running, 'tls failed'],
    want: 'send 0100000d0d0015030300020228',
  },
  {
    name: 'L6 and acknowledged',
    script: [...running, 'tls failed', '020000060d00'],
    want: 'reject 04000004 tls-x',
  },
  {
    name: 'without an alert the failure comes at once',
    script: [...running, 'tls failed mutely'],
    want: 'reject 04ff0004 tls-y',
  },
  {
    name: 'nothing after a failure',
    script: [...running, 'tls failed mutely', '02ff00060d00'],
    want: 'ignore eap-finished',
  },
  {
    name: 'TLS that answers after the end is not heard',
    script: [...running, 'tls failed mutely', 'tls short'],
    want: 'ignore eap-finished',
  },
]

for (const { name, script, want } of table) {
  t.test(name, async (t) => {
    t.equal(run(script).said.at(-1), want)
  })
}

t.test('step changes nothing that it was given', async (t) => {
  const before = run([...running, 'tls long']).conversation
  const copy = JSON.stringify(before)
  run(['020000060d00'], before)
  t.equal(JSON.stringify(before), copy)
  t.equal(run(['020000060d00'], before).said[0], run(['020000060d00'], before).said[0])
})

t.test('E6 invalid responses are answered with the request, but not without end', async (t) => {
  const bad = Array.from({ length: INVALID_MAX + 1 }, () => '020900060d00')
  const { said, conversation } = run([IDENTITY, ...bad])
  t.same(said.slice(1, -1), Array(INVALID_MAX).fill('resend 01ff00060d20 eap-identifier'))
  t.equal(said.at(-1), 'reject 04ff0004 eap-invalid-exceeded')
  t.equal(conversation.name, 'done')
  const spread = [
    IDENTITY,
    '0209',
    '02ff000c0dc000000004 6162',
    '0209',
    '0209',
    '0209',
    '0209',
    '0209',
  ]
  t.equal(
    run(spread).said.at(-1),
    'reject 04000004 eap-invalid-exceeded',
    'progress does not reset it',
  )
})

t.test('rounds are limited, whatever they carry', async (t) => {
  let conversation = run([IDENTITY]).conversation
  let last = ''
  let rounds = 1
  for (let identifier = 255; rounds < 1000 && conversation.name !== 'done'; rounds++) {
    const response = Buffer.from([2, identifier, 0, 7, 13, 0x40, 0x61]).toString('hex')
    const next = run([response], conversation, { ...limits, roundsMax: 20 })
    conversation = next.conversation
    last = next.said[0] ?? ''
    identifier = (identifier + 1) % 256
  }
  t.match(last, /eap-rounds-exceeded$/)
  t.equal(rounds, 21)
})

t.test('L4 64 KiB are the end of it, in fragments of any size', async (t) => {
  const big = Buffer.alloc(1500)
  big.set([2, 255, 1500 >> 8, 1500 & 255, 13, 0x40])
  let { conversation } = run([IDENTITY])
  let last = ''
  for (let n = 0; n < 100 && conversation.name !== 'done'; n++) {
    if ('identifier' in conversation) big[1] = conversation.identifier
    const next = run([big.toString('hex')], conversation, { ...limits, roundsMax: 200 })
    conversation = next.conversation
    last = next.said[0] ?? ''
  }
  t.match(last, /eap-tls-message-too-large$/)
})

t.test('E8 identifiers go up by one over a long message, through 255 and 0', async (t) => {
  const flight = { status: 'continue', bytes: Buffer.alloc(20_000) } as const
  let [conversation] = step(
    run(running).conversation,
    { type: 'tls', outcome: flight, packetBytesMax },
    limits,
  )
  const seen: number[] = []
  while (conversation.name === 'send-fragments') {
    seen.push(conversation.identifier)
    const ack = Buffer.from([2, conversation.identifier, 0, 6, 13, 0])
    const event = { type: 'response', bytes: ack, packetBytesMax } as const
    ;[conversation] = step(conversation, event, { ...limits, roundsMax: 1000 })
  }
  t.same(
    seen,
    seen.map((_, i) => i % 256),
  )
  t.ok(seen.length > 300)
})

t.test('RFC 5216 §2.1.2: an accept without a flight of ours is EAP-Success at once', async (t) => {
  const decide = (accept: boolean, bytes: Buffer) => {
    const asked = run(toDecision).conversation
    const event = { type: 'decision', accept, reason: 'no-escrow', bytes, packetBytesMax } as const
    return step(asked, event, limits)
  }
  const success = { do: 'accept', eap: Buffer.from([3, 0, 0, 4]) }
  t.same(decide(true, Buffer.alloc(0)), [{ name: 'done' }, success])
  t.match(decide(true, Buffer.alloc(1))[0], { name: 'await-commit-ack' })
  t.match(decide(false, Buffer.alloc(0))[1], { do: 'reject', reason: 'no-escrow' })
})

// One EAP-TLS conversation from the supplicant's side, NAS included: Access-Requests out, the final
// packet judged. Compares the MPPE keys of the reply with its own MSK. It never retries a
// conversation and keeps no state between two. Called by tests and by the load generator of bench/.

import { createHash } from 'node:crypto'
import { joinEapMessage, splitEapMessage } from '../../radius/eap-message.ts'
import {
  type Attribute,
  allAttributes,
  Code,
  firstAttribute,
  type Packet,
} from '../../radius/packet.ts'
import { EapPeerError, openEapPeer } from './eap.ts'
import type { Supplicant, SupplicantTls, TlsVersion } from './tls.ts'
import type { Exchanged, RadiusTransport } from './transport.ts'

const USER_NAME = 1
const STATE = 24
const VENDOR_SPECIFIC = 26
const CALLING_STATION_ID = 31
const MESSAGE_AUTHENTICATOR = 80
const FRAGMENT_SIZE = 1300
// 64 KB of server flight in fragments of 1000 octets; fragments of 100 need about 50.
const ROUNDS_MAX = 100

/** One conversation to hold. */
export interface PeerOptions {
  readonly transport: RadiusTransport
  readonly supplicant: Supplicant
  /** Outer identity: EAP-Response/Identity and User-Name. */
  readonly identity: string
  readonly callingStationId?: string
  /** Sent in every Access-Request after User-Name. */
  readonly attributes?: readonly Attribute[]
  /** TLS session of an earlier conversation, offered for resumption. */
  readonly session?: Buffer
  /** Most TLS octets in one EAP response. */
  readonly fragmentSize?: number
  /**
   * Stop answering after that many Access-Requests have been answered: a half-open conversation.
   */
  readonly abandonAfterRounds?: number
}

/** How a conversation ended. */
export interface PeerResult {
  /**
   * `accept` and `reject`: the server's word. `timeout`: no reply in time. `abandoned`: as asked
   * for.
   * `untrusted`: the supplicant did not trust the server and left. `violation`: the server broke a
   * protocol.
   */
  readonly outcome: 'accept' | 'reject' | 'timeout' | 'abandoned' | 'untrusted' | 'violation'
  /** Access-Requests sent, retransmissions not counted. */
  readonly rounds: number
  /** Accept only: MS-MPPE-Recv-Key and -Send-Key decrypt to the supplicant's own MSK. */
  readonly keysMatch: boolean
  /** TLS alert the server sent. */
  readonly alert: number | undefined
  /** Attributes of the last packet received. */
  readonly attributes: readonly Attribute[]
  /**
   * EAP code in the last packet: 3 Success, 4 Failure, undefined where it carried no EAP-Message.
   */
  readonly eapCode: number | undefined
  readonly tlsVersion: TlsVersion | undefined
  /** TLS application data received: one octet 0x00 in TLS 1.3 (RFC 9190 §2.5), none in 1.2. */
  readonly applicationData: Buffer
  /** Own EAP Session-Id, to compare with EAP-Key-Name; undefined where TLS was not established. */
  readonly sessionId: Buffer | undefined
  /** The server took up the session offered. */
  readonly resumed: boolean
  /** Session or ticket the server gave, for the next conversation; secret, undefined for none. */
  readonly session: Buffer | undefined
  /** What was wrong, for `violation`. */
  readonly detail: string
}

type Ending = Pick<PeerResult, 'outcome' | 'detail'>

/** Holds one conversation to its end. Never throws: what the server did wrong is in the result. */
export async function authenticate(options: PeerOptions): Promise<PeerResult> {
  const tls = options.supplicant.open(options.session)
  const progress: Progress = { rounds: 0, last: undefined }
  try {
    const ending = await converse(options, tls, progress)
    return describe(options.transport.secret, tls, progress, ending)
  } finally {
    tls.close()
  }
}

interface Progress {
  rounds: number
  last: Exchanged | undefined
}

async function converse(
  options: PeerOptions,
  tls: SupplicantTls,
  progress: Progress,
): Promise<Ending> {
  const fragmentSize = options.fragmentSize ?? FRAGMENT_SIZE
  const peer = openEapPeer({ identity: options.identity, fragmentSize, tls })
  let eap = peer.identityResponse()
  while (progress.rounds < ROUNDS_MAX) {
    progress.rounds += 1
    const state = progress.last && firstAttribute(progress.last.reply, STATE)
    const exchanged = await options.transport.exchange(requestAttributes(options, eap, state))
    if (exchanged === undefined) return { outcome: 'timeout', detail: 'no reply' }
    progress.last = exchanged
    const { reply } = exchanged
    const wrong = faultOf(reply)
    if (wrong !== undefined) return { outcome: 'violation', detail: wrong }
    if (reply.code === Code.accessAccept) return { outcome: 'accept', detail: '' }
    if (reply.code === Code.accessReject) return { outcome: 'reject', detail: '' }
    if (progress.rounds === options.abandonAfterRounds) return { outcome: 'abandoned', detail: '' }
    try {
      eap = await peer.respond(joinEapMessage(reply) ?? Buffer.alloc(0))
    } catch (error) {
      if (!(error instanceof EapPeerError)) throw error
      return { outcome: 'violation', detail: error.message }
    }
    if (tls.status() === 'untrusted') return { outcome: 'untrusted', detail: '' }
  }
  return { outcome: 'violation', detail: `no end after ${ROUNDS_MAX} rounds` }
}

function requestAttributes(
  options: PeerOptions,
  eap: Buffer,
  state: Buffer | undefined,
): Attribute[] {
  const station = options.callingStationId
  return [
    { type: USER_NAME, value: Buffer.from(options.identity) },
    ...(station === undefined ? [] : [{ type: CALLING_STATION_ID, value: Buffer.from(station) }]),
    ...(options.attributes ?? []),
    ...(state === undefined ? [] : [{ type: STATE, value: state }]),
    ...splitEapMessage(eap),
  ]
}

// RFC 3579 §2.6.3: Success only in an Accept, Failure only in a Reject, Requests in a Challenge.
const wantedEapCode: ReadonlyMap<number, number> = new Map([
  [Code.accessAccept, 3],
  [Code.accessReject, 4],
  [Code.accessChallenge, 1],
])

/**
 * What RFC 3579 and RFC 2865 ask of each reply beyond its authenticators; undefined when all is
 * well.
 */
function faultOf(reply: Packet): string | undefined {
  const want = wantedEapCode.get(reply.code)
  if (want === undefined) return `code ${reply.code} in answer to an Access-Request`
  const eapCode = joinEapMessage(reply)?.[0]
  // RFC 3579 §3.2: a packet with EAP-Message and without Message-Authenticator must be discarded.
  if (eapCode !== undefined && allAttributes(reply, MESSAGE_AUTHENTICATOR).length !== 1) {
    return 'EAP-Message without exactly one Message-Authenticator'
  }
  if (eapCode !== undefined && eapCode !== want) return `EAP code ${eapCode}, ${want} was due`
  return undefined
}

function describe(
  secret: Buffer,
  tls: SupplicantTls,
  progress: Progress,
  ending: Ending,
): PeerResult {
  const keys = tls.status() === 'established' ? tls.keys() : undefined
  const accepted = ending.outcome === 'accept' && progress.last !== undefined
  const msk = accepted && progress.last ? mskOf(progress.last, secret) : undefined
  return {
    ...ending,
    rounds: progress.rounds,
    keysMatch: msk !== undefined && keys !== undefined && msk.equals(keys.msk),
    alert: tls.alert(),
    attributes: progress.last?.reply.attributes ?? [],
    eapCode: progress.last && joinEapMessage(progress.last.reply)?.[0],
    tlsVersion: tls.version(),
    applicationData: tls.applicationData(),
    sessionId: keys?.sessionId,
    resumed: tls.resumed(),
    session: tls.session(),
  }
}

/**
 * The MSK as the server put it in the reply: MS-MPPE-Recv-Key, then MS-MPPE-Send-Key (RFC 2548
 * §2.4).
 */
function mskOf({ request, reply }: Exchanged, secret: Buffer): Buffer | undefined {
  const halves = new Map<number, Buffer>()
  for (const value of allAttributes(reply, VENDOR_SPECIFIC)) {
    if (value.length < 8 || value.readUInt32BE(0) !== 311) continue
    const key = decryptMppeKey(
      value.subarray(6, 4 + (value[5] ?? 0)),
      request.authenticator,
      secret,
    )
    if (key !== undefined) halves.set(value[4] ?? 0, key)
  }
  const receive = halves.get(17)
  const send = halves.get(16)
  return receive && send && Buffer.concat([receive, send])
}

function decryptMppeKey(salted: Buffer, authenticator: Buffer, secret: Buffer): Buffer | undefined {
  const cipher = salted.subarray(2)
  if (cipher.length === 0 || cipher.length % 16 !== 0) return undefined
  const plain = Buffer.alloc(cipher.length)
  let feedback = Buffer.concat([authenticator, salted.subarray(0, 2)])
  for (let at = 0; at < cipher.length; at += 16) {
    const pad = createHash('md5').update(secret).update(feedback).digest()
    feedback = Buffer.from(cipher.subarray(at, at + 16))
    for (let i = 0; i < 16; i++) plain[at + i] = (feedback[i] ?? 0) ^ (pad[i] ?? 0)
  }
  const length = plain[0] ?? 0
  return length < plain.length ? plain.subarray(1, 1 + length) : undefined
}

// One datagram in, one reply or silence out: the whole policy of the RADIUS ports on one screen.
// Source to NAS, authenticators, duplicates, then the room that answers. The cheapest refusal comes
// first, and what is refused gets no answer, since any reply to a stranger can be used to amplify.
// Called by socket.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import type { NasEntry } from '../config/config.ts'
import { openRequest, sealReply, type VerifiedPacket } from '../radius/authenticator.ts'
import type { Duplicates } from '../radius/duplicates.ts'
import { RadiusError } from '../radius/error.ts'
import { Code } from '../radius/packet.ts'
import type { Answer } from './access.ts'
import type { Log, rateLimited } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Handle, Source } from './socket.ts'

export type RadiusPort = 'auth' | 'accounting'

export interface RadiusDeps {
  readonly port: RadiusPort
  readonly nasOf: (address: string) => NasEntry | undefined
  readonly duplicates: Duplicates
  readonly answer: (request: VerifiedPacket, nas: NasEntry, source: Source) => Promise<Answer>
  readonly rejectDelayMs: () => number
  /** Rejects held back at once; what comes beyond is answered at once. */
  readonly delayedMax: number
  readonly now: () => number
  readonly log: Log
  readonly logRate: ReturnType<typeof rateLimited>
  readonly metrics: Metrics
}

/** RFC 5997 §4: what each port answers to Status-Server, and the one request it takes besides. */
const PORT_CODES = {
  auth: { request: Code.accessRequest, alive: Code.accessAccept },
  accounting: { request: Code.accountingRequest, alive: Code.accountingResponse },
} as const

/** The handler of one RADIUS port. */
export function createRadiusHandler(deps: RadiusDeps): Handle {
  const { request: requestCode, alive } = PORT_CODES[deps.port]
  let delayed = 0

  const drop = (reason: string, source: Source, text: string): undefined => {
    deps.metrics.dropped.inc({ reason })
    deps.logRate(`${reason} ${source.address}`, deps.now(), (suppressed) => {
      const from = { reason, address: source.address, port: source.port }
      deps.log.warn(suppressed > 0 ? { ...from, suppressed } : from, text)
    })
  }

  const open = (datagram: Buffer, nas: NasEntry, source: Source): VerifiedPacket | undefined => {
    try {
      return openRequest(datagram, nas.secret, nas)
    } catch (error) {
      if (!(error instanceof RadiusError)) throw error
      return drop(error.code, source, `Discarding packet from client ${nas.name}: ${error.message}`)
    }
  }

  /** RFC 2865 asks for no delay, but a second slows guessing and looping supplicants alike. */
  const delayReject = async (): Promise<void> => {
    const delayMs = deps.rejectDelayMs()
    if (delayMs === 0 || delayed >= deps.delayedMax) return
    delayed += 1
    await sleep(delayMs, undefined, { ref: false })
    delayed -= 1
  }

  const work = async (datagram: Buffer, source: Source): Promise<Buffer | undefined> => {
    deps.metrics.requests.inc({ port: deps.port })
    const nas = deps.nasOf(source.address)
    if (nas === undefined) {
      const text = `Ignoring request to ${deps.port} address from unknown client ${source.address} port ${source.port}`
      return drop('unknown-client', source, text)
    }
    const request = open(datagram, nas, source)
    if (request === undefined) return undefined
    if (request.code === Code.statusServer) return sealReply(request, alive, [], nas.secret)
    if (request.code !== requestCode) {
      return drop('code-unexpected', source, `Ignoring code ${request.code} on this port`)
    }
    const seen = deps.duplicates.begin(source, request, deps.now())
    if (seen.do === 'resend') return seen.reply
    if (seen.do === 'ignore') {
      return drop('duplicate', source, `Discarding duplicate request from client ${nas.name}`)
    }
    let reply: Buffer | undefined
    try {
      const answer = await deps.answer(request, nas, source)
      if ('drop' in answer) {
        return drop(answer.drop, source, `No reply to client ${nas.name}: ${answer.drop}`)
      }
      if (answer.code === Code.accessReject) await delayReject()
      reply = sealReply(request, answer.code, answer.attributes, nas.secret)
      deps.metrics.replies.inc({ nas: nas.name, code: String(answer.code) })
      return reply
    } catch (error) {
      // What is inside can be wrong although the packet was signed: scattered EAP-Messages, say.
      if (!(error instanceof RadiusError)) throw error
      return drop(error.code, source, `No reply to client ${nas.name}: ${error.message}`)
    } finally {
      // Nothing to send again: the next copy of this request is worked on anew.
      if (reply === undefined) deps.duplicates.forget(seen.entry)
      else deps.duplicates.finish(seen.entry, reply)
    }
  }

  return (datagram, source) =>
    work(datagram, source).catch((error) => {
      // A fault of ours: this packet is lost, the server goes on, the log has what is needed to
      // mend it.
      deps.metrics.dropped.inc({ reason: 'internal-error' })
      deps.log.error(
        { err: error, address: source.address },
        'a RADIUS packet could not be handled',
      )
      return undefined
    })
}

// What a NAK means for us: the table of Error-Cause values (RFC 5176 §3.5), each with what to do
// next and, where an operator can mend it, a sentence for the log. Pure; called by
// dynamic-authorization-step.ts.

/**
 * `gone`: the NAS has no such session, as we wanted. `next`: ask again with the next, smaller set
 * of attributes. `without-nas`: ask again without naming the NAS. `fail`: asking again at once
 * can't help.
 */
export type Remedy = 'gone' | 'next' | 'without-nas' | 'fail'

/** What to do about one kind of NAK. `advice` is for the operator and names no session. */
export interface NakMeaning {
  readonly remedy: Remedy
  readonly advice: string | undefined
}

const gone: NakMeaning = { remedy: 'gone', advice: undefined }
const next = (advice: string): NakMeaning => ({ remedy: 'next', advice })
const fail = (advice?: string): NakMeaning => ({ remedy: 'fail', advice })

const OTHER_PROFILE = 'no set of attributes of this nas_type suits it: try another nas_type'

const MEANINGS: ReadonlyMap<number, NakMeaning> = new Map([
  [401, next(OTHER_PROFILE)],
  // Sets differ in more than size: what one lacks another may have.
  [402, next(OTHER_PROFILE)],
  [
    403,
    {
      remedy: 'without-nas',
      advice:
        'it does not know itself by the NAS-Identifier or address it sends us: check these, and for a proxy that changes them',
    },
  ],
  // "Not formatted properly": of what we send, only an attribute can be that.
  [404, next(OTHER_PROFILE)],
  // Only a Service-Type can cause it, and none is sent: a NAS that can't do this kind of request.
  [405, fail('it does not do this kind of request')],
  [406, fail('it does not take Disconnect- or CoA-Requests: switch them on there, or remove coa')],
  // Somewhere a value has another form than in the accounting it came from.
  [407, next(OTHER_PROFILE)],
  [501, fail('it is configured to refuse these requests')],
  [502, fail('a RADIUS proxy on the way does not know where to send it')],
  [503, gone],
  // Found but kept: trying later may do, other attributes would find the same session.
  [504, fail()],
  [505, fail('a RADIUS proxy on the way could not handle it')],
  // It passes; an answer at once would be the same.
  [506, fail()],
  // The answer to "Authorize Only", which is never asked for; nothing was done.
  [507, fail('it answers a question that was not asked')],
  // Fewer attributes would match more sessions still.
  [508, fail('several of its sessions match Acct-Session-Id and station')],
  // Every request of ours has one: something between took it out.
  [510, fail('a RADIUS proxy on the way removes Message-Authenticator')],
])

/**
 * What a Disconnect-NAK or CoA-NAK with this Error-Cause asks for; undefined: it had none, or none
 * of 4 octets.
 */
export function meaningOf(cause: number | undefined): NakMeaning {
  // RFC 5176 §2.3: Error-Cause MAY be included, so a NAK for an unknown attribute can be bare.
  if (cause === undefined) return next(OTHER_PROFILE)
  const known = MEANINGS.get(cause)
  if (known !== undefined) return known
  // RFC 5176 §3.5: 400-499 is a fault in what we sent, 500-599 one of the NAS, 200-299 no NAK's.
  return cause >= 400 && cause <= 499 ? next(OTHER_PROFILE) : fail()
}

// Where session ticket keys come from: a chain of secrets, one per epoch, each made from the one
// before it and none from a later one. Servers that share one secret derive the same keys without a
// word between them, and who gets at a secret opens no older ticket. Pure: time is an argument.
// server/ticket-keys.ts keeps the file and asks here.

import { hkdfSync } from 'node:crypto'

/**
 * How long a login may be resumed, from its full handshake. Half a day: a shift, or a day at home,
 * is one full handshake or two, and a stolen device's session secret is worth nothing the next day.
 * RFC 8446 §4.6.1 allows 7 days.
 */
export const RESUMPTION_SECONDS = 43_200

/**
 * How long a key makes tickets. It takes them for one epoch more; so a ticket made at the very end
 * of its key's epoch can be used to its own end, if an epoch is not shorter than a ticket's life.
 */
export const EPOCH_SECONDS = RESUMPTION_SECONDS

/** One link of the chain; secret is 32 octets. */
export interface TicketSecret {
  readonly epoch: number
  readonly secret: Buffer
}

/**
 * A step costs some 5 us; this many are half a second and 137 years: a machine that believed at its
 * first start that it was 1970 gets through.
 */
export const STEPS_MAX = 100_000

const SECRET_BYTES = 32
/** 16 of name, 32 for AES-256-CBC, 32 for HMAC-SHA256: as eap/native/tickets.h reads it. */
const KEY_BYTES = 80

export const epochAt = (nowSeconds: number): number => Math.floor(nowSeconds / EPOCH_SECONDS)

/** The first link: of the epoch before the present one, which is the oldest whose key is taken. */
export function firstSecret(nowSeconds: number, secret: Buffer): TicketSecret {
  if (secret.length !== SECRET_BYTES) throw new RangeError('a ticket secret has 32 octets')
  return { epoch: epochAt(nowSeconds) - 1, secret }
}

/**
 * The link whose key is the oldest that is taken now. A clock that is behind gets the same link
 * back: the chain has no way back, and another server has got this far. Throws a RangeError where
 * it is more than STEPS_MAX away.
 */
export function advance(link: TicketSecret, nowSeconds: number): TicketSecret {
  const steps = epochAt(nowSeconds) - 1 - link.epoch
  if (steps > STEPS_MAX) throw new RangeError(`its epoch, ${link.epoch}, is too long ago`)
  let next = link
  for (let step = 0; step < steps; step++) next = nextSecret(next)
  return next
}

/** What an engine takes: the key of the epoch after this link, then the link's own. */
export const ticketKeys = (link: TicketSecret): readonly [Buffer, Buffer] => [
  ticketKey(nextSecret(link)),
  ticketKey(link),
]

const nextSecret = ({ epoch, secret }: TicketSecret): TicketSecret => ({
  epoch: epoch + 1,
  secret: derive(secret, 'datanet session tickets: next secret', SECRET_BYTES),
})

const ticketKey = ({ secret }: TicketSecret): Buffer =>
  derive(secret, 'datanet session tickets: key', KEY_BYTES)

const derive = (secret: Buffer, info: string, length: number): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, '', info, length))

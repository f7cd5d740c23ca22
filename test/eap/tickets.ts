// Session tickets as an attacker, or another server with the same keys, could make them: opened,
// altered and sealed again by the layout of RFC 5077 §4, inside the sessions that a client keeps.
// OpenSSL writes both sessions in the same DER (SSL_SESSION in its ssl/ssl_asn1.c).

import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'

/** Fields of SSL_SESSION, by their context-specific tags. */
export const Field = { peer: 3, sessionContext: 4, lifetimeHint: 9, ticket: 10, note: 18 } as const

/** One DER value at `at`: its tag, its contents, and where it ends. */
function readValue(der: Buffer, at: number) {
  const first = der[at + 1] ?? 0
  const more = first < 0x80 ? 0 : first & 0x7f
  const length = more === 0 ? first : der.readUIntBE(at + 2, more)
  const start = at + 2 + more
  return { tag: der[at] ?? 0, contents: der.subarray(start, start + length), end: start + length }
}

function value(tag: number, contents: Buffer): Buffer {
  const { length } = contents
  const head = length < 0x80 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), contents])
}

const NODE_MARK = '\0nodejs:tls:session:1\0'

/** What a client's node:tls puts before its session: a mark, the server's name with its length. */
function headOf(session: Buffer): Buffer {
  const mark = NODE_MARK.length
  if (session.toString('latin1', 0, mark) !== NODE_MARK) return Buffer.alloc(0)
  return session.subarray(0, mark + 2 + session.readUInt16BE(mark))
}

function fieldsOf(session: Buffer) {
  const { contents } = readValue(session, headOf(session).length)
  const fields: { tag: number; bytes: Buffer; contents: Buffer }[] = []
  for (let at = 0; at < contents.length; ) {
    const { tag, contents: inner, end } = readValue(contents, at)
    fields.push({ tag, bytes: contents.subarray(at, end), contents: inner })
    at = end
  }
  return fields
}

/** What the field holds; empty where there is none. */
export function fieldOf(session: Buffer, field: number): Buffer {
  const found = fieldsOf(session).find(({ tag }) => tag === (0xa0 | field))
  return found === undefined ? Buffer.alloc(0) : readValue(found.contents, 0).contents
}

/** The session with another OCTET STRING in a field, or without it. */
export function withField(session: Buffer, field: number, contents: Buffer | undefined): Buffer {
  const parts = fieldsOf(session).flatMap(({ tag, bytes }) => {
    if (tag !== (0xa0 | field)) return [bytes]
    return contents === undefined ? [] : [value(tag, value(0x04, contents))]
  })
  return Buffer.concat([headOf(session), value(0x30, Buffer.concat(parts))])
}

/** name ‖ IV ‖ encrypted session ‖ HMAC-SHA256 of all before; `key` is name ‖ AES ‖ HMAC key. */
export function openTicket(ticket: Buffer, key: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-cbc', key.subarray(16, 48), ticket.subarray(16, 32))
  return Buffer.concat([decipher.update(ticket.subarray(32, -32)), decipher.final()])
}

export function sealTicket(session: Buffer, key: Buffer): Buffer {
  const iv = Buffer.alloc(16, 7)
  const cipher = createCipheriv('aes-256-cbc', key.subarray(16, 48), iv)
  const head = [key.subarray(0, 16), iv, cipher.update(session), cipher.final()]
  const mac = createHmac('sha256', key.subarray(48)).update(Buffer.concat(head)).digest()
  return Buffer.concat([...head, mac])
}

/** The client's session with a ticket that was altered inside, by who has the key. */
export function alterTicket(
  session: Buffer,
  key: Buffer,
  alter: (inside: Buffer) => Buffer,
): Buffer {
  const inside = openTicket(fieldOf(session, Field.ticket), key)
  return withField(session, Field.ticket, sealTicket(alter(inside), key))
}

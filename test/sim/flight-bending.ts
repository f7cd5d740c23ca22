// Bends flights of TLS where a parser could stumble: bits, lengths of records, messages and
// extensions, the order of records, pieces of other flights. Every choice comes from the caller's
// dice, so a seed makes the same flight again. Called by the tests of the native engine.

import type { Random } from './random.ts'

/** The most a conversation takes is 65,536; a little more must be refused, not read. */
const BENT_BYTES_MAX = 66_000

/** A flight as its records; what does not look like one is the last element, whatever it is. */
function recordsOf(flight: Buffer): Buffer[] {
  const records: Buffer[] = []
  let at = 0
  while (at + 5 <= flight.length && at + 5 + flight.readUInt16BE(at + 3) <= flight.length) {
    const end = at + 5 + flight.readUInt16BE(at + 3)
    records.push(flight.subarray(at, end))
    at = end
  }
  return at < flight.length ? [...records, flight.subarray(at)] : records
}

interface LengthField {
  readonly at: number
  readonly size: 1 | 2 | 3
}

/** Where the lengths are: of every record, of its first message, inside of a ClientHello. */
export function lengthFields(flight: Buffer): LengthField[] {
  const fields: LengthField[] = []
  const field = (at: number, size: 1 | 2 | 3): number => {
    if (at + size > flight.length) return flight.length
    fields.push({ at, size })
    return at + size + flight.readUIntBE(at, size)
  }
  let start = 0
  for (const record of recordsOf(flight)) {
    field(start + 3, 2)
    if (record[0] === 22 && record.length > 9) field(start + 6, 3)
    if (record[0] === 22 && record[5] === 1) {
      // Behind version and random: session id, ciphers, compression, then the extensions.
      let at = field(field(field(start + 43, 1), 2), 1)
      const end = field(at, 2)
      for (at += 2; at + 4 <= end && at < flight.length; ) at = field(at + 2, 2)
    }
    start += record.length
  }
  return fields
}

type Bend = (flight: Buffer, other: Buffer, random: Random) => Buffer

const flipBits: Bend = (flight, _other, random) => {
  const bent = Buffer.from(flight)
  for (let n = random.below(8); n >= 0 && bent.length > 0; n--) {
    const at = random.below(bent.length)
    bent[at] = (bent[at] ?? 0) ^ (1 << random.below(8))
  }
  return bent
}

const setOctets: Bend = (flight, _other, random) => {
  const bent = Buffer.from(flight)
  const at = random.below(bent.length + 1)
  bent.subarray(at, at + 1 + random.below(8)).fill(random.pick([0, 1, 0x7f, 0x80, 0xff]))
  return bent
}

const cut: Bend = (flight, _other, random) => flight.subarray(0, random.below(flight.length + 1))

const leaveOut: Bend = (flight, _other, random) => {
  const at = random.below(flight.length + 1)
  return Buffer.concat([flight.subarray(0, at), flight.subarray(at + 1 + random.below(64))])
}

const repeat: Bend = (flight, _other, random) => {
  const at = random.below(flight.length + 1)
  const piece = flight.subarray(at, at + 1 + random.below(256))
  const times = Array.from({ length: 1 + random.below(3) }, () => piece)
  return Buffer.concat([flight.subarray(0, at), ...times, flight.subarray(at)])
}

const insert: Bend = (flight, _other, random) => {
  const at = random.below(flight.length + 1)
  return Buffer.concat([
    flight.subarray(0, at),
    random.bytes(random.below(64)),
    flight.subarray(at),
  ])
}

const splice: Bend = (flight, other, random) =>
  Buffer.concat([
    flight.subarray(0, random.below(flight.length + 1)),
    other.subarray(random.below(other.length + 1)),
  ])

const goOn: Bend = (flight, other) => Buffer.concat([flight, other])

const editLength: Bend = (flight, _other, random) => {
  const fields = lengthFields(flight)
  const bent = Buffer.from(flight)
  if (fields.length === 0) return bent
  const { at, size } = random.pick(fields)
  const most = 2 ** (8 * size) - 1
  const value = bent.readUIntBE(at, size)
  const wanted = [0, 1, value - 1, value + 1, value * 2, most, most - 1, random.below(most)]
  bent.writeUIntBE(Math.max(0, Math.min(most, random.pick(wanted))), at, size)
  return bent
}

const changeType: Bend = (flight, _other, random) => {
  const records = recordsOf(Buffer.from(flight))
  if (records.length === 0) return flight
  const record = random.pick(records)
  if (random.chance(0.3)) record[0] = random.pick([20, 21, 22, 23, 24, 0])
  else if (record.length > 5) record[5] = random.pick([0, 1, 2, 4, 5, 11, 15, 16, 20, 24, 254])
  return Buffer.concat(records)
}

const moveRecord: Bend = (flight, _other, random) => {
  const records = recordsOf(flight)
  if (records.length === 0) return flight
  const [taken = flight] = records.splice(random.below(records.length), 1)
  // Nowhere, elsewhere, or twice.
  for (let n = random.below(3); n > 0; n--)
    records.splice(random.below(records.length + 1), 0, taken)
  return Buffer.concat(records)
}

const mixRecords: Bend = (flight, other, random) => {
  const records = recordsOf(flight)
  for (const record of recordsOf(other)) {
    if (random.chance(0.5)) records.splice(random.below(records.length + 1), 0, record)
  }
  return Buffer.concat(records)
}

/** Other records around the same octets of a message. */
const respread: Bend = (flight, _other, random) => {
  const size = 1 + random.below(200)
  const spread = recordsOf(flight).flatMap((record) => {
    const head = record.subarray(0, 3)
    const pieces: Buffer[] = []
    for (let at = 5; at < record.length; at += size) {
      const piece = record.subarray(at, at + size)
      pieces.push(head, Buffer.from([0, piece.length]), piece)
    }
    return pieces
  })
  return Buffer.concat(spread)
}

const BENDS: readonly Bend[] = [
  flipBits,
  flipBits,
  setOctets,
  cut,
  leaveOut,
  repeat,
  insert,
  splice,
  goOn,
  editLength,
  editLength,
  editLength,
  changeType,
  moveRecord,
  mixRecords,
  respread,
]

/** The flight bent in one to four ways; `other` lends its pieces. */
export function bend(flight: Buffer, other: Buffer, random: Random): Buffer {
  let bent = flight
  do bent = random.pick(BENDS)(bent, other, random).subarray(0, BENT_BYTES_MAX)
  while (random.chance(0.4))
  return bent
}

/** Records of kinds that TLS has, mostly with a handshake message of a kind that it has. */
export function invent(random: Random): Buffer {
  const records = Array.from({ length: 1 + random.below(3) }, () => {
    const body = random.bytes(4 + random.below(120))
    body[0] = random.pick([0, 1, 1, 2, 4, 8, 11, 15, 16, 20, 24])
    body.writeUIntBE(body.length - 4 + (random.chance(0.7) ? 0 : random.below(40)), 1, 3)
    const type = random.pick([22, 22, 22, 22, 20, 21, 23, 24])
    return Buffer.concat([Buffer.from([type, 3, random.below(5), 0, body.length]), body])
  })
  return Buffer.concat(records)
}

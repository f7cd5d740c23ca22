// The one binary form of a block proposal and of its answer. Owns lengths and bounds; whether the
// values are right is the checker's. Merchants are written and read one by one, so that a block
// never has to be in memory. Pure: reader and chunks are the caller's, who also compresses.

import { amountAt, consumerAt, packEntries, WORD } from './entries.ts'
import { ENTRIES_BYTES_MAX, type MerchantEntries } from './leaf.ts'
import {
  type BlockAnswer,
  type BlockProposal,
  ProposalError,
  type ProposalForm,
  type Source,
} from './proposal.ts'

/** Gives exactly so many further bytes, or undefined where fewer are left. */
export type Reader = (bytes: number) => Buffer | undefined

const PROPOSAL_MAGIC = Buffer.from('DNP1', 'ascii')
const ANSWER_MAGIC = Buffer.from('DNA1', 'ascii')
const SIGNATURE_BYTES = 65
const SOURCE_BYTES = WORD + SIGNATURE_BYTES
/** magic, form, operator, k, period, tau, two roots, snapshot, two counts. */
const HEAD_BYTES = 4 + 1 + 4 + 3 * 8 + 2 * 32 + 8 + 32 + 2 * 4
/** A merchant's consumers are at most what her leaves hold. */
const SOURCES_MAX = ENTRIES_BYTES_MAX / WORD
/** As many as a tree has leaves. */
const MERCHANTS_MAX = 2 ** 20
export const ANSWER_BYTES = 4 + 4 + 2 * 8 + 32 + 4 + 96
/** On its way an answer is followed by its account's signature (merchantAnswerDigest). */
export const SENT_ANSWER_BYTES = ANSWER_BYTES + SIGNATURE_BYTES
const FORMS: readonly ProposalForm[] = ['whole', 'changes']

/**
 * The chunks of a proposal. `merchantCount` is how many `merchants` will give; RangeError where it
 * gives another number, or where a value does not fit its field.
 */
export function* encodeProposal(
  proposal: BlockProposal,
  merchantCount: number,
): Generator<Buffer, void> {
  yield encodeHead(proposal, merchantCount)
  for (const { consumer, amount, signature } of proposal.sources) {
    if (signature.length !== SIGNATURE_BYTES) throw new RangeError('a signature is 65 bytes')
    yield Buffer.concat([packEntries([{ consumer, amount }]), signature])
  }
  let written = 0
  for (const { id, entries } of proposal.merchants) {
    if (entries.length > ENTRIES_BYTES_MAX || entries.length % WORD !== 0) {
      throw new RangeError(`${entries.length} bytes are not packed entries`)
    }
    const prefix = Buffer.alloc(8)
    prefix.writeUInt32BE(id)
    prefix.writeUInt32BE(entries.length / WORD, 4)
    yield prefix
    if (entries.length > 0) yield entries
    written += 1
  }
  if (written !== merchantCount) throw new RangeError(`${written} merchants, not ${merchantCount}`)
}

function encodeHead(proposal: BlockProposal, merchantCount: number): Buffer {
  const { header, snapshot, sources } = proposal
  if (sources.length > SOURCES_MAX || merchantCount > MERCHANTS_MAX) {
    throw new RangeError('too many sources or merchants')
  }
  const head = Buffer.alloc(HEAD_BYTES)
  let at = PROPOSAL_MAGIC.copy(head)
  at = head.writeUInt8(FORMS.indexOf(proposal.form), at)
  at = head.writeUInt32BE(header.operator, at)
  for (const count of [header.k, header.period, header.tau]) at = writeCount(head, count, at)
  for (const hash of [header.prevRoot, header.root]) at = writeHash(head, hash, at)
  at = writeHash(head, snapshot.hash, writeCount(head, snapshot.number, at))
  at = head.writeUInt32BE(sources.length, at)
  head.writeUInt32BE(merchantCount, at)
  return head
}

function writeCount(head: Buffer, count: number, at: number): number {
  if (!Number.isSafeInteger(count)) throw new RangeError(`${count} is not a safe integer`)
  return head.writeBigUInt64BE(BigInt(count), at)
}

function writeHash(head: Buffer, hash: Buffer, at: number): number {
  if (hash.length !== 32) throw new RangeError('a hash is 32 bytes')
  return at + hash.copy(head, at)
}

/** Why bytes are not a proposal's beginning; what comes later throws ProposalError when read. */
export type CodecFault = 'truncated' | 'magic' | 'form' | 'number' | 'count' | 'amount'

/**
 * Reads the head and the sources, and gives merchants as they are asked for. The merchants can be
 * iterated once; the last one is given only where nothing follows it.
 */
export function decodeProposal(read: Reader): BlockProposal | CodecFault {
  const head = read(HEAD_BYTES)
  if (head === undefined) return 'truncated'
  if (!head.subarray(0, 4).equals(PROPOSAL_MAGIC)) return 'magic'
  const form = FORMS[head.readUInt8(4)]
  if (form === undefined) return 'form'
  const counts = [9, 17, 25, 97].map((at) => Number(head.readBigUInt64BE(at)))
  const [k = 0, period = 0, tau = 0, number = 0] = counts
  if (!counts.every(Number.isSafeInteger)) return 'number'
  const sourceCount = head.readUInt32BE(137)
  const merchantCount = head.readUInt32BE(141)
  if (sourceCount > SOURCES_MAX || merchantCount > MERCHANTS_MAX) return 'count'
  const sources: Source[] = []
  for (let i = 0; i < sourceCount; i++) {
    const bytes = read(SOURCE_BYTES)
    if (bytes === undefined) return 'truncated'
    const amount = amountAt(bytes, 0)
    if (amount === 0n) return 'amount'
    sources.push({ consumer: consumerAt(bytes, 0), amount, signature: bytes.subarray(WORD) })
  }
  const prevRoot = head.subarray(33, 65)
  const header = {
    operator: head.readUInt32BE(5),
    k,
    period,
    prevRoot,
    root: head.subarray(65, 97),
    tau,
  }
  const snapshot = { number, hash: head.subarray(105, 137) }
  return { header, snapshot, form, merchants: readMerchants(read, merchantCount), sources }
}

/** A merchant in a proposal begins with so many bytes. */
export const MERCHANT_HEAD_BYTES = 8

/** Who it is, and how many bytes of entries follow. Throws ProposalError. */
export function decodeMerchantHead(head: Buffer): { readonly id: number; readonly bytes: number } {
  const bytes = head.readUInt32BE(4) * WORD
  if (bytes > ENTRIES_BYTES_MAX) throw new ProposalError('more entries than leaves hold')
  return { id: head.readUInt32BE(0), bytes }
}

function* readMerchants(read: Reader, count: number): Generator<MerchantEntries, void> {
  for (let i = 0; i < count; i++) {
    const head = read(MERCHANT_HEAD_BYTES)
    if (head === undefined) throw new ProposalError('truncated before a merchant')
    const { id, bytes } = decodeMerchantHead(head)
    const entries = bytes === 0 ? Buffer.alloc(0) : read(bytes)
    if (entries === undefined) throw new ProposalError('truncated within a merchant')
    if (i === count - 1 && read(1) !== undefined) throw new ProposalError('bytes after the last')
    yield { id, entries }
  }
  if (count === 0 && read(1) !== undefined) throw new ProposalError('bytes after the last')
}

/** A reader of bytes in memory; what it gives shares that memory. */
export function readerOf(bytes: Buffer): Reader {
  let at = 0
  return (wanted) => {
    if (at + wanted > bytes.length) return undefined
    at += wanted
    return bytes.subarray(at - wanted, at)
  }
}

/** 156 bytes. Throws RangeError where a value does not fit its field. */
export function encodeAnswer(answer: BlockAnswer): Buffer {
  if (answer.signature.length !== 96) throw new RangeError('a signature is 96 bytes')
  const bytes = Buffer.alloc(ANSWER_BYTES)
  let at = ANSWER_MAGIC.copy(bytes)
  at = bytes.writeUInt32BE(answer.operator, at)
  for (const count of [answer.k, answer.period]) at = writeCount(bytes, count, at)
  at = writeHash(bytes, answer.root, at)
  at = bytes.writeUInt32BE(answer.id, at)
  answer.signature.copy(bytes, at)
  return bytes
}

/** Exactly 156 bytes with the right beginning; the signature is not looked at. */
export function decodeAnswer(bytes: Buffer): BlockAnswer | CodecFault {
  if (bytes.length !== ANSWER_BYTES) return 'truncated'
  if (!bytes.subarray(0, 4).equals(ANSWER_MAGIC)) return 'magic'
  const k = Number(bytes.readBigUInt64BE(8))
  const period = Number(bytes.readBigUInt64BE(16))
  if (!Number.isSafeInteger(k) || !Number.isSafeInteger(period)) return 'number'
  return {
    operator: bytes.readUInt32BE(4),
    k,
    period,
    root: bytes.subarray(24, 56),
    id: bytes.readUInt32BE(56),
    signature: bytes.subarray(60),
  }
}

const hex = (bytes: Buffer): string => `0x${bytes.toString('hex')}`

/** The same in JSON, for people: amounts as decimal text, bytes as 0x-hex. Reads all merchants. */
export function proposalJson(proposal: BlockProposal): string {
  const { header, snapshot } = proposal
  const { operator, k, period, tau } = header
  const entriesJson = (entries: Buffer): Record<string, string> => {
    const result: Record<string, string> = {}
    for (let at = 0; at < entries.length; at += WORD) {
      result[consumerAt(entries, at)] = amountAt(entries, at).toString()
    }
    return result
  }
  return JSON.stringify({
    header: { operator, k, period, prevRoot: hex(header.prevRoot), root: hex(header.root), tau },
    snapshot: { number: snapshot.number, hash: hex(snapshot.hash) },
    form: proposal.form,
    merchants: [...proposal.merchants].map(({ id, entries }) => {
      return { id, entries: entriesJson(entries) }
    }),
    sources: proposal.sources.map(({ consumer, amount, signature }) => {
      return { consumer, amount: amount.toString(), signature: hex(signature) }
    }),
  })
}

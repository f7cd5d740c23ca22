// The operator's blocks on disk, one file each, durable before anybody is shown the block: what it
// owes to whom, how far in the journal its credits reach, what of them waits. Owns the files' form
// and names; which of them counts is the chain's word. Called by the notary.

import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { BlockHeader } from '../chain/payplace/block.ts'
import {
  ANSWER_BYTES,
  decodeMerchantHead,
  decodeProposal,
  encodeProposal,
  MERCHANT_HEAD_BYTES,
} from '../chain/payplace/codec.ts'
import { indexBlock, type KnownBlock } from '../chain/payplace/known.ts'
import type { MerchantEntries } from '../chain/payplace/leaf.ts'
import type { Snapshot } from '../chain/payplace/proposal.ts'
import type { Address } from '../ethereum/address.ts'

/** Credits that no block up to this one has, by the account that earned them: packed entries. */
export type Waiting = ReadonlyMap<Address, Buffer>

/** What a block's file says beside the block. */
export interface BlockFacts {
  readonly header: BlockHeader
  /** Where the contract was read for it. */
  readonly snapshot: Snapshot
  /** Journal entries up to this number are in the block or waiting. */
  readonly journal: number
  /** When the journal was read so far, Unix ms. */
  readonly journalAtMs: number
  readonly waiting: Waiting
  /** Vouchers that cover it at the snapshot (block-sources.ts). */
  readonly sources: Buffer
  /** Ids whose entries differ from those of the block before. */
  readonly changed: readonly number[]
}

/** What is sent of a block in its file; entries are read from there as they are asked for. */
export interface SentBlock extends BlockFacts {
  /** By merchant. */
  readonly places: { readonly size: number }
  entriesOf(id: number): Buffer | undefined
  merchants(): Generator<MerchantEntries, void>
  /** Whoever still reads it gets a BlockFileError. */
  close(): void
}

/** The same, all of it looked at. */
export interface StoredBlock extends SentBlock, KnownBlock {
  readonly places: KnownBlock['places']
  entriesOf(id: number): Buffer | undefined
}

/** One file's name, taken apart. Several of one k: all but one were not notarized. */
export interface BlockName {
  readonly k: number
  readonly period: number
}

/** The folder of one operator's blocks. */
export interface BlockFiles {
  /** All blocks, by k and period, ascending. */
  list(): readonly BlockName[]
  /** When it returns, the block survives a power cut. Throws the system's error (ENOSPC, …). */
  write(facts: BlockFacts, merchants: Iterable<MerchantEntries>, merchantCount: number): void
  /** Undefined where the file is not there; BlockFileError where it is not what was written. */
  open(name: BlockName): StoredBlock | undefined
  /** Quickly: nothing is hashed, so whoever is sent it holds it against the root on the chain. */
  openToSend(name: BlockName): SentBlock | undefined
  /** Keeps a merchant's answer (156 bytes) to a block over a restart of this process. */
  addAnswer(name: BlockName, answer: Buffer): void
  answers(name: BlockName): readonly Buffer[]
  /** Removes the blocks it says so of, with their answers, and what was not written to its end. */
  forget(isOld: (name: BlockName) => boolean): void
}

/** A file that is damaged or of a program we do not know. */
export class BlockFileError extends Error {
  override readonly name = 'BlockFileError'
}

const MAGIC = Buffer.from('DNB1', 'ascii')
const ACCOUNT_BYTES = 20
/** A merchant whose answer is not taken asks again; more than a tree's leaves never answer. */
const ANSWERS_BYTES_MAX = ANSWER_BYTES * 2 ** 20

const UNFINISHED = '.new'

const fileOf = ({ k, period }: BlockName): string => `${k}-${period}.block`
const answersOf = ({ k, period }: BlockName): string => `${k}-${period}.answers`

/** Makes the folder where it is absent. `seed` gives random 32 bits (createTotals). */
export function openBlockFiles(directory: string, seed: () => number): BlockFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const at = (file: string): string => join(directory, file)
  const list = (): BlockName[] =>
    readdirSync(directory)
      .flatMap((file) => {
        const match = /^(\d{1,15})-(\d{1,15})\.block$/.exec(file)
        return match === null ? [] : [{ k: Number(match[1]), period: Number(match[2]) }]
      })
      .sort((a, b) => a.k - b.k || a.period - b.period)
  return {
    list,
    write(facts, merchants, merchantCount) {
      writeBlock(directory, at(fileOf(facts.header)), facts, merchants, merchantCount)
    },
    open: (name) => openBlock(at(fileOf(name)), (opened) => readBlock(opened, seed)),
    openToSend: (name) => openBlock(at(fileOf(name)), readParts),
    addAnswer(name, answer) {
      appendAnswer(at(answersOf(name)), answer)
    },
    answers(name) {
      const bytes = readOrNothing(at(answersOf(name))).subarray(0, ANSWERS_BYTES_MAX)
      const count = Math.floor(bytes.length / ANSWER_BYTES)
      return Array.from({ length: count }, (_, i) =>
        bytes.subarray(i * ANSWER_BYTES, (i + 1) * ANSWER_BYTES),
      )
    },
    forget(isOld) {
      for (const name of list().filter(isOld)) {
        rmSync(at(fileOf(name)), { force: true })
        rmSync(at(answersOf(name)), { force: true })
      }
      // Those of a process that was killed: nothing is being written while this runs.
      for (const file of readdirSync(directory)) {
        if (file.endsWith(`.block${UNFINISHED}`)) rmSync(at(file), { force: true })
      }
    },
  }
}

function readOrNothing(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}

/** writeSync may write a part on a disk that fills up, and the next call then says so. */
function writeAll(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done)
  }
}

/** Not synced: the merchants send their answers again and again while they count. */
function appendAnswer(path: string, answer: Buffer): void {
  const file = openSync(path, 'a', 0o600)
  try {
    // A disk that was full for a moment leaves a part, behind which nothing could be read.
    const { size } = fstatSync(file)
    if (size % ANSWER_BYTES !== 0) ftruncateSync(file, size - (size % ANSWER_BYTES))
    writeAll(file, answer)
  } finally {
    closeSync(file)
  }
}

function writeBlock(
  directory: string,
  path: string,
  facts: BlockFacts,
  merchants: Iterable<MerchantEntries>,
  merchantCount: number,
): void {
  const temporary = `${path}${UNFINISHED}`
  rmSync(temporary, { force: true })
  const file = openSync(temporary, 'wx', 0o600)
  try {
    const waiting = encodeWaiting(facts.waiting)
    const { journal, journalAtMs, changed, sources } = facts
    const bytes = { waitingBytes: waiting.length, sourcesBytes: sources.length }
    const json = Buffer.from(JSON.stringify({ journal, journalAtMs, changed, ...bytes }))
    const prefix = Buffer.alloc(8)
    MAGIC.copy(prefix)
    prefix.writeUInt32BE(json.length, 4)
    for (const part of [prefix, json, waiting, sources]) writeAll(file, part)
    const { header, snapshot } = facts
    const proposal = { header, snapshot, form: 'whole', merchants, sources: [] } as const
    for (const chunk of encodeProposal(proposal, merchantCount)) writeAll(file, chunk)
    fsyncSync(file)
  } catch (error) {
    // Most of all where the disk is full: the next attempt has another name.
    rmSync(temporary, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const folder = openSync(directory, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

function encodeWaiting(waiting: Waiting): Buffer {
  const parts: Buffer[] = []
  for (const [account, entries] of waiting) {
    const head = Buffer.alloc(ACCOUNT_BYTES + 4)
    head.write(account.slice(2), 'hex')
    head.writeUInt32BE(entries.length, ACCOUNT_BYTES)
    parts.push(head, entries)
  }
  return Buffer.concat(parts)
}

function decodeWaiting(bytes: Buffer): Waiting {
  const waiting = new Map<Address, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const account = `0x${bytes.toString('hex', at, at + ACCOUNT_BYTES)}` as Address
    const from = at + ACCOUNT_BYTES + 4
    at = from + bytes.readUInt32BE(at + ACCOUNT_BYTES)
    waiting.set(account, bytes.subarray(from, at))
  }
  return waiting
}

interface FileJson {
  readonly journal: number
  readonly journalAtMs: number
  readonly changed: readonly number[]
  readonly waitingBytes: number
  readonly sourcesBytes: number
}

function openBlock<Block>(path: string, readIn: (opened: OpenFile) => Block): Block | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return readIn({ file, isOpen: true })
  } catch (error) {
    closeSync(file)
    throw new BlockFileError(`${path} is damaged: put it back from a copy`, { cause: error })
  }
}

/** An open file. What is closed must not be read: its number may be another file's by then. */
interface OpenFile {
  readonly file: number
  isOpen: boolean
}

/** Reads at a place of its own; fewer bytes are undefined, as the codec wants it. */
function readerAt(opened: OpenFile, from: number) {
  const { file } = opened
  let at = from
  const read = (bytes: number): Buffer | undefined => {
    if (!opened.isOpen) throw new BlockFileError('the block was closed while it was read')
    const target = Buffer.allocUnsafe(bytes)
    let done = 0
    while (done < bytes) {
      const more = readSync(file, target, done, bytes - done, at + done)
      if (more === 0) return undefined
      done += more
    }
    at += bytes
    return target
  }
  return { read, at: () => at }
}

function readBlock(opened: OpenFile, seed: () => number): StoredBlock {
  const parts = readParts(opened)
  const { header } = parts
  const index = indexBlock(header.operator, parts.merchants(), seed())
  if (!index.root.equals(header.root)) throw new RangeError('its root is another one')
  return { ...parts, ...index }
}

/** Where each merchant's entries lie: the block itself need not be in memory. */
function placesFrom(opened: OpenFile, from: number) {
  const places = new Map<number, { readonly at: number; readonly bytes: number }>()
  for (let at = from; ; ) {
    const head = readerAt(opened, at).read(MERCHANT_HEAD_BYTES)
    if (head === undefined) return places
    const { id, bytes } = decodeMerchantHead(head)
    at += MERCHANT_HEAD_BYTES
    places.set(id, { at, bytes })
    at += bytes
  }
}

function readParts(opened: OpenFile): SentBlock {
  const head = readerAt(opened, 0)
  const prefix = head.read(8)
  if (prefix?.subarray(0, 4).equals(MAGIC) !== true) throw new RangeError('no block file')
  const json: FileJson = JSON.parse(String(head.read(prefix.readUInt32BE(4))))
  const waiting = decodeWaiting(head.read(json.waitingBytes) ?? Buffer.alloc(0))
  const sources = head.read(json.sourcesBytes) ?? Buffer.alloc(0)
  const begins = head.at()
  const proposal = decodeProposal(head.read)
  if (typeof proposal === 'string') throw new RangeError(proposal)
  const places = placesFrom(opened, head.at())
  const { header, snapshot } = proposal
  const { journal, journalAtMs, changed } = json
  return {
    ...{ header, snapshot, journal, journalAtMs, waiting, sources, changed, places },
    entriesOf(id) {
      const place = places.get(id)
      if (place === undefined) return undefined
      return readerAt(opened, place.at).read(place.bytes)
    },
    *merchants() {
      const again = decodeProposal(readerAt(opened, begins).read)
      if (typeof again === 'string') throw new BlockFileError(again)
      yield* again.merchants
    },
    close() {
      if (opened.isOpen) closeSync(opened.file)
      opened.isOpen = false
    },
  }
}

// What operator and merchant say to each other about a block. Owns the shapes only. Pure. Called by
// codec, builder, checker and their shells.

import type { Address } from '../../ethereum/address.ts'
import type { BlockHeader } from './block.ts'
import type { MerchantEntries } from './leaf.ts'

/** A consumer's voucher for the operator whose block it comes with. */
export interface Source {
  readonly consumer: Address
  /** Cumulative, base units, 1 … 2^96 − 1. */
  readonly amount: bigint
  /** 65 bytes r ‖ s ‖ v. */
  readonly signature: Buffer
}

/** The chain's block at which operator and merchant read the contract. */
export interface Snapshot {
  readonly number: number
  /** 32 bytes. */
  readonly hash: Buffer
}

/**
 * whole: the leaves of every merchant. changes: only of those whose entries differ from block
 * k − 1; for a merchant who has that block.
 */
export type ProposalForm = 'whole' | 'changes'

/** Everything of a proposal before its leaves. */
export interface ProposalHead {
  readonly header: BlockHeader
  readonly snapshot: Snapshot
  readonly form: ProposalForm
}

/** operator → merchant. Leaves may be made as they are read: a block can be larger than memory. */
export interface BlockProposal extends ProposalHead {
  /** Ids strictly increasing. Reading may throw ProposalError. */
  readonly merchants: Iterable<MerchantEntries>
  /** Vouchers of this merchant's consumers, strictly increasing by consumer. */
  readonly sources: readonly Source[]
}

/** Bytes that are no proposal; found while it is read. */
export class ProposalError extends Error {
  override readonly name = 'ProposalError'
}

/** merchant → operator. */
export interface BlockAnswer {
  readonly operator: number
  readonly k: number
  readonly period: number
  /** 32 bytes. */
  readonly root: Buffer
  /** Who signed. */
  readonly id: number
  /** 96 bytes, compressed G2. */
  readonly signature: Buffer
}

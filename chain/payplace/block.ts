// The header of a block and what merchants sign of it (EIP-712 Block in Types.sol). Pure. Called
// by builder, checker, codec and whoever notarizes.

import { keccak256 } from '../../ethereum/keccak.ts'
import { type Domain, typedDataDigest, uintWord } from '../../ethereum/typed-data.ts'

/** What identifies a block; the digest of exactly these is signed. */
export interface BlockHeader {
  /** uint32. */
  readonly operator: number
  /** This block's number, the contract's k + 1. */
  readonly k: number
  readonly period: number
  /** Root of block k − 1, 32 bytes, zeros for the first block. */
  readonly prevRoot: Buffer
  readonly root: Buffer
  /** When it was built, Unix seconds. */
  readonly tau: number
}

const BLOCK_TYPE = keccak256(
  Buffer.from(
    'Block(uint32 operator,uint64 k,uint64 period,bytes32 prevRoot,bytes32 root,uint64 tau)',
    'ascii',
  ),
)
/** The root before the first block. */
export const NO_ROOT: Buffer = Buffer.alloc(32)

/** The 32-byte digest; throws RangeError on a field that does not fit its type. */
export function blockDigest(domain: Domain, header: BlockHeader): Buffer {
  const { operator, k, period, prevRoot, root, tau } = header
  if (operator > 0xffff_ffff) throw new RangeError(`${operator} is not a uint32`)
  for (const count of [operator, k, period, tau]) {
    if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`${count} is not a uint64`)
  }
  if (prevRoot.length !== 32 || root.length !== 32) throw new RangeError('a root is 32 bytes')
  const words = [uintWord(operator), uintWord(k), uintWord(period), prevRoot, root, uintWord(tau)]
  return typedDataDigest(domain, [BLOCK_TYPE, ...words])
}

// From the merchants' answers to one signature: adds up what they sent, and where the sum does not
// verify finds who spoilt it by halving. Owns that search only; knows no network. Pure. Called by
// the operator when the time for answers is over.

import type { BlsEngine } from '../bls.ts'

/** One answer with the key that the contract has for its sender. */
export interface SignerAnswer<Key, Signature> {
  readonly id: number
  readonly key: Key
  readonly signature: Signature
}

/** Who signed, with the sum of their signatures; and who sent something else. */
export interface CollectedSignatures<Key, Signature> {
  readonly signers: readonly number[]
  /** Undefined where nobody signed. */
  readonly sum: { readonly key: Key; readonly signature: Signature } | undefined
  readonly culprits: readonly number[]
  /** Pairing checks that were made: 1 where all is well. */
  readonly verifications: number
}

/**
 * c culprits among n answers cost about 2 c log2(n / c) verifications. The result's sum verifies
 * always: it is of groups that did.
 */
export function collectSignatures<Key, Signature>(
  engine: BlsEngine<Key, Signature>,
  digest: Uint8Array,
  answers: readonly SignerAnswer<Key, Signature>[],
): CollectedSignatures<Key, Signature> {
  const good: SignerAnswer<Key, Signature>[] = []
  const culprits: number[] = []
  let verifications = 0
  const sumOf = (group: readonly SignerAnswer<Key, Signature>[]) => {
    return {
      key: engine.sumKeys(group.map(({ key }) => key)),
      signature: engine.sumSignatures(group.map(({ signature }) => signature)),
    }
  }
  const verifies = (group: readonly SignerAnswer<Key, Signature>[]): boolean => {
    verifications += 1
    const { key, signature } = sumOf(group)
    return engine.verify(digest, key, signature)
  }
  /** `isBad`: known from the sum of both halves and of the other one. */
  const search = (group: readonly SignerAnswer<Key, Signature>[], isBad: boolean): boolean => {
    if (group.length === 0) return true
    if (!isBad && verifies(group)) {
      good.push(...group)
      return true
    }
    const [only] = group
    if (group.length === 1 && only !== undefined) {
      culprits.push(only.id)
      return false
    }
    const middle = group.length >> 1
    const leftIsGood = search(group.slice(0, middle), false)
    // The whole failed: a good left half leaves the fault to the right one.
    search(group.slice(middle), leftIsGood)
    return false
  }
  search(answers, false)
  const signers = good.map(({ id }) => id)
  const sum = good.length === 0 ? undefined : sumOf(good)
  return { signers, sum, culprits, verifications }
}

// What the steps inside transactions cost, from traces of the real contract: curve operations by
// the calls that make them, the rest by the difference of two transactions. Called by
// gas-scenario.ts.

import type { InnerCall } from './gas-market.ts'

/** One step; the thesis's estimate of it where it has one. */
export interface PartRow {
  readonly what: string
  readonly gas: number
  readonly thesis?: number
}

// Of BlsVerifier.sol: signed(bytes32[3],bytes32,bytes),
// provesPossession(bytes,bytes,address,uint32), combine(bytes32[3],bytes,bytes).
const SIGNED = '0x7a869944'
const POSSESSION = '0x8bcb4507'
const COMBINE = '0xf60db25a'
/** EIP-2537. */
const PAIRING = 0x0f
/** What the thesis has for two pairings, for a hash to the curve, for adding a key. */
const THESIS = { pairing: 113_000, hash: 100, key: 150 }

const gasOfSelector = (calls: readonly InnerCall[], selector: string): number =>
  calls.find((call) => call.selector === selector)?.gas ?? Number.NaN

const pairingIn = (calls: readonly InnerCall[]): number =>
  calls.find(({ to }) => Number(to) === PAIRING)?.gas ?? Number.NaN

/** Of a notarization that names nobody. */
export function verificationParts(calls: readonly InnerCall[]): PartRow[] {
  const whole = gasOfSelector(calls, SIGNED)
  const pairing = pairingIn(calls)
  return [
    { what: 'pairing check, 2 pairs', gas: pairing, thesis: THESIS.pairing },
    { what: 'hash to G2 and what is around it', gas: whole - pairing, thesis: THESIS.hash },
    { what: 'one aggregate verification, however many signers', gas: whole },
  ]
}

export const possessionPart = (calls: readonly InnerCall[]): PartRow => {
  return { what: 'a proof of possession', gas: gasOfSelector(calls, POSSESSION) }
}

/** Of two notarizations that name one and `many` merchants. */
export function keyParts(
  one: readonly InnerCall[],
  several: readonly InnerCall[],
  many: number,
): PartRow[] {
  const [first, all] = [gasOfSelector(one, COMBINE), gasOfSelector(several, COMBINE)]
  const each = Math.round((all - first) / (many - 1))
  return [
    { what: 'the first key added to the sum', gas: first, thesis: THESIS.key },
    { what: 'each further key', gas: each, thesis: THESIS.key },
  ]
}

/** Of two transactions of which one has `more` of something: what one of it costs. */
export function stepPart(
  what: string,
  { few, many, more, thesis }: { few: number; many: number; more: number; thesis?: number },
): PartRow {
  const gas = Math.round((many - few) / more)
  return { what, gas, ...(thesis === undefined ? {} : { thesis }) }
}

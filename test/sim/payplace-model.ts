// A small model of the PayPlace contract: the same rules with plain numbers for money, objects for
// roots and formal sums for BLS keys, so that one can read them and run millions of steps. Every
// rule that replaces one of the thesis can be switched back by its number (`old`), to show what it
// is for. The contract itself has no such switches.

/** Numbers of the defects whose original rule is in force. */
export type OldRules = ReadonlySet<string>
export const OURS: OldRules = new Set()

/** consumer, amount. A list, because the original rules allow a consumer twice (D10). */
export type Entry = readonly [consumer: string, amount: number]
export interface Leaf {
  readonly id: number
  readonly entries: readonly Entry[]
}
/** A block's content; the object stands for its root. */
export interface Block {
  readonly leaves: readonly Leaf[]
}

/**
 * A key as a sum of secrets, each with its factor. Who knows the secrets with a factor other than 0
 * can sign for it, nobody else can: that is what BLS gives.
 */
export type Key = ReadonlyMap<string, number>

export const secretKey = (secret: string): Key => new Map([[secret, 1]])

export function addKeys(a: Key, b: Key, factor = 1): Key {
  const sum = new Map(a)
  for (const [secret, times] of b) sum.set(secret, (sum.get(secret) ?? 0) + factor * times)
  for (const [secret, times] of sum) if (times === 0) sum.delete(secret)
  return sum
}

export interface Channel {
  D: number
  R: number
  mu: number
  w: number
}

export interface Merchant {
  readonly id: number
  readonly account: string
  readonly key: Key
  status: 'active' | 'exited'
  joinedAt: number
  /** Number of the block at which she was paid, −1 for never, and what. */
  withdrawnAt: number
  withdrawn: readonly Entry[]
  missing: boolean
  /** The first block in a row that she missed. */
  missingSince: number
  lock: { readonly entries: readonly Entry[]; readonly at: number } | undefined
}

export interface Shift {
  amount: number
  /** Blocks of later periods were signed by who could see it. */
  readonly requestedIn: number
  /** The period at whose g no signer's head showed it: it was asked for in the freeze before. */
  readonly unseenIn: number | undefined
}

export interface Contract {
  readonly old: OldRules
  readonly operator: number
  readonly channels: Map<string, Channel>
  readonly merchants: Map<number, Merchant>
  readonly usedKeys: Set<string>
  readonly usedApprovals: Set<string>
  readonly shifts: Map<string, Shift>
  /** Of accounts that were put out. */
  readonly credit: Map<string, number>
  /** First period in which a consumer may request again. */
  readonly coolUntil: Map<string, number>
  apkA: Key
  k: number
  last: Block
  /** Period of the last block, and the current one. */
  lastPeriod: number
  period: number
  /** The freeze is the last delta of the period, before g of the next. */
  phase: 'commit' | 'open' | 'freeze'
  /** Tokens that came in and went out. */
  received: number
  paid: number
}

export const NO_BLOCK: Block = { leaves: [] }
/** Blocks after which who is missing may be put out. */
export const ETA = 2

export function createContract(old: OldRules = OURS, operator = 1): Contract {
  return {
    ...{ old, operator, k: 0, last: NO_BLOCK, lastPeriod: -1, period: 0, phase: 'open' },
    ...{ channels: new Map(), merchants: new Map(), usedKeys: new Set() },
    ...{ usedApprovals: new Set(), shifts: new Map(), coolUntil: new Map(), apkA: new Map() },
    ...{ credit: new Map(), received: 0, paid: 0 },
  }
}

export function channelOf(contract: Contract, consumer: string): Channel {
  const found = contract.channels.get(consumer)
  if (found !== undefined) return found
  const channel = { D: 0, R: 0, mu: 0, w: 0 }
  contract.channels.set(consumer, channel)
  return channel
}

/** `arrived` is what the token moved; D36: a token with a fee moves less. */
export function deposit(contract: Contract, consumer: string, amount: number, arrived = amount) {
  if (!contract.old.has('D36') && arrived !== amount) return false
  channelOf(contract, consumer).D += amount
  contract.received += arrived
  return true
}

export interface Registration {
  readonly account: string
  readonly key: Key
  /** The secrets whose owner made the proof of possession, and the account it names. */
  readonly proof: { readonly secrets: readonly string[]; readonly account: string }
  readonly approval: { readonly nonce: string; readonly period: number }
}

const keyText = (key: Key): string =>
  [...key]
    .map(([secret, times]) => `${times} ${secret}`)
    .sort()
    .join(' + ')

/** Alg. 3; the id, or undefined. */
export function register(contract: Contract, given: Registration): number | undefined {
  const { old, merchants } = contract
  const { account, key, proof, approval } = given
  if (contract.phase !== 'open') return undefined
  const before = [...merchants.values()].find((m) => m.account === account)
  if (!old.has('D3')) {
    if (approval.period !== contract.period) return undefined
    if (contract.usedApprovals.has(approval.nonce)) return undefined
  }
  if (!old.has('D4') && (before !== undefined || contract.usedKeys.has(keyText(key)))) {
    return undefined
  }
  if (key.size === 0 && !old.has('D2')) return undefined
  const isProven = [...key.keys()].every((secret) => proof.secrets.includes(secret))
  if (!old.has('D1') && !isProven) return undefined
  if (!old.has('D5') && proof.account !== account) return undefined
  if (old.has('D5') && contract.usedKeys.has(keyText(key))) return undefined
  contract.usedApprovals.add(approval.nonce)
  contract.usedKeys.add(keyText(key))
  // D19: a new key waits in B and is in no sum that a block is verified with.
  if (!old.has('D19')) contract.apkA = addKeys(contract.apkA, key)
  if (before !== undefined) return before.id
  const id = merchants.size + 1
  merchants.set(id, {
    ...{ id, account, key, status: 'active', joinedAt: contract.k, withdrawnAt: -1 },
    ...{ withdrawn: [], missing: false, missingSince: 0, lock: undefined },
  })
  return id
}

export function exit(contract: Contract, id: number): boolean {
  const merchant = contract.merchants.get(id)
  if (merchant?.status !== 'active' || contract.phase !== 'open') return false
  if ((id === 1 && !contract.old.has('D26')) || merchant.lock !== undefined) return false
  // D18: the key stays in the sum.
  if (!merchant.missing && !contract.old.has('D18')) {
    contract.apkA = addKeys(contract.apkA, merchant.key, -1)
  }
  merchant.status = 'exited'
  return true
}

/** Vouchers that a caller submits: consumer and amount, each signed by the consumer. */
export type Vouchers = ReadonlyMap<string, number>

/** Raises mu; changes nothing where one is above the deposit. */
export function processVouchers(contract: Contract, vouchers: Vouchers): boolean {
  for (const [consumer, amount] of vouchers) {
    if (amount > channelOf(contract, consumer).D) return false
  }
  for (const [consumer, amount] of vouchers) {
    const channel = channelOf(contract, consumer)
    channel.mu = Math.max(channel.mu, amount)
  }
  return true
}

export function leafOf(block: Block, id: number): readonly Entry[] | undefined {
  return block.leaves.find((leaf) => leaf.id === id)?.entries
}

const sameEntries = (a: readonly Entry[] | undefined, b: readonly Entry[]): boolean =>
  a !== undefined && a.length === b.length && a.every((e, i) => e.join() === b[i]?.join())

/** Reserves what block k gives a merchant; nothing is changed where it returns false. */
export function lock(
  contract: Contract,
  id: number,
  entries: readonly Entry[],
  vouchers: Vouchers,
): boolean {
  const { old, last } = contract
  const merchant = contract.merchants.get(id)
  if (merchant?.status !== 'active' || merchant.missing || merchant.lock !== undefined) return false
  if (merchant.joinedAt === contract.k || merchant.withdrawnAt === contract.k) return false
  // D22: the proof names no leaf, so that any set is taken.
  if (!old.has('D22') && !sameEntries(leafOf(last, id), entries)) return false
  const isCovered = entries.every(([consumer, amount]) => {
    const { mu, w, R } = channelOf(contract, consumer)
    return Math.max(mu, vouchers.get(consumer) ?? 0) >= w + R + amount
  })
  if (!isCovered && !old.has('D23')) return false
  if (!processVouchers(contract, vouchers)) return false
  for (const [consumer, amount] of entries) channelOf(contract, consumer).R += amount
  merchant.lock = { entries, at: contract.k }
  return true
}

/** Gives up a lock that a later block has replaced. */
export function unlock(contract: Contract, id: number): boolean {
  const merchant = contract.merchants.get(id)
  if (merchant?.lock === undefined || merchant.missing || merchant.lock.at >= contract.k) {
    return false
  }
  for (const [consumer, amount] of merchant.lock.entries) channelOf(contract, consumer).R -= amount
  merchant.lock = undefined
  return true
}

export interface Notarization {
  readonly block: Block
  readonly newlyMissing: readonly number[]
  readonly returning: readonly number[]
  /** Secrets whose owners signed, by message. */
  readonly signatures: ReadonlyMap<string, ReadonlySet<string>>
  /** Distinguishes blocks in messages: their root. */
  readonly root: string
  readonly prevRoot: string
}

/** What is signed of a block. D6: the root alone, good at any time and for any operator. */
export function messageOf(
  contract: Contract,
  { root, prevRoot }: { readonly root: string; readonly prevRoot: string },
): string {
  if (contract.old.has('D6')) return root
  return [contract.operator, contract.k + 1, contract.period, prevRoot, root].join('|')
}

/** Alg. 6. */
export function notarize(contract: Contract, given: Notarization): boolean {
  const { old, merchants } = contract
  const { newlyMissing, returning } = given
  if (contract.phase !== 'commit') return false
  if (contract.period <= contract.lastPeriod && !old.has('D13')) return false
  for (const ids of [newlyMissing, returning]) {
    const rises = ids.every((id, i) => id > (ids[i - 1] ?? 0))
    if (!rises && !old.has('D20')) return false
  }
  if (newlyMissing.includes(1) && !old.has('D26')) return false
  let apk = contract.apkA
  for (const id of newlyMissing) {
    const merchant = merchants.get(id)
    if (merchant?.status !== 'active' || merchant.missing) return false
    const isKept =
      merchant.joinedAt === contract.k ||
      merchant.withdrawnAt === contract.k ||
      merchant.lock?.at === contract.k
    if (!isKept && !old.has('no lock')) return false
    apk = addKeys(apk, merchant.key, -1)
  }
  for (const id of returning) {
    const merchant = merchants.get(id)
    if (merchant?.status !== 'active' || !merchant.missing) return false
    apk = addKeys(apk, merchant.key)
  }
  const signed = given.signatures.get(messageOf(contract, given)) ?? new Set<string>()
  const isIdentity = apk.size === 0
  if (isIdentity ? !old.has('D26') : ![...apk.keys()].every((secret) => signed.has(secret))) {
    return false
  }
  for (const id of newlyMissing) setMissing(contract, id, true)
  for (const id of returning) setMissing(contract, id, false)
  contract.apkA = apk
  contract.last = given.block
  contract.k += 1
  contract.lastPeriod = contract.period
  return true
}

function setMissing(contract: Contract, id: number, missing: boolean): void {
  const merchant = contract.merchants.get(id)
  if (merchant === undefined) return
  merchant.missing = missing
  merchant.missingSince = missing ? contract.k + 1 : 0
}

/** Alg. 7: what each consumer's entry paid, in the order of entries; undefined where refused. */
export function withdraw(
  contract: Contract,
  id: number,
  entries: readonly Entry[],
  vouchers: Vouchers,
): number[] | undefined {
  const { old } = contract
  const merchant = contract.merchants.get(id)
  if (contract.phase !== 'open') return undefined
  if (merchant === undefined || merchant.status !== 'active') {
    // D28: a leaf is enough, its owner need not be registered.
    if (!old.has('D28') || !sameEntries(leafOf(contract.last, id), entries)) return undefined
    return processVouchers(contract, vouchers) ? payFree(contract, entries) : undefined
  }
  const held = merchant.lock
  if (merchant.missing || held?.at === contract.k) {
    if (held === undefined || !sameEntries(held.entries, entries)) return undefined
    // No voucher is looked at: the lock may rest on a lower one, and a shift may since have left
    // less than the one she holds.
    const paid = payReserved(contract, entries)
    // D17: L_p stays as it was.
    if (!old.has('D17')) merchant.lock = undefined
    merchant.withdrawnAt = contract.k
    merchant.withdrawn = entries
    return paid
  }
  if (held !== undefined || merchant.joinedAt === contract.k) return undefined
  if (merchant.withdrawnAt === contract.k && !old.has('D17')) return undefined
  if (!sameEntries(leafOf(contract.last, id), entries)) return undefined
  if (!processVouchers(contract, vouchers)) return undefined
  merchant.withdrawnAt = contract.k
  merchant.withdrawn = entries
  return payFree(contract, entries)
}

/** From what nobody has reserved; capped where that is less. */
function payFree(contract: Contract, entries: readonly Entry[]): number[] {
  return entries.map(([consumer, amount]) => {
    const channel = channelOf(contract, consumer)
    const pays = Math.max(0, Math.min(amount, channel.mu - channel.w - channel.R))
    channel.w += pays
    contract.paid += pays
    return pays
  })
}

function payReserved(contract: Contract, entries: readonly Entry[]): number[] {
  // D27: the merchant's own reservation stands in her way.
  if (contract.old.has('D27')) return payFree(contract, entries)
  return entries.map(([consumer, amount]) => {
    const channel = channelOf(contract, consumer)
    channel.R -= amount
    channel.w += amount
    contract.paid += amount
    return amount
  })
}

/** Puts out who has missed eta blocks; what is locked for her becomes her account's credit. */
export function forceExit(contract: Contract, id: number, entries: readonly Entry[]): boolean {
  const merchant = contract.merchants.get(id)
  // D37: nothing of the kind: whoever comes and goes costs a lock each time.
  if (contract.phase !== 'open' || contract.old.has('D37')) return false
  if (merchant?.status !== 'active' || !merchant.missing) return false
  if (contract.k + 1 - merchant.missingSince < ETA) return false
  if (merchant.lock !== undefined) {
    if (!sameEntries(merchant.lock.entries, entries)) return false
    const sum = payReserved(contract, entries).reduce((all, amount) => all + amount, 0)
    // Still in the contract, until it is claimed.
    contract.paid -= sum
    const before = contract.credit.get(merchant.account) ?? 0
    if (before + sum > 0) contract.credit.set(merchant.account, before + sum)
    merchant.lock = undefined
    merchant.withdrawnAt = contract.k
  }
  merchant.status = 'exited'
  return true
}

/** What an account takes of its credit; undefined where there is none. */
export function claim(contract: Contract, account: string): number | undefined {
  const credit = contract.credit.get(account)
  if (credit === undefined) return undefined
  contract.credit.delete(account)
  contract.paid += credit
  return credit
}

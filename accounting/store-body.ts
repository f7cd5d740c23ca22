// A session and a tariff as text, exactly: amounts as decimal strings, since JSON's numbers
// have 53 bits; what is undefined is absent. Refuses nothing: it reads only what it wrote. Called
// by store-rows.ts.

import type { Session } from './session.ts'
import type { Tariff } from './tariff.ts'
import type { Counter } from './usage.ts'

/** The same shape with every bigint as decimal text: a new amount can't be forgotten here. */
type Json<T> = T extends bigint
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Json<Item>[]
    : T extends object
      ? { readonly [Name in keyof T]: Json<T[Name]> }
      : T

const AMOUNT = /^-?\d+n$/

function tariffJson(tariff: Tariff): string {
  return JSON.stringify(tariff, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))
}

/** Every session of a tariff has the same object: it is written out once, not once a session. */
const tariffTexts = new WeakMap<Tariff, string>()

/** A tariff as JSON text; amounts are written as "123n". */
export function tariffBody(tariff: Tariff): string {
  const known = tariffTexts.get(tariff)
  if (known !== undefined) return known
  const text = tariffJson(tariff)
  tariffTexts.set(tariff, text)
  return text
}

function amountsIn(value: unknown): unknown {
  if (typeof value === 'string' && AMOUNT.test(value)) return BigInt(value.slice(0, -1))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name, name === 'name' ? part : amountsIn(part)]),
  )
}

/** The tariff of a text by tariffBody. */
export function tariffOf(body: string): Tariff {
  return amountsIn(JSON.parse(body)) as Tariff
}

/** What an accounting record changes in a session; it is kept apart from the rest. */
export type UsagePart = Pick<
  Session,
  'input' | 'output' | 'sessionTimeSeconds' | 'heardAtMs' | 'lastRecord' | 'eventAtMs' | 'interimMs'
>

/** JSON leaves out what is undefined. */
const APART: Readonly<Record<keyof UsagePart | 'tariff', undefined>> = {
  tariff: undefined,
  input: undefined,
  output: undefined,
  sessionTimeSeconds: undefined,
  heardAtMs: undefined,
  lastRecord: undefined,
  eventAtMs: undefined,
  interimMs: undefined,
}

type FactsJson = Json<Omit<Session, keyof typeof APART>> & typeof APART

/** A session as JSON text, but for its usage. */
export function factsBody(session: Session): string {
  const { volumeDue, attested } = session
  const json: FactsJson = {
    ...session,
    ...APART,
    reserve: `${session.reserve}`,
    credit: `${session.credit}`,
    endsOwed: session.endsOwed.map(String),
    volumeDue: volumeDue && { amount: `${volumeDue.amount}`, atMs: volumeDue.atMs },
    attested: attested && {
      ...attested,
      inputOctets: `${attested.inputOctets}`,
      outputOctets: `${attested.outputOctets}`,
      countedOctets: `${attested.countedOctets}`,
    },
  }
  return `{"tariff":${tariffBody(session.tariff)},${JSON.stringify(json).slice(1)}`
}

const counterText = ({ raw, total, wide }: Counter): string => `${raw} ${total} ${wide ? 1 : 0}`

/** The usage as text: numbers with spaces between, and the last record's identity as JSON. */
export function usageText(session: UsagePart): string {
  const { input, output, sessionTimeSeconds, heardAtMs, eventAtMs, interimMs } = session
  const numbers = `${sessionTimeSeconds} ${heardAtMs} ${eventAtMs} ${interimMs}`
  const counters = `${counterText(input)} ${counterText(output)}`
  return `${numbers} ${counters} ${JSON.stringify(session.lastRecord)}`
}

const counterOf = (raw = '', total = '', wide = ''): Counter => ({
  ...{ raw: BigInt(raw), total: BigInt(total), wide: wide === '1' },
})

/** The usage of a text by usageText. */
export function usageOf(text: string): UsagePart {
  const record = text.indexOf('"')
  const words = text.slice(0, record).split(' ')
  const [sessionTimeSeconds = 0, heardAtMs = 0, eventAtMs = 0, interimMs = 0] = words.map(Number)
  return {
    ...{ sessionTimeSeconds, heardAtMs, eventAtMs, interimMs },
    input: counterOf(...words.slice(4, 7)),
    output: counterOf(...words.slice(7, 10)),
    lastRecord: JSON.parse(text.slice(record)),
  }
}

type Optional = {
  [Name in keyof Session]: undefined extends Session[Name] ? Name : never
}[keyof Session]

/** JSON leaves these out where they are undefined; a session has them all. */
const ABSENT: Readonly<Record<Optional, undefined>> = {
  account: undefined,
  continues: undefined,
  endedAtMs: undefined,
  closedAtMs: undefined,
  endedBy: undefined,
  terminateCause: undefined,
  volumeDue: undefined,
  cutAtMs: undefined,
  cutReason: undefined,
  attested: undefined,
}

/**
 * The session of its two texts, by factsBody and usageText. `tariffs`: those already read, so that
 * equal ones are one.
 */
export function sessionOf(body: string, usage: string, tariffs: Map<string, Tariff>): Session {
  const read = JSON.parse(body) as Json<Session>
  const { place, volumeDue, attested } = read
  return {
    ...ABSENT,
    ...read,
    ...usageOf(usage),
    tariff: sharedTariff(read.tariff, tariffs),
    place: { ...place, nasPort: place.nasPort },
    reserve: BigInt(read.reserve),
    credit: BigInt(read.credit),
    endsOwed: read.endsOwed.map(BigInt),
    volumeDue: volumeDue && { amount: BigInt(volumeDue.amount), atMs: volumeDue.atMs },
    attested: attested && {
      ...attested,
      inputOctets: BigInt(attested.inputOctets),
      outputOctets: BigInt(attested.outputOctets),
      countedOctets: BigInt(attested.countedOctets),
    },
  } as unknown as Session
}

function sharedTariff(read: Json<Tariff>, tariffs: Map<string, Tariff>): Tariff {
  const text = JSON.stringify(read)
  const known = tariffs.get(text)
  if (known !== undefined) return known
  const tariff = tariffOf(text)
  tariffs.set(text, tariff)
  return tariff
}

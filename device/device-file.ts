// device.json as a value: which account, which operators, which contract, what the person allows.
// Owns its fields and the strict reading of them, without a schema library: a payer on a small
// device reads this file and nothing else of the kind. Pure; folder.ts reads and writes the file.

import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { parseAmount } from './amounts.ts'
import { DEFAULT_POLICY, type Policy } from './policy.ts'

/** One operator a device is enrolled with. */
export interface EnrolledOperator {
  readonly operatorUrl: string
  readonly operatorId: number
  readonly operatorName: string
  /** Who signs its receipts; absent in folders of an older version. */
  readonly operatorAccount?: Address
  readonly serverName: string
  readonly serverSpkiSha256: string
  readonly rpc: string
}

/** device.json. Holds no secret. */
export interface DeviceFile extends EnrolledOperator {
  readonly version: 1
  readonly name: string
  readonly kind: 'bound' | 'direct'
  readonly account: Address
  readonly contract: Address
  readonly chainId: number
  readonly token: { readonly address: Address; readonly symbol: string; readonly decimals: number }
  /** The TLS key: a file of DIR, or an absolute path or URI elsewhere. */
  readonly privateKey: string
  /** Further operators of the same contract. */
  readonly moreOperators?: readonly EnrolledOperator[]
  /** What `device run` may do; flags come before it. Amounts in whole tokens, as text. */
  readonly policy?: PolicyText
}

/** The policy as a person writes it. */
export interface PolicyText {
  readonly perMinuteMax?: string
  readonly perMegabyteMax?: string
  readonly debtMax?: string
  readonly topupBelow?: string
  readonly topup?: string
  readonly silentSeconds?: number
  readonly probesLostMax?: number
  readonly roundTripMaxMs?: number
  readonly certificateVoucher?: Policy['certificateVoucher']
  readonly activity?: Policy['activity']
}

/** The text of device.json, addresses in their EIP-55 form. */
export function deviceJson(device: DeviceFile): string {
  const { account, contract, token, moreOperators } = device
  const shown = {
    ...device,
    ...accountOf(device),
    account: checksumAddress(account),
    contract: checksumAddress(contract),
    token: { ...token, address: checksumAddress(token.address) },
    ...(moreOperators === undefined
      ? {}
      : { moreOperators: moreOperators.map((one) => ({ ...one, ...accountOf(one) })) }),
  }
  return `${JSON.stringify(shown, null, 2)}\n`
}

const accountOf = ({ operatorAccount }: EnrolledOperator): object =>
  operatorAccount === undefined ? {} : { operatorAccount: checksumAddress(operatorAccount) }

/** All operators of a device, the one it was made with first. */
export function operatorsOf(device: DeviceFile): readonly EnrolledOperator[] {
  return [device, ...(device.moreOperators ?? [])]
}

/** A field that is not as it should be; `message` is its path. */
export class FieldError extends Error {}

type Check<Value> = (value: unknown, path: string) => Value

/** Reads device.json's value. Throws FieldError. */
export function readDeviceValue(from: unknown): DeviceFile {
  const at = fieldsOf(from, '')
  const more = at('moreOperators', optional(listOf(readOperator)))
  const policy = at('policy', optional(readPolicyText))
  return {
    version: at('version', oneOf([1] as const)),
    name: at('name', text),
    kind: at('kind', oneOf(['bound', 'direct'] as const)),
    account: at('account', address),
    ...readOperator(from, ''),
    contract: at('contract', address),
    chainId: at('chainId', positive),
    token: at('token', readToken),
    privateKey: at('privateKey', text),
    ...(more === undefined ? {} : { moreOperators: more }),
    ...(policy === undefined ? {} : { policy }),
  }
}

function readOperator(from: unknown, path: string): EnrolledOperator {
  const at = fieldsOf(from, path)
  const operatorAccount = at('operatorAccount', optional(address))
  return {
    operatorUrl: at('operatorUrl', url(/^https?:$/)),
    operatorId: at('operatorId', positive),
    operatorName: at('operatorName', anyText),
    ...(operatorAccount === undefined ? {} : { operatorAccount }),
    serverName: at('serverName', anyText),
    serverSpkiSha256: at('serverSpkiSha256', matching(/^[0-9a-f]{64}$/)),
    rpc: at('rpc', url(/^(https?|wss?):$/)),
  }
}

function readToken(from: unknown, path: string): DeviceFile['token'] {
  const at = fieldsOf(from, path)
  return {
    address: at('address', address),
    symbol: at('symbol', anyText),
    decimals: at('decimals', (value, where) =>
      value === 0 ? 0 : value === undefined ? refuse(where) : atMost(36)(value, where),
    ),
  }
}

function readPolicyText(from: unknown, path: string): PolicyText {
  const at = fieldsOf(from, path)
  const names = ['perMinuteMax', 'perMegabyteMax', 'debtMax', 'topupBelow', 'topup'] as const
  const numbers = ['silentSeconds', 'probesLostMax', 'roundTripMaxMs'] as const
  const voucher = at('certificateVoucher', optional(oneOf(['off', 'arrears', 'prepay'] as const)))
  const entries = [
    ...names.map((name) => [name, at(name, optional(text))]),
    ...numbers.map((name) => [name, at(name, optional(positive))]),
    ['certificateVoucher', voucher],
    ['activity', at('activity', optional(oneOf(['off', 'daily', 'exit'] as const)))],
  ]
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/** The policy of these texts. Throws DeviceError 'usage' on an amount that is none. */
export function policyOf(from: PolicyText, decimals: number): Policy {
  const tokens = (amount: string | undefined): bigint | undefined =>
    amount === undefined ? undefined : parseAmount(amount, decimals)
  const { silentSeconds } = from
  return {
    ...DEFAULT_POLICY,
    perMinuteMax: tokens(from.perMinuteMax),
    perMegabyteMax: tokens(from.perMegabyteMax),
    debtMax: tokens(from.debtMax),
    topUpBelow: tokens(from.topupBelow),
    topUp: tokens(from.topup),
    silentMs: silentSeconds === undefined ? DEFAULT_POLICY.silentMs : silentSeconds * 1000,
    lostMax: from.probesLostMax ?? DEFAULT_POLICY.lostMax,
    roundTripMaxMs: from.roundTripMaxMs ?? DEFAULT_POLICY.roundTripMaxMs,
    certificateVoucher: from.certificateVoucher ?? DEFAULT_POLICY.certificateVoucher,
    activity: from.activity ?? DEFAULT_POLICY.activity,
  }
}

const refuse = (path: string): never => {
  throw new FieldError(path)
}

function fieldsOf(from: unknown, path: string) {
  if (typeof from !== 'object' || from === null || Array.isArray(from)) return refuse(path)
  const fields = from as Record<string, unknown>
  return <Value>(name: string, check: Check<Value>): Value =>
    check(fields[name], path === '' ? name : `${path}.${name}`)
}

const optional =
  <Value>(check: Check<Value>): Check<Value | undefined> =>
  (value, path) =>
    value === undefined ? undefined : check(value, path)

// A device meets a handful of operators; a thousand blocks are a broken file.
const LIST_MAX = 1_000

const listOf =
  <Value>(check: Check<Value>): Check<Value[]> =>
  (value, path) =>
    Array.isArray(value) && value.length <= LIST_MAX
      ? value.map((one, index) => check(one, `${path}.${index}`))
      : refuse(path)

const oneOf =
  <const Values extends readonly unknown[]>(values: Values): Check<Values[number]> =>
  (value, path) =>
    values.includes(value) ? (value as Values[number]) : refuse(path)

const anyText: Check<string> = (value, path) => (typeof value === 'string' ? value : refuse(path))

const matching =
  (pattern: RegExp): Check<string> =>
  (value, path) =>
    typeof value === 'string' && pattern.test(value) ? value : refuse(path)

const text = matching(/./s)

const atMost =
  (most: number): Check<number> =>
  (value, path) =>
    Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) <= most
      ? Number(value)
      : refuse(path)

const positive = atMost(Number.MAX_SAFE_INTEGER)

const address: Check<Address> = (value, path) =>
  (typeof value === 'string' ? parseAddress(value) : undefined) ?? refuse(path)

const url =
  (protocol: RegExp): Check<string> =>
  (value, path) =>
    typeof value === 'string' && URL.canParse(value) && protocol.test(new URL(value).protocol)
      ? value
      : refuse(path)

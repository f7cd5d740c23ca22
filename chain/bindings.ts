// The contracts as TypeScript sees them: interfaces of the committed artifacts and the events the
// mirror follows, as typed values. Encodes and decodes only; sends nothing. Used by this room and
// by device/.

import { Interface, type Result } from 'ethers'
import { type Address, parseAddress } from '../ethereum/address.ts'
import activities from './contracts/artifacts/Activities.json' with { type: 'json' }
import attestorVerifier from './contracts/artifacts/AttestorVerifier.json' with { type: 'json' }
import datanet from './contracts/artifacts/Datanet.json' with { type: 'json' }
import deviceVerifier from './contracts/artifacts/DeviceVerifier.json' with { type: 'json' }
import testToken from './contracts/artifacts/TestToken.json' with { type: 'json' }
import { ChainError } from './error.ts'
import type { BlockTiming } from './payplace/timing.ts'

export const datanetInterface = new Interface(datanet.abi)
/** Beside it: published activities, and who judges their evidence. */
export const activitiesInterface = new Interface(activities.abi)
export const attestorsInterface = new Interface(attestorVerifier.abi)
export const devicesInterface = new Interface(deviceVerifier.abi)
/** ERC-20 with ERC-2612 permit; `mint` exists on the embedded chain's token only. */
export const tokenInterface = new Interface(testToken.abi)

/** Creation bytecode, 0x-hex. */
export const datanetBytecode = withPrefix(datanet.bytecode)
export const testTokenBytecode = withPrefix(testToken.bytecode)

/** Something the contract recorded, in the order of the chain. SPKI hashes are 64 hex digits. */
export type ChainEvent =
  | {
      readonly type: 'operator-registered'
      readonly operatorId: number
      readonly account: Address
      readonly serverSpkiSha256: string
      readonly metadataUri: string
    }
  | {
      readonly type: 'operator-updated'
      readonly operatorId: number
      readonly metadataUri: string
      readonly serverSpkiSha256: string
      /**
       * With it, both keys are valid before `spkiChangesAt` (Unix s), only this one from then on.
       */
      readonly nextServerSpkiSha256?: string
      readonly spkiChangesAt: number
    }
  | { readonly type: 'operator-retired'; readonly operatorId: number }
  | {
      readonly type: 'deposited'
      readonly operatorId: number
      readonly account: Address
      readonly deposit: bigint
    }
  | {
      readonly type: 'channel-updated'
      readonly operatorId: number
      readonly account: Address
      readonly deposit: bigint
      readonly reserved: bigint
      readonly highestVoucher: bigint
      readonly withdrawn: bigint
    }
  | {
      readonly type: 'voucher-seen'
      readonly operatorId: number
      readonly account: Address
      readonly amount: bigint
    }
  | {
      /** A shift of the account away from the operator: asked for, cut, or over (`pending` 0n). */
      readonly type: 'shift-changed'
      readonly operatorId: number
      readonly account: Address
      readonly pending: bigint
    }
  | {
      readonly type: 'device-key-set'
      readonly account: Address
      readonly spkiSha256: string
      readonly enabled: boolean
    }

/** A log as eth_getLogs answers it. */
export interface RawLog {
  readonly topics: readonly string[]
  readonly data: string
}

/** The event of one of our contract's logs; undefined for events nobody here follows. */
export function decodeEvent(log: RawLog): ChainEvent | undefined {
  const parsed = datanetInterface.parseLog({ topics: [...log.topics], data: log.data })
  if (parsed === null) return undefined
  const args = parsed.args
  const operatorId = (): number => Number(args.getValue('operator'))
  const account = (name: string): Address => addressOf(args.getValue(name))
  const amount = (name: string): bigint => BigInt(args.getValue(name))
  const hash = (name: string): string => hexOf(args.getValue(name))
  switch (parsed.name) {
    case 'OperatorRegistered':
      return {
        type: 'operator-registered',
        operatorId: operatorId(),
        account: account('account'),
        serverSpkiSha256: hash('serverSpkiHash'),
        metadataUri: String(args.getValue('metadataURI')),
      }
    case 'OperatorUpdated': {
      const next = hash('nextServerSpkiHash')
      return {
        type: 'operator-updated',
        operatorId: operatorId(),
        metadataUri: String(args.getValue('metadataURI')),
        serverSpkiSha256: hash('serverSpkiHash'),
        ...(/^0+$/.test(next) ? {} : { nextServerSpkiSha256: next }),
        spkiChangesAt: Number(args.getValue('spkiChangesAt')),
      }
    }
    case 'OperatorRetired':
      return { type: 'operator-retired', operatorId: operatorId() }
    case 'Deposited':
      return {
        type: 'deposited',
        operatorId: operatorId(),
        account: account('consumer'),
        deposit: amount('newDeposit'),
      }
    case 'ChannelUpdated':
      return {
        type: 'channel-updated',
        operatorId: operatorId(),
        account: account('consumer'),
        deposit: amount('deposit'),
        reserved: amount('reserved'),
        highestVoucher: amount('highestVoucher'),
        withdrawn: amount('withdrawn'),
      }
    case 'VoucherSeen':
      return {
        type: 'voucher-seen',
        operatorId: operatorId(),
        account: account('consumer'),
        amount: amount('amount'),
      }
    case 'DeviceKeySet':
      return {
        type: 'device-key-set',
        account: account('consumer'),
        spkiSha256: hash('spkiHash'),
        enabled: args.getValue('enabled') === true,
      }
    default:
      return shiftEvent(parsed.name, args)
  }
}

/** Events of a shift, with the field that says what waits to be moved after it. */
const SHIFT_EVENTS = new Map([
  ['ShiftRequested', 'amount'],
  ['ShiftChallenged', 'amountLeft'],
  ['ShiftFinalized', undefined],
  ['ShiftCancelled', undefined],
])

function shiftEvent(name: string, args: Result): ChainEvent | undefined {
  if (!SHIFT_EVENTS.has(name)) return undefined
  const field = SHIFT_EVENTS.get(name)
  return {
    type: 'shift-changed',
    operatorId: Number(args.getValue('from')),
    account: addressOf(args.getValue('consumer')),
    pending: field === undefined ? 0n : BigInt(args.getValue(field)),
  }
}

/** An operator's entry as the contract's `operator` function answers it. */
export interface OperatorEntryRead {
  readonly account: Address
  readonly active: boolean
  readonly metadataUri: string
  readonly serverSpkiSha256: string
  readonly nextServerSpkiSha256?: string
  /** Unix s; before it both keys are valid, from then on only the next one. */
  readonly spkiChangesAt: number
}

/** Reads the 0x-hex answer of `operator(uint32)`. */
export function decodeOperator(answer: string): OperatorEntryRead {
  const record = datanetInterface.decodeFunctionResult('operator', answer)[0]
  const next = hexOf(record.getValue('nextServerSpkiHash'))
  return {
    account: addressOf(record.getValue('account')),
    active: record.getValue('active') === true,
    metadataUri: String(record.getValue('metadataURI')),
    serverSpkiSha256: hexOf(record.getValue('serverSpkiHash')),
    ...(/^0+$/.test(next) ? {} : { nextServerSpkiSha256: next }),
    spkiChangesAt: Number(record.getValue('spkiChangesAt')),
  }
}

/** An address out of ABI data or JSON. */
export function addressOf(value: unknown): Address {
  const address = parseAddress(String(value))
  if (address === undefined) throw new ChainError('rpc-error', 'the node answered no address')
  return address
}

/** An operator's timing, as functions and events of the contract give it. */
export function timingOf(timing: Result): BlockTiming {
  const second = (name: string): number => Number(timing.getValue(name))
  return {
    ...{ g0: second('g0'), beta: second('beta'), gamma: second('gamma') },
    ...{ delta: second('delta'), challenge: second('challenge'), eta: second('eta') },
  }
}

/** 0x-hex without its prefix, lowercase. */
export function hexOf(value: unknown): string {
  return String(value).replace(/^0x/, '').toLowerCase()
}

/** The name of a revert ("Datanet_OperatorUnknown(7)"), as far as our contracts know it. */
export function revertReason(data: unknown): string | undefined {
  if (typeof data !== 'string' || !data.startsWith('0x')) return undefined
  const beside = [activitiesInterface, attestorsInterface, devicesInterface]
  for (const contract of [datanetInterface, tokenInterface, ...beside]) {
    const error = contract.parseError(data)
    if (error !== null) return `${error.name}(${error.args.join(', ')})`
  }
  return undefined
}

function withPrefix(hex: string): string {
  return hex.startsWith('0x') ? hex : `0x${hex}`
}

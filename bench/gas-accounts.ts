// The gas of what operators and consumers do now and then: deposits in other ways, device keys, an
// operator's own record. Called by gas-scenario.ts, at the end: it retires operator 2.

import { Contract, ContractFactory, Signature, type TypedDataField } from 'ethers'
import datanetArtifact from '../chain/contracts/artifacts/Datanet.json' with { type: 'json' }
import type { Market, Party } from './gas-market.ts'

const OPERATOR = 1
const OTHER = 2
const TOKENS = 10n ** 18n

const uint256 = (name: string): TypedDataField => ({ name, type: 'uint256' })
const address = (name: string): TypedDataField => ({ name, type: 'address' })
const PERMIT: TypedDataField[] = [
  ...['owner', 'spender'].map(address),
  ...['value', 'nonce', 'deadline'].map(uint256),
]
const DEVICE_KEY: TypedDataField[] = [
  address('consumer'),
  { name: 'spkiHash', type: 'bytes32' },
  { name: 'enabled', type: 'bool' },
  uint256('nonce'),
  { name: 'deadline', type: 'uint64' },
]

type Row = (what: string, gas: number) => void

/** `consumer` and `fresh` have deposits with operator 1 and tokens; neither has a device key. */
export async function measureAccounts(
  market: Market,
  operator: Party,
  [consumer, fresh]: readonly [Party, Party],
  row: Row,
): Promise<void> {
  await deposits(market, consumer, fresh, row)
  await deviceKeys(market, operator, consumer, row)
  await operators(market, operator, row)
}

async function deposits(market: Market, consumer: Party, fresh: Party, row: Row): Promise<void> {
  const { datanet, token, contract, chainId } = market.ledger
  const split = [OPERATOR, OTHER].map((operator) => ({ operator, amount: TOKENS }))
  row(
    '`deposit` split over 2 operators, one of them new to her',
    await market.send(consumer, datanet, 'deposit', split),
  )
  const one = [{ operator: OPERATOR, amount: TOKENS }]
  row('`depositFor`, next', await market.send(consumer, datanet, 'depositFor', fresh.address, one))
  const deadline = market.now() + 1_000
  const nonce = await token.getFunction('nonces')(fresh.address)
  const name = await token.getFunction('name')()
  const domain = { name, version: '1', chainId, verifyingContract: await token.getAddress() }
  const value = { owner: fresh.address, spender: contract, value: TOKENS, nonce, deadline }
  const { v, r, s } = Signature.from(
    await fresh.wallet.signTypedData(domain, { Permit: PERMIT }, value),
  )
  const args = [one, deadline, v, r, s]
  row('`depositWithPermit`, next', await market.send(fresh, datanet, 'depositWithPermit', ...args))
}

async function deviceKeys(
  market: Market,
  operator: Party,
  consumer: Party,
  row: Row,
): Promise<void> {
  const { datanet, contract, chainId } = market.ledger
  const set = (hash: string, enabled: boolean): Promise<number> =>
    market.send(consumer, datanet, 'setDeviceKey', hash, enabled)
  const [one, two] = [`0x${'d1'.repeat(32)}`, `0x${'d2'.repeat(32)}`]
  row('`setDeviceKey`, enable', await set(one, true))
  row('`setDeviceKey`, disable', await set(one, false))
  const nonce = await datanet.getFunction('nonces')(consumer.address)
  const deadline = market.now() + 1_000
  const request = { consumer: consumer.address, spkiHash: two, enabled: true, nonce, deadline }
  const domain = { name: 'PayPlace', version: '1', chainId, verifyingContract: contract }
  const types = { DeviceKey: DEVICE_KEY }
  const signature = await consumer.wallet.signTypedData(domain, types, request)
  row(
    '`setDeviceKeyBySig`, enable',
    await market.send(operator, datanet, 'setDeviceKeyBySig', request, signature),
  )
}

async function operators(market: Market, operator: Party, row: Row): Promise<void> {
  const { datanet, token } = market.ledger
  const uri = 'https://operator.example/'
  const update = (hash: string): Promise<number> =>
    market.send(operator, datanet, 'updateOperator', OTHER, uri, `0x${hash.repeat(32)}`)
  row('`updateOperator`, the same server key', await update('5a'))
  row('`updateOperator`, a new server key', await update('5b'))
  row('`retireOperator`', await market.send(operator, datanet, 'retireOperator', OTHER))
  // Admission is a matter of contracts that have a registrar.
  const { abi, bytecode } = datanetArtifact
  const factory = new ContractFactory(JSON.stringify(abi), bytecode, operator.wallet)
  const deployed = await factory.deploy(await token.getAddress(), operator.address, 0)
  await deployed.waitForDeployment()
  const gated = new Contract(await deployed.getAddress(), JSON.stringify(abi), operator.wallet)
  row(
    '`admitOperator`, where there is a registrar',
    await market.send(operator, gated, 'admitOperator', operator.address),
  )
}

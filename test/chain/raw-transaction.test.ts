// What a stranger may send to the embedded chain, signed by ethers as a device signs it.

import { Wallet } from 'ethers'
import t from 'tap'
import { activitiesInterface, datanetInterface, tokenInterface } from '../../chain/bindings.ts'
import { type ProxyPolicy, planProxy } from '../../chain/proxy.ts'
import { readRawTransaction } from '../../chain/raw-transaction.ts'
import { account } from './fakechain.ts'

const contract = account(0xc0ffee)
const token = account(0x70cce)
const other = account(0xbad)
const wallet = new Wallet(`0x${'11'.repeat(32)}`)
const sender = wallet.address.toLowerCase()
const policy: ProxyPolicy = {
  chainId: 31_337n,
  contracts: { contract, token },
  durableBlock: 100,
  nearlyFull: false,
}

const hash = `0x${'ab'.repeat(32)}`
const setDeviceKey = datanetInterface.encodeFunctionData('setDeviceKey', [hash, true])
const approve = tokenInterface.encodeFunctionData('approve', [contract, 5n])
const depositOf = (parts: number): string =>
  datanetInterface.encodeFunctionData('deposit', [
    Array.from({ length: parts }, (_, i) => [i + 1, 1n]),
  ])
/** The largest leaf, with a voucher of each consumer and the proof of a million leaves. */
const withdrawal = datanetInterface.encodeFunctionData('withdraw', [
  [1, 2, 0, 1, Array.from({ length: 400 }, () => hash)],
  Array.from({ length: 20 }, () => hash),
  Array.from({ length: 400 }, () => [contract, 1n, hash, hash]),
  contract,
])
const junk = (bytes: number): string => 'ff'.repeat(bytes)

const fees = { maxFeePerGas: 1n, maxPriorityFeePerGas: 0n, gasLimit: 1_000_000 }
const legacy = { type: 0, gasPrice: 1n, maxFeePerGas: null, maxPriorityFeePerGas: null }
const sign = (more: object): Promise<string> =>
  wallet.signTransaction({
    ...{ chainId: 31_337, to: contract, nonce: 3, data: setDeviceKey },
    ...{ ...fees, ...more },
  })

t.test('product §11: calls of our functions pass, with who signed them', async (t) => {
  const good: [string, object][] = [
    ['type 2', {}],
    ['type 0', legacy],
    ['type 1', { ...legacy, type: 1, accessList: [] }],
    ['the token', { to: token, data: approve }],
    ['a split deposit', { data: depositOf(60) }],
    ['the largest withdrawal', { data: withdrawal }],
    ['10,000 gwei', { maxFeePerGas: 10n ** 13n }],
  ]
  for (const [name, more] of good) {
    t.strictSame(readRawTransaction(await sign(more), policy), { account: sender, nonce: 3 }, name)
  }
})

t.test('product §11: eth_sendRawTransaction to our contracts, at most 64 KB', async (t) => {
  const raw = await sign({})
  const accessList = [{ address: other, storageKeys: [hash] }]
  const bad: [string, unknown, RegExp][] = [
    ['to another contract', await sign({ to: other }), /our contracts only/],
    ['creating a contract', await sign({ to: null, data: '0x00' }), /our contracts only/],
    ['another chain', await sign({ chainId: 1 }), /chain 31337/],
    ['no chain (EIP-155)', await sign({ ...legacy, chainId: 0 }), /chain 31337/],
    ['gas above EIP-7825', await sign({ gasLimit: 16_777_217 }), /gas above/],
    ['an absurd fee', await sign({ maxFeePerGas: 10n ** 13n + 1n }), /gas price above/],
    ['an absurd gas price', await sign({ ...legacy, gasPrice: 10n ** 18n }), /gas price above/],
    ['an access list', await sign({ accessList }), /no access list/],
    ['no calldata', await sign({ data: '0x' }), /of no function/],
    ['a selector of nobody', await sign({ data: `0xdeadbeef${junk(500)}` }), /of no function/],
    ["the token's function", await sign({ data: approve }), /of no function/],
    [
      'a reading function',
      await sign({ data: datanetInterface.encodeFunctionData('token') }),
      /of no/,
    ],
    ['a word more', await sign({ data: setDeviceKey + junk(32) }), /above 68 bytes/],
    [
      'a byte more than a transfer',
      await sign({ to: token, data: `${approve}00` }),
      /above 68 bytes/,
    ],
    ['more than any needs', await sign({ data: depositOf(1) + junk(4_000) }), /above 4096 bytes/],
    ['65 kB of data', await sign({ data: depositOf(1) + junk(64_000) }), /above 4096 bytes/],
    ['above 64 KB', await sign({ data: `0x${junk(65_536)}` }), /at most 65536 bytes/],
    ['truncated', raw.slice(0, -2), /not a signed/],
    ['a byte more', `${raw}00`, /not a signed/],
    ['type 3', `0x03${raw.slice(4)}`, /not a signed/],
    ['odd hex', `${raw}0`, /parameters/],
    ['no hex', 'hello', /parameters/],
    ['an object', { toString: 1 }, /parameters/],
    ['nothing', undefined, /parameters/],
  ]
  for (const [name, value, reason] of bad) {
    t.match(readRawTransaction(value, policy), reason, name)
    const body = { id: 1, method: 'eth_sendRawTransaction', params: [value] }
    const planned = planProxy(body, policy)
    t.strictSame(planned.forward, [], name)
    t.match(planned.complete([]), { error: { code: -32602, message: reason } }, name)
  }
})

t.test('a nonce far ahead of the account is refused, by what the node says of it', async (t) => {
  const raw = await sign({ nonce: 21 })
  const body = { id: 1, method: 'eth_sendRawTransaction', params: [raw] }
  const [call] = planProxy(body, policy).forward
  t.match(call, { method: 'eth_sendRawTransaction', params: [raw] })
  t.match(call?.before, { method: 'eth_getTransactionCount', params: [sender, 'pending'] })
  t.equal(call?.before?.refusal('0x5'), undefined, '16 ahead')
  t.equal(call?.before?.refusal('0x30'), undefined, 'behind: the node says so itself')
  t.match(call?.before?.refusal('0x4'), { code: -32000, message: /nonce 21 .* next one, 4/ })
  t.throws(() => call?.before?.refusal(null), { code: 'rpc-error' })
})

t.test('a chain that is nearly full takes no transactions, and says so', async (t) => {
  const body = { id: 1, method: 'eth_sendRawTransaction', params: [await sign({})] }
  const planned = planProxy(body, { ...policy, nearlyFull: true })
  t.strictSame(planned.forward, [])
  t.match(planned.complete([]), { error: { code: -32000, message: /nearly full/ } })
  const read = { id: 1, method: 'eth_chainId' }
  t.equal(planProxy(read, { ...policy, nearlyFull: true }).forward.length, 1, 'reading goes on')
})

t.test('publishActivity goes to the contract of activities, and nowhere else', async (t) => {
  const activities = account(0xa1)
  const activity = { activities, attestors: account(0xa2), devices: account(0xa3) }
  const wider = { ...policy, contracts: { ...policy.contracts, activity } }
  const summary = [other, 1, 1, 2, 3, 4, 5, 6, 1, hash, 0]
  const args = [summary, `0x${junk(65)}`, `0x${junk(300)}`]
  const data = activitiesInterface.encodeFunctionData('publishActivity', args)
  const good = readRawTransaction(await sign({ to: activities, data }), wider)
  t.strictSame(good, { account: sender, nonce: 3 })
  t.match(readRawTransaction(await sign({ to: activities, data }), policy), /our contracts only/)
  t.match(readRawTransaction(await sign({ to: contract, data }), wider), /of no function/)
  t.match(readRawTransaction(await sign({ to: activity.devices, data }), wider), /of no function/)
  const long = `${data}${junk(4_096)}`
  t.match(readRawTransaction(await sign({ to: activities, data: long }), wider), /above 4096/)
})

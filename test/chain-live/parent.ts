// Run by embedded.test.ts as a process of its own, to be killed with -9: an embedded chain with a
// market on it. Makes one deposit per line read, and prints a line of JSON once that deposit is
// durable.

import { createInterface } from 'node:readline'
import t from 'tap'
import { untilDurable } from '../../chain/faucet.ts'
import { openMarket, startChain, testKey } from './fixture.ts'

const directory = process.argv[2] ?? ''
const chain = await startChain(t, directory)
const market = await openMarket(t, chain, directory)
const say = (value: object): boolean => process.stderr.write(`${JSON.stringify(value)}\n`)
say({ pid: chain.pid(), contract: market.contracts.contract, durable: chain.durableBlock() })
for await (const _ of createInterface({ input: process.stdin })) {
  const block = await market.deposit(testKey(0xa1).key, 5n)
  await untilDurable(chain, block)
  say({ block })
}

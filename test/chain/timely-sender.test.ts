// Transactions with a deadline: sent again for more, replaced, given up in time; on a chain that
// the test plays.

import { Transaction } from 'ethers'
import t from 'tap'
import { ChainError } from '../../chain/error.ts'
import { openTimelySender } from '../../chain/timely-sender.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'

const key = Buffer.alloc(32, 7)
const to = parseAddress(`0x${'ab'.repeat(20)}`)
if (to === undefined) throw new Error('no address')

interface Sent {
  readonly nonce: number
  readonly fee: bigint
  readonly gas: bigint
  readonly hash: string
}

/** A node; what is mined and refused is up to the test. */
function node(o: { refuse?: (sent: Sent, all: Sent[]) => string | undefined } = {}) {
  const all: Sent[] = []
  const mined = new Map<string, string>()
  let count = 4
  const answers: Record<string, (params: readonly unknown[]) => unknown> = {
    eth_getTransactionCount: () => `0x${count.toString(16)}`,
    eth_getBlockByNumber: () => ({ baseFeePerGas: '0x64' }),
    eth_maxPriorityFeePerGas: () => '0x0a',
    eth_estimateGas: () => '0x1388',
    eth_call: () => '0x',
    eth_getTransactionReceipt([hash]) {
      const status = mined.get(String(hash))
      return status === undefined ? null : { blockNumber: '0x9', status }
    },
    eth_sendRawTransaction([raw]) {
      const transaction = Transaction.from(String(raw))
      const { nonce, maxFeePerGas, gasLimit, hash } = transaction
      const sent = { nonce, fee: maxFeePerGas ?? 0n, gas: gasLimit, hash: hash ?? '' }
      const refusal = o.refuse?.(sent, all)
      if (refusal !== undefined) throw new ChainError('rpc-error', refusal)
      all.push(sent)
      return sent.hash
    },
  }
  return {
    all,
    mine(sent: Sent | undefined, status = '0x1') {
      mined.set(sent?.hash ?? '', status)
      count += 1
    },
    rpc: {
      async request(method: string, params: readonly unknown[]) {
        const answer = answers[method]
        if (answer === undefined) throw new Error(method)
        return answer(params)
      },
    },
  }
}

const sender = ({ rpc }: ReturnType<typeof node>, resendMs = 40) =>
  openTimelySender({ rpc, chainId: 5n, privateKey: key, now: Date.now, resendMs })

const call = (within: number) => ({
  to,
  data: '0x01',
  what: 'notarize',
  deadlineMs: Date.now() + within,
})

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: ChainError) => error.code,
  )

async function until(test: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !test(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test('one that is mined at once', async (t) => {
  const chain = node()
  const one = sender(chain)
  t.equal(one.account, accountOf(key))
  const sent = one.send({ ...call(2_000), gas: 77_000n })
  await until(() => chain.all.length === 1)
  chain.mine(chain.all[0])
  t.match(await sent, { blockNumber: 9, transactionHash: chain.all[0]?.hash })
  t.match(chain.all[0], { nonce: 4, fee: 210n, gas: 77_000n })
  const next = one.send(call(2_000))
  await until(() => chain.all.length === 2)
  chain.mine(chain.all[1])
  await next
  t.match(chain.all[1], { nonce: 5, gas: 6_000n }, 'estimated, a fifth more')
})

t.test('not mined: sent again with the same nonce, a quarter more each time', async (t) => {
  const chain = node()
  const sent = sender(chain).send(call(3_000))
  await until(() => chain.all.length === 3)
  t.same(
    chain.all.slice(0, 3).map(({ nonce, fee }) => [nonce, fee]),
    [
      [4, 210n],
      [4, 263n],
      [4, 329n],
    ],
  )
  chain.mine(chain.all[1])
  t.match(await sent, { transactionHash: chain.all[1]?.hash }, 'whichever was taken')
})

t.test('given up at its deadline; the next one takes its place for more', async (t) => {
  const chain = node()
  const one = sender(chain, 60_000)
  t.equal(await codeOf(one.send(call(60))), 'transaction-timeout')
  const next = one.send(call(2_000))
  await until(() => chain.all.length === 2)
  t.match(chain.all[1], { nonce: 4, fee: 263n })
  chain.mine(chain.all[1])
  await next
  t.equal(await codeOf(one.send(call(-1))), 'transaction-timeout')
  t.equal(chain.all.length, 2, 'what is late already is not sent')
})

t.test('refused by the node: underpriced for more, nonce too low with the next one', async (t) => {
  const dear = node({
    refuse: ({ fee }) => (fee < 300n ? 'replacement transaction underpriced' : undefined),
  })
  const first = sender(dear).send(call(2_000))
  await until(() => dear.all.length === 1)
  t.equal(dear.all[0]?.fee, 329n)
  dear.mine(dear.all[0])
  await first
  let taken = true
  const busy = node({
    refuse() {
      const was = taken
      if (was) busy.mine(undefined)
      taken = false
      return was ? 'nonce too low' : undefined
    },
  })
  const second = sender(busy).send(call(2_000))
  await until(() => busy.all.length === 1)
  t.equal(busy.all[0]?.nonce, 5)
  busy.mine(busy.all[0])
  await second
  const poor = node({ refuse: () => 'insufficient funds for gas' })
  t.equal(await codeOf(sender(poor).send(call(2_000))), 'insufficient-funds')
})

t.test('the one that was given up is mined in place of the next: it is sent anew', async (t) => {
  let nonce = 4
  const chain = node({ refuse: (sent) => (sent.nonce < nonce ? 'nonce too low' : undefined) })
  const one = sender(chain)
  t.equal(await codeOf(one.send({ ...call(30), gas: 1n })), 'transaction-timeout')
  const second = one.send({ ...call(5_000), gas: 2n })
  await until(() => chain.all.some(({ gas }) => gas === 2n))
  chain.mine(chain.all[0])
  nonce = 5
  await until(() => chain.all.some((sent) => sent.nonce === 5))
  const again = chain.all.find((sent) => sent.nonce === 5)
  t.equal(again?.gas, 2n)
  chain.mine(again)
  t.match(await second, { transactionHash: again?.hash })
})

t.test('its own is mined as it is sent again: not sent another time', async (t) => {
  const chain = node({
    refuse(_, all) {
      if (all.length === 0) return undefined
      chain.mine(all[0])
      return 'nonce too low'
    },
  })
  t.match(await sender(chain).send(call(2_000)), { transactionHash: chain.all[0]?.hash })
  t.equal(chain.all.length, 1)
})

t.test('refused by the contract', async (t) => {
  const chain = node()
  const sent = sender(chain).send(call(2_000))
  await until(() => chain.all.length === 1)
  chain.mine(chain.all[0], '0x0')
  t.equal(await codeOf(sent), 'transaction-failed')
})

// Sending transactions to a node in memory: nonces, fees, receipts, and keys that must not be used.

import { HDNodeWallet, Mnemonic, Transaction } from 'ethers'
import t from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import { openSender, refuseDevelopmentKey } from '../../chain/transactions.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { account } from './fakechain.ts'

const privateKey = Buffer.alloc(32, 0x51)
const call = { to: account(5), data: '0x1234', what: 'deposit' }

/** A node that mines at once; answers can be replaced by method. */
function fakeNode(answers: Record<string, (params: readonly unknown[]) => unknown> = {}) {
  const sent: Transaction[] = []
  const usual: typeof answers = {
    eth_estimateGas: () => '0x186a0',
    eth_getBlockByNumber: () => ({ baseFeePerGas: '0x64' }),
    eth_maxPriorityFeePerGas: () => '0x5',
    eth_gasPrice: () => '0x7',
    eth_getTransactionCount: () => `0x${sent.length.toString(16)}`,
    eth_sendRawTransaction: ([raw]) => sent.push(Transaction.from(String(raw))) && '0xaa',
    eth_getTransactionReceipt: () => ({ status: '0x1', blockNumber: '0x9' }),
    ...answers,
  }
  const request = async (method: string, params: readonly unknown[]): Promise<unknown> =>
    usual[method]?.(params)
  return { sent, rpc: { request } }
}

t.test('the ten published development accounts work on development chains only', (t) => {
  const mnemonic = Mnemonic.fromPhrase(`${'test '.repeat(11)}junk`)
  for (let i = 0; i < 10; i++) {
    const wallet = HDNodeWallet.fromMnemonic(mnemonic, `m/44'/60'/0'/0/${i}`)
    const published = parseAddress(wallet.address)
    if (published === undefined) throw new Error('no address')
    for (const chainId of [1n, 10n, 11_155_111n, 31_338n]) {
      const attempt = (): void => refuseDevelopmentKey(published, chainId)
      t.throws(attempt, { code: 'dev-key-on-public-chain' }, `${i} on ${chainId}`)
    }
    refuseDevelopmentKey(published, 31_337n)
    refuseDevelopmentKey(published, 1337n)
  }
  refuseDevelopmentKey(account(5), 1n)
  const key = HDNodeWallet.fromMnemonic(mnemonic).privateKey
  const open = (): unknown =>
    openSender({ ...fakeNode(), chainId: 1n, privateKey: Buffer.from(key.slice(2), 'hex') })
  t.throws(open, { code: 'dev-key-on-public-chain' })
  t.end()
})

t.test('concurrent sends wait for each other and use rising nonces', async (t) => {
  const { sent, rpc } = fakeNode()
  const sender = openSender({ rpc, chainId: 31_337n, privateKey })
  const receipts = await Promise.all([1, 2, 3].map(() => sender.send(call)))
  t.strictSame(
    sent.map(({ nonce }) => nonce),
    [0, 1, 2],
  )
  t.equal(receipts[0]?.blockNumber, 9)
  t.match(sent[0], { chainId: 31_337n, to: /0{38}05$/, data: '0x1234' })
  t.strictSame([sent[0]?.maxFeePerGas, sent[0]?.maxPriorityFeePerGas], [205n, 5n])
  t.equal(sent[0]?.gasLimit, 120_000n, 'a fifth above the estimate')
})

t.test('a chain without EIP-1559 gets a gas price', async (t) => {
  const { sent, rpc } = fakeNode({ eth_getBlockByNumber: () => ({}) })
  await openSender({ rpc, chainId: 31_337n, privateKey }).send(call)
  t.strictSame([sent[0]?.type, sent[0]?.gasPrice], [0, 7n])
})

t.test('a nonce taken by another sender is asked for again', async (t) => {
  let attempts = 0
  const { rpc } = fakeNode({
    eth_sendRawTransaction: () => {
      attempts += 1
      if (attempts < 3) throw new ChainError('rpc-error', 'eth_sendRawTransaction: nonce too low')
      return '0xaa'
    },
  })
  await openSender({ rpc, chainId: 31_337n, privateKey }).send(call)
  t.equal(attempts, 3)
})

t.test('failures are coded, and the next send goes on', async (t) => {
  const data = datanetInterface.encodeErrorResult('Datanet_OperatorUnknown', [7])
  let estimates = 0
  const { rpc } = fakeNode({
    eth_estimateGas: () => {
      estimates += 1
      if (estimates > 1) return '0x5208'
      throw new ChainError('rpc-error', 'execution reverted', { cause: { code: 3, data } })
    },
  })
  const sender = openSender({ rpc, chainId: 31_337n, privateKey })
  const revert = { code: 'transaction-failed', message: /deposit.*Datanet_OperatorUnknown\(7\)/ }
  await t.rejects(sender.send(call), revert)
  t.ok(await sender.send(call))

  const reverted = fakeNode({
    eth_getTransactionReceipt: () => ({ status: '0x0', blockNumber: '0x1' }),
  })
  const second = openSender({ ...reverted, chainId: 31_337n, privateKey })
  await t.rejects(second.send(call), { code: 'transaction-failed' })

  const unmined = fakeNode({ eth_getTransactionReceipt: () => null })
  const options = { chainId: 31_337n, privateKey, receiptTimeoutMs: 50 }
  await t.rejects(openSender({ ...unmined, ...options }).send(call), {
    code: 'transaction-timeout',
  })
})

t.test(
  'a fixed gas limit is not estimated, and a refusal in a block is told with its reason',
  async (t) => {
    const asked: unknown[] = []
    const { sent, rpc } = fakeNode({
      eth_estimateGas: () => {
        throw new ChainError('rpc-error', 'eth_estimateGas: not open yet')
      },
    })
    const sender = openSender({ rpc, chainId: 31_337n, privateKey })
    await sender.send({ ...call, gas: 77_777n })
    t.equal(sent[0]?.gasLimit, 77_777n)

    const refusing = fakeNode({
      eth_getTransactionReceipt: () => ({ status: '0x0', blockNumber: '0x1' }),
      eth_call: (params) => {
        asked.push(params)
        const data = datanetInterface.encodeErrorResult('Datanet_NotOpen', [7, 3])
        throw new ChainError('rpc-error', 'eth_call: reverted', { cause: { data } })
      },
    })
    const refused = openSender({ rpc: refusing.rpc, chainId: 31_337n, privateKey })
    await t.rejects(refused.send({ ...call, gas: 1n }), {
      code: 'transaction-failed',
      message: 'deposit was refused by the contract (Datanet_NotOpen(7, 3))',
    })
    t.same(asked, [[{ from: refused.account, to: call.to, data: call.data }, '0x1']])
  },
)

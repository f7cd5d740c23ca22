// Tokens into escrow up to the first transaction; the rest needs a real chain
// (test/interop/device.test.ts).

import t from 'tap'
import { ChainError } from '../../chain/error.ts'
import { openChain, readChain } from '../../device/chain.ts'
import { depositTokens } from '../../device/funds.ts'
import {
  bytesOf,
  CONTRACT,
  type Lies,
  OPERATOR_ACCOUNT,
  startDouble,
  TOKEN,
} from './operator-double.ts'

const ONE = 10n ** 18n

async function deposit(
  t: { teardown(f: () => Promise<void>): void },
  lies: Lies,
  amount: bigint,
  told: (line: string) => void = () => {},
) {
  const double = await startDouble(t, lies)
  const { rpc } = openChain(`${double.url}/v1/chain`)
  const chain = readChain(rpc, CONTRACT)
  const said: string[] = []
  const result = depositTokens(
    {
      accountKey: bytesOf('account'),
      parts: [{ operatorId: 1, amount }],
      operatorUrl: double.url,
      contract: CONTRACT,
      chainId: 31337n,
      token: { address: TOKEN, symbol: 'DNT', decimals: 18 },
    },
    {
      rpc,
      chain,
      progress: (line) => {
        said.push(line)
        told(line)
      },
      nowSeconds: 1_790_000_000,
    },
  )
  const faucetCalls = () => double.requests.filter((path) => path === '/v1/faucet').length
  return { result, said, faucetCalls }
}

t.test('no faucet and too few tokens: says what is missing and sends nothing', async (t) => {
  const { result } = await deposit(t, { balance: 3n * ONE, gas: ONE }, 10n * ONE)
  const message = /0x[0-9a-fA-F]{40} has 3 DNT, 10 DNT needed: send it the rest/
  await t.rejects(result, { code: 'unavailable', message })
})

t.test('no faucet and no gas', async (t) => {
  const { result } = await deposit(t, { balance: 10n * ONE }, 10n * ONE)
  await t.rejects(result, { code: 'unavailable', message: /nothing to pay the chain's gas with/ })
})

t.test(
  'the faucet gives only what is missing, 1,000 a call; more than two minutes give is refused',
  async (t) => {
    const faucet = { status: 200, body: {} }
    const some = await deposit(t, { balance: 10n * ONE, faucet }, 2_110n * ONE)
    await t.rejects(some.result, ChainError)
    t.same(
      some.said,
      ['1000', '1000', '100'].map((sum) => `drew ${sum} DNT from the faucet`),
    )
    const much = await deposit(t, { faucet }, 20_001n * ONE)
    await t.rejects(much.result, {
      code: 'unavailable',
      message: /the faucet gives at most 1000 DNT a call and takes 10 calls a minute/,
    })
    t.equal(much.faucetCalls(), 0)
  },
)

t.test('the faucet’s refusal is passed on', async (t) => {
  const body = { error: { code: 'too-many-requests', message: 'enough for today' } }
  const { result } = await deposit(t, { faucet: { status: 429, body } }, ONE)
  await t.rejects(result, {
    code: 'unavailable',
    message: /gives nothing now: enough for today; .*0 DNT drawn so far.*try again tomorrow/,
  })
})

t.test('a faucet that stops half way: what it gave is said, and when to try again', async (t) => {
  const faucet = { status: 200, body: {} }
  const lies: Lies = { faucet }
  const { result, said } = await deposit(t, lies, 2_500n * ONE, (line) => {
    if (line === 'drew 1000 DNT from the faucet') lies.faucetBusy = 9
  })
  const message =
    /takes 10 calls a minute; nothing is deposited yet, 1000 DNT drawn so far .*in a minute$/
  await t.rejects(result, { code: 'unavailable', message })
  t.equal(said.length, 3)
})

t.test('a faucet that names a time is waited for, twice', async (t) => {
  const faucet = { status: 200, body: {} }
  const patient = await deposit(t, { faucet, faucetBusy: 1 }, ONE)
  await t.rejects(patient.result, ChainError)
  t.same(patient.said, ['the faucet is busy: waiting 0 s', 'drew 1 DNT from the faucet'])
  const never = await deposit(t, { faucet, faucetBusy: 9 }, ONE)
  await t.rejects(never.result, { code: 'unavailable', message: /gives nothing now: status 429/ })
  t.equal(never.faucetCalls(), 3)
})

t.test('a busy chain proxy is waited for; a dead one is not', async (t) => {
  const double = await startDouble(t, { busy: 2 })
  const chain = readChain(openChain(`${double.url}/v1/chain`).rpc, CONTRACT)
  t.equal(await chain.chainId(), 31337n)
  t.equal(double.requests.length, 3)
  t.same(await chain.escrow(1, OPERATOR_ACCOUNT), {
    deposit: 10n * ONE,
    reserved: 1n,
    highestVoucher: 25n * 10n ** 17n,
    withdrawn: ONE,
  })
  const dead = readChain(openChain('http://127.0.0.1:1/').rpc, CONTRACT)
  await t.rejects(dead.chainId(), { code: 'unavailable' })
})

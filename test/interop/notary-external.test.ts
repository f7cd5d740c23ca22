// An operator on a chain that is not its own, where blocks come with transactions only: it causes
// one where it needs it, its blocks are notarized, and after kill -9 it reads on where it was.
// Mostly waits: for periods of 12 s.

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ContractAccess, deposit } from '../../chain/calls.ts'
import { openRpc } from '../../chain/rpc.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { startNode } from './node.ts'
import { admin, deviceOf, type Status, TIMING, TOKEN } from './notary-rig.ts'
import { startServer, temporaryDirectory, testConfig, waitFor } from './server.ts'

t.setTimeout(175_000)

t.test('an operator on the chain of others', async (t) => {
  const directory = temporaryDirectory(t)
  const node = await startNode(t, directory)
  const { beta, gamma, delta, challenge, eta } = TIMING
  const config = testConfig({
    chain: node.config,
    more: `payplace: { timing: { beta: ${beta}s, gamma: ${gamma}s, delta: ${delta}s, challenge: ${challenge}s, eta: ${eta} } }`,
  })
  let server = await startServer(t, { directory, config })
  const { operatorId } = (await (await fetch(`${server.url}/v1/operator`)).json()) as {
    operatorId: number
  }
  const rpc = openRpc(node.chain.url)
  t.teardown(async () => rpc.close())
  const { contract, token } = node
  const access: ContractAccess = { rpc, chainId: node.chain.chainId, contract, token }
  const key = randomBytes(32)
  await node.give(accountOf(key), 900)
  const parts = [{ operatorId, amount: 900n * TOKEN }]
  await deposit(access, { privateKey: key }, parts, Math.floor(Date.now() / 1_000))
  let stations = 0
  const device = deviceOf(
    key,
    { access, operatorId },
    () => server,
    () => ++stations,
  )
  const status = async (): Promise<Status> => (await admin(server, '/v1/notary')) as Status
  const notarized = async (): Promise<void> => {
    const before = (await status()).k
    let session = ''
    // A deposit is not known at once.
    const isJoined = async (): Promise<boolean> => {
      session = await device.join(0).catch(() => '')
      return session !== ''
    }
    await waitFor(isJoined, 15_000, () => 'not admitted')
    t.ok(await device.pay(session, TOKEN / 1_000n))
    await waitFor(
      async () => (await status()).k > before,
      4 * beta * 1_000,
      () => `no block:\n${JSON.stringify(server.log().slice(-9))}`,
    )
  }
  await notarized()
  t.ok(existsSync(join(directory, 'data', 'blocks', 'view.sqlite')))
  await server.stop('SIGKILL')
  server = await startServer(t, { directory, config })
  await server.logged((line) => line['msg'] === 'notary: last block' && line['k'] === 1)
  await notarized()
})

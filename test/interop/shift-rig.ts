// Operators with the timing of CI on one chain that is nobody's own, and the device's program as a
// person runs it. Called by the tests of shifts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ContractAccess } from '../../chain/calls.ts'
import { openRpc } from '../../chain/rpc.ts'
import { openAccount } from '../../device/keystore.ts'
import { startNode, type TestNode } from './node.ts'
import { TIMING } from './notary-rig.ts'
import { onFixedPort, type RunningServer, runDatanet, startServer, testConfig } from './server.ts'

export const PASSWORD = 'correct horse battery staple'

/** An operator's server; `id` is its number in the contract. */
export interface ShiftOperator {
  readonly id: number
  server(): RunningServer
  /** Ends the server and starts it again on the same data and ports. */
  restart(): Promise<void>
}

export interface ShiftRig {
  readonly node: TestNode
  readonly access: ContractAccess
  /** `client` is a further access point's entry. */
  operator(name: string, client?: string): Promise<ShiftOperator>
  /** A command of the command line, run where the devices are. */
  datanet(...args: readonly string[]): Promise<{ code: number; out: string; errors: string }>
  /** The account's key, out of the wallet of a DIR. */
  keyOf(dir: string): Promise<Buffer>
}

export async function shiftRig(t: Test, directory: string): Promise<ShiftRig> {
  const node = await startNode(t, directory)
  const rpc = openRpc(node.chain.url)
  t.teardown(async () => rpc.close())
  const { contract, token } = node
  const { beta, gamma, delta, challenge, eta } = TIMING
  const timing = `{ beta: ${beta}s, gamma: ${gamma}s, delta: ${delta}s, challenge: ${challenge}s, eta: ${eta} }`
  return {
    node,
    access: { rpc, chainId: node.chain.chainId, contract, token },
    async operator(name, client = '') {
      const own = join(directory, name)
      await node.prepare(own)
      const more = `payplace: { timing: ${timing} }`
      const config = await onFixedPort(testConfig({ chain: node.config, client, more }))
      const start = () => startServer(t, { directory: own, config })
      let server = await start()
      const answer = await (await fetch(`${server.url}/v1/operator`)).json()
      return {
        id: Number((answer as { operatorId: number }).operatorId),
        server: () => server,
        async restart() {
          await server.stop()
          server = await start()
        },
      }
    },
    async datanet(...args) {
      const ended = await runDatanet(args, { cwd: directory, env: { DATANET_PASSWORD: PASSWORD } })
      return { ...ended, code: ended.code ?? -1 }
    },
    keyOf: (dir) =>
      openAccount(readFileSync(join(directory, dir, 'wallet.json'), 'utf8'), PASSWORD),
  }
}

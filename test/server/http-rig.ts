// The HTTP side on a port of its own, over real books in memory, and a client for it.

import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { pino } from 'pino'
import { makeOperatorCertificates, spkiSha256Of } from '../../certs/operator.ts'
import type { Mirror } from '../../chain/mirror.ts'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { HTTP_TIMEOUTS, type HttpDeps, openHttp } from '../../server/http.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import { buildRuntime } from '../../server/runtime.ts'
import { activityDouble, noActivityContracts } from './activity-double.ts'
import { metering } from './metering-rig.ts'
import { notaryDouble } from './notary-double.ts'

export const addressOf = (byte: string): Address => {
  const address = parseAddress(`0x${byte.repeat(20)}`)
  if (address === undefined) throw new Error(byte)
  return address
}
const read = parseConfig(defaultConfigText({ secret: 'a'.repeat(24) }), {}, () => '')
if (!('config' in read)) throw new Error(JSON.stringify(read.problems))
export const made = makeOperatorCertificates({
  ...{ operatorName: 'Corner Wi-Fi', nowSeconds: 1_800_000_000, random: randomBytes },
})
export const certificate = {
  ...{ chainPem: made.certificatePem, privateKeyPem: made.keyPem },
  ...{ certificates: [made.certificatePem, made.caCertificatePem], serverName: made.serverName },
  spkiSha256: spkiSha256Of(made.certificatePem),
}
export const runtime = buildRuntime(read.config, certificate, 18, (tariff) => tariff)
const mirror: Mirror = {
  channel: () => undefined,
  operatorsWithDeposit: () => [],
  deviceKey: () => 'unset',
  operator: () => undefined,
  head: () => ({ number: 7, hash: '0x' }),
  heardAtMs: () => 1_000_000,
  connected: () => true,
  refresh: async () => true,
  onChange: () => () => {},
  async stop() {},
}

/** A server with some parts replaced, closed by the end of the test; and how to call it. */
export async function rig(
  t: { teardown(f: () => Promise<void>): void },
  change: Partial<HttpDeps> = {},
  timeouts = HTTP_TIMEOUTS,
) {
  const funded: [Address, bigint][] = []
  const http = await openHttp(
    { host: '127.0.0.1', port: 0 },
    {
      runtime: () => runtime,
      facts: {
        ...{ operatorId: 3, account: addressOf('aa'), contract: addressOf('cc'), chainId: 31_337n },
        token: { address: addressOf('dd'), symbol: 'DNT', decimals: 18 },
        deployBlock: 2,
        activity: noActivityContracts,
      },
      embedded: {
        async fund(account, amount) {
          funded.push([account, amount])
          return '0xhash'
        },
        proxy: async (body) => ({ echoed: body }),
      },
      ...{ baseUrl: () => 'http://127.0.0.1:8080', chainRpc: 'ws://node', adminToken: 'the-token' },
      ...{
        mirror,
        metering: await metering(),
        durableBlock: () => 7,
        metrics: createMetrics(),
        log: pino({ level: 'silent' }),
      },
      ...{
        now: () => 1_030_000,
        wallNow: () => 1_030_000,
        logRate: rateLimited(1_000, 10),
        radiusPorts: { auth: 1812, accounting: 1813 },
        reload: () => ({ problems: [], warnings: [] }),
        readiness: () => undefined,
        publicUrl: () => null,
        activity: activityDouble(),
        notary: notaryDouble(),
        signApproval: () => Buffer.alloc(65),
      },
      ...change,
    },
    timeouts,
  )
  t.teardown(() => http.close())
  const call = async (
    method: string,
    path: string,
    o: { body?: unknown; headers?: object } = {},
  ) => {
    const body = typeof o.body === 'string' ? o.body : JSON.stringify(o.body)
    const type = o.body === undefined ? {} : { 'content-type': 'application/json' }
    const headers = { ...type, ...o.headers }
    const url = `http://127.0.0.1:${http.endpoint.port}${path}`
    return new Promise<{ status: number; body: string; json: () => Record<string, never> }>(
      (resolve, reject) => {
        const sent = request(url, { method, headers }, (answer) => {
          let text = ''
          answer.on('data', (bytes) => {
            text += bytes
          })
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, body: text, json: () => JSON.parse(text) }),
          )
        })
        sent.on('error', reject)
        sent.end(o.body === undefined ? undefined : body)
      },
    )
  }
  return { funded, call, port: http.endpoint.port }
}

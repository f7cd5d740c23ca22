// Our Dynamic Authorization Client as a program, for a test that must send from inside a network
// namespace: one JSON line in for each request, one JSON line out with its outcome.

import { createInterface } from 'node:readline'
import { parseCidr } from '../../config/address.ts'
import { createDynamicAuthorization } from '../../server/dynamic-authorization.ts'

const drops: string[] = []
const client = createDynamicAuthorization({
  ...{ now: Date.now, wallNow: Date.now },
  random: Math.random,
  schedule(run, delayMs) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  onDrop: (reason) => drops.push(reason),
  onError: (error) => process.stderr.write(`${error.message}\n`),
})

for await (const line of createInterface({ input: process.stdin })) {
  const { port, secret, nasType, place, kbps } = JSON.parse(line)
  const ipaddr = parseCidr(place.address)
  if (typeof ipaddr === 'string') throw new Error(ipaddr)
  const nas = { nasType, ipaddr, maxMbps: 100, coa: { port, secret: Buffer.from(secret) } }
  const session = { id: line, account: undefined, place }
  const outcome =
    kbps === undefined
      ? await client.disconnect(nas, session)
      : await client.rateLimit(nas, session, kbps)
  process.stdout.write(`${JSON.stringify({ outcome, drops: drops.splice(0) })}\n`)
}
await client.close()

// A station's traffic, as a process in its network namespace: gets octets over TCP from each of the
// addresses it is told, at the same time, and ends when all have come. Arguments: where from as
// HOST:PORT, then LOCAL=OCTETS for each address of its own. Started by wired-meters.ts.

import { once } from 'node:events'
import { connect } from 'node:net'

const [from = '', ...parts] = process.argv.slice(2)
const [host = '', port] = from.split(':')

await Promise.all(
  parts.map(async (part) => {
    const [localAddress = '', octets] = part.split('=')
    const socket = connect({ host, port: Number(port), localAddress })
    await once(socket, 'connect')
    socket.write(Number(octets).toString(16).padStart(8, '0'))
    let got = 0
    socket.on('data', (chunk) => {
      got += chunk.length
    })
    await once(socket, 'close')
    if (got !== Number(octets)) throw new Error(`${got} of ${part}`)
  }),
)

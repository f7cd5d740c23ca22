// Octets that the kernel counts, for tests of what a device says of its interface.

import { connect, createServer } from 'node:net'

/** Moves so many octets through the loopback interface, which counts them in both directions. */
export async function move(octets: number): Promise<void> {
  await new Promise<void>((done) => {
    const server = createServer((near) => {
      near.resume().on('end', () => {
        near.destroy()
        server.close(() => done())
      })
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      connect(port, '127.0.0.1').end(Buffer.alloc(octets))
    })
  })
}

// Sends prepared HTTP requests over kept-alive connections and notes when each was answered. Owns
// the sockets; builds the bytes before the clock starts, so that the sender costs little beside the
// server. Called by payments.ts.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Target {
  readonly host: string
  readonly port: number
}

export interface Answer {
  readonly status: number
  readonly body: string
  /** Status line and headers, with the empty line after them. */
  readonly headBytes: number
  /** From the moment it was due to be sent, ms. */
  readonly ms: number
}

/** A POST as it goes over the wire. */
export function postRequest(target: Target, path: string, body: string): Buffer {
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: ${target.host}:${target.port}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ].join('\r\n')
  return Buffer.from(`${head}\r\n\r\n${body}`)
}

interface Connection {
  exchange(request: Buffer): Promise<Omit<Answer, 'ms'>>
  close(): void
}

/** `localAddress`: the server limits by address, and one machine stands for many. */
async function openConnection(target: Target, localAddress: string): Promise<Connection> {
  const socket: Socket = connect({ ...target, localAddress, noDelay: true })
  await once(socket, 'connect')
  let received = ''
  let waiting: ((answer: Omit<Answer, 'ms'>) => void) | undefined
  let failed: ((error: Error) => void) | undefined
  socket.setEncoding('latin1')
  socket.on('error', (error) => failed?.(error))
  socket.on('close', () => failed?.(new Error(`the server closed the connection: ${received}`)))
  socket.on('data', (text: string) => {
    received += text
    const head = received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/content-length: (\d+)/i.exec(received.slice(0, head))?.[1])
    if (received.length < head + 4 + length) return
    const status = Number(received.slice(9, 12))
    const body = received.slice(head + 4)
    received = ''
    waiting?.({ status, headBytes: head + 4, body })
  })
  return {
    exchange(request) {
      return new Promise((resolve, reject) => {
        waiting = resolve
        failed = reject
        if (socket.destroyed) reject(new Error('the server had closed an idle connection'))
        else socket.write(request)
      })
    },
    close() {
      failed = undefined
      socket.destroy()
    },
  }
}

async function withConnections<Value>(
  target: Target,
  count: number,
  work: (connections: readonly Connection[]) => Promise<Value>,
): Promise<Value> {
  const opening = Array.from({ length: count }, (_, i) =>
    openConnection(target, `127.0.1.${(i % 250) + 1}`),
  )
  const connections = await Promise.all(opening)
  try {
    return await work(connections)
  } finally {
    for (const connection of connections) connection.close()
  }
}

/** Closed loop: each connection sends its next request when the last one is answered. */
export function closedLoop(
  target: Target,
  requests: readonly Buffer[],
  connectionCount: number,
): Promise<Answer[]> {
  return withConnections(target, connectionCount, async (connections) => {
    const answers: Answer[] = []
    let next = 0
    const loop = async (connection: Connection): Promise<void> => {
      for (;;) {
        const request = requests[next++]
        if (request === undefined) return
        const sentAt = performance.now()
        const answer = await connection.exchange(request)
        answers.push({ ...answer, ms: performance.now() - sentAt })
      }
    }
    await Promise.all(connections.map(loop))
    return answers
  })
}

/**
 * Open loop: requests are due at a fixed rate whether earlier ones are answered or not; one that
 * finds no free connection waits, and its waiting counts.
 */
export function openLoop(
  target: Target,
  requests: readonly Buffer[],
  perSecond: number,
  connectionCount: number,
): Promise<Answer[]> {
  return withConnections(target, connectionCount, async (connections) => {
    const idle = [...connections]
    const due: { readonly request: Buffer; readonly dueAt: number }[] = []
    const answers: Answer[] = []
    const done = Promise.withResolvers<Answer[]>()
    const serve = (): void => {
      while (idle.length > 0 && due.length > 0) {
        // In turn: the server closes a connection that says nothing for seconds.
        const connection = idle.shift()
        const first = due.shift()
        if (connection === undefined || first === undefined) return
        connection.exchange(first.request).then((answer) => {
          answers.push({ ...answer, ms: performance.now() - first.dueAt })
          idle.push(connection)
          if (answers.length === requests.length) done.resolve(answers)
          else serve()
        }, done.reject)
      }
    }
    const startedAt = performance.now()
    let sent = 0
    const timer = setInterval(() => {
      const elapsed = performance.now() - startedAt
      while (sent < requests.length && (sent * 1_000) / perSecond <= elapsed) {
        const request = requests[sent]
        if (request !== undefined) {
          due.push({ request, dueAt: startedAt + (sent * 1_000) / perSecond })
        }
        sent += 1
      }
      serve()
    }, 1)
    return done.promise.finally(() => clearInterval(timer))
  })
}

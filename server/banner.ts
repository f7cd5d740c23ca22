// What `npm start` prints when it is ready: three steps a newcomer can paste, with this server's
// own ports and secret in them. Pure text; main.ts writes it to stdout, everything else goes to the
// log.

import { networkInterfaces } from 'node:os'
import { resolve } from 'node:path'
import type { Config, Endpoint } from '../config/config.ts'

/** Where the server really listens; ports may have been chosen by the system. */
export interface Listening {
  readonly auth: Endpoint
  readonly accounting: Endpoint
  readonly http: Endpoint
}

const DEFAULT_HTTP_PORT = 8080

/** The first IPv4 address other machines can reach, else the loopback address. */
export function lanAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (address.family === 'IPv4' && !address.internal) return address.address
    }
  }
  return '127.0.0.1'
}

/** A URL a program on this machine can open. */
export function httpUrl(endpoint: Endpoint): string {
  const host = endpoint.host === '0.0.0.0' || endpoint.host === '::' ? '127.0.0.1' : endpoint.host
  return `http://${host.includes(':') ? `[${host}]` : host}:${endpoint.port}`
}

/** The four lines; SECRET is the one of the client that covers this machine. */
export function banner(
  config: Config,
  listening: Listening,
  secret: Buffer | undefined,
  dataDirectory: string,
): string {
  const url = httpUrl(listening.http)
  const operator = listening.http.port === DEFAULT_HTTP_PORT ? '' : ` --operator ${url}`
  const { port } = listening.auth
  const shown = secret?.toString() ?? 'SECRET'
  const host = config.radius.auth.host
  const lan = host === '0.0.0.0' || host === '::' ? lanAddress() : host
  const data = resolve(dataDirectory) === resolve('data') ? '' : ` --data ${dataDirectory}`
  const add = `npx datanet client add NAME IP${data}`
  return [
    `1 enrol   DATANET_PASSWORD=… npx datanet device create alice --deposit 10${operator}`,
    `2 test    eapol_test -c alice/wpa_supplicant.conf -a 127.0.0.1 -p ${port} -s ${shown}`,
    `3 AP      RADIUS server ${lan}, auth ${port}, accounting ${listening.accounting.port}; add it with: ${add}`,
    `ready     console ${url}/`,
    '',
  ].join('\n')
}

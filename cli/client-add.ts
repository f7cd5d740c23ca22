// `datanet client add`: one access point more in the configuration, its secret shown once, the
// running server told. The file keeps its comments and is replaced whole, so a crash leaves the
// old or the new.

import { randomBytes } from 'node:crypto'
import { realpathSync, statSync } from 'node:fs'
import { type Cidr, isLoopback, parseCidr } from '../config/address.ts'
import { addClient } from '../config/edit.ts'
import { NAME, NAME_RULE } from '../config/schema.ts'
import { newSecret } from '../config/secret.ts'
import { DeviceError } from '../device/error.ts'
import { refusalOf } from '../device/http.ts'
import { lanAddress } from '../server/banner.ts'
import { writeDurably } from '../server/data.ts'
import { readArguments, usage } from './arguments.ts'
import {
  adminRequest,
  configPath,
  dataDirectory,
  endpointIn,
  publicUrlIn,
  readConfigText,
  serverUrl,
} from './data.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet client add NAME IP|CIDR [--config FILE] [--data DIR] [--json]

Lets the access point at IP (or every one in CIDR) use this server: makes a shared secret, adds
an entry to "clients" with the file's comments kept, and tells the running server. The secret is
printed once, with what to type into the access point's own page.

  --config FILE   the configuration to change (default: DATA/datanet.yaml)
  --data DIR      the data directory (default: $DATANET_DATA or ./data)
  --json          {"name", "ipaddr", "secret", "auth", "accounting", "reloaded"}

Exit codes: 64 usage, 77 permission, 78 the configuration would not be valid.
`

/** Adds the client; the file is changed even where no server runs. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: 'client add',
    positionals: ['NAME', 'IP|CIDR'],
    options: { config: { type: 'string' }, data: { type: 'string' }, json: { type: 'boolean' } },
  })
  const range = readWords(words.NAME, words['IP|CIDR'])
  const dataDir = dataDirectory(flags.data, terminal)
  const path = configPath(flags.config, dataDir)
  const before = await readConfigText(path)
  const client = { name: words.NAME, ipaddr: words['IP|CIDR'], secret: newSecret(randomBytes(32)) }
  const added = addClient(before, client)
  if ('problems' in added) {
    const [problem] = added.problems
    const text =
      problem === undefined ? 'it cannot be changed' : `${problem.path}: ${problem.message}`
    throw new CommandError(
      Exit.configuration,
      `${path} stays as it was; with ${client.name}, ${text}`,
    )
  }
  // Through a symbolic link the file it names is replaced, not the link; the mode stays as it was.
  const real = realpathSync(path)
  writeDurably(real, added.text, statSync(real).mode & 0o777)
  const reload = await tellServer(dataDir, added.text)
  const ports = radiusPorts(added.text)
  if (flags.json === true) {
    const { name, ipaddr, secret } = client
    terminal.out(JSON.stringify({ name, ipaddr, secret, ...ports, reloaded: reload.done }))
  } else {
    terminal.out(`${client.name} (${client.ipaddr}) added. In the access point's own page, set:`)
    terminal.out('  security        WPA2-Enterprise or WPA3-Enterprise')
    terminal.out(`  RADIUS server   ${ports.host}`)
    terminal.out(`  authentication  port ${ports.auth}`)
    terminal.out(`  accounting      port ${ports.accounting}, interim updates on`)
    terminal.out(`  shared secret   ${client.secret}`)
  }
  for (const warning of warnings(range, added.text)) terminal.err(warning)
  terminal.err(reload.said)
  return Exit.ok
}

function readWords(name: string, ipaddr: string): Cidr {
  const range = parseCidr(ipaddr)
  if (typeof range === 'string') throw usage('client add', `${ipaddr} ${range}`)
  if (!NAME.test(name)) throw usage('client add', `NAME ${JSON.stringify(name)} ${NAME_RULE}`)
  return range
}

function warnings(range: Cidr, configText: string): string[] {
  const said: string[] = []
  if (range.prefix === 0) {
    const risk = 'whoever learns the secret is let in from anywhere; name the access point alone'
    said.push(`warning: ${range.text} is every address: ${risk}`)
  }
  // Devices are told this server's own URL, which names itself to nobody else's machine.
  const { host } = endpointIn(configText, ['http', 'listen'], { host: '127.0.0.1', port: 8080 })
  const listensHere = ['0.0.0.0', '::', '127.0.0.1', '::1', 'localhost'].includes(host)
  if (!isLoopback(range) && listensHere && publicUrlIn(configText) === undefined) {
    const way = 'set it to the URL they reach this server under'
    said.push(`warning: http.public_url is not set, so devices behind it could not pay: ${way}`)
  }
  return said
}

async function tellServer(dataDir: string, text: string): Promise<{ done: boolean; said: string }> {
  try {
    const url = serverUrl(dataDir, text)
    const answer = await adminRequest({ dataDir, url, path: '/v1/reload' }, { method: 'POST' })
    if (answer.status === 200) return { done: true, said: 'the running server has read it' }
    const said = `not reloaded: the running server goes on without it: ${refusalOf(answer)}`
    return { done: false, said }
  } catch (error) {
    if (!(error instanceof DeviceError || error instanceof CommandError)) throw error
    const down = error instanceof DeviceError && error.code === 'unavailable'
    const reason = down ? 'no server runs' : error.message
    return { done: false, said: `not reloaded: ${reason}; it will be read at the next start` }
  }
}

function radiusPorts(text: string): { host: string; auth: number; accounting: number } {
  const auth = endpointIn(text, ['radius', 'auth'], { host: '0.0.0.0', port: 1812 })
  const accounting = endpointIn(text, ['radius', 'accounting'], { host: '0.0.0.0', port: 1813 })
  const any = auth.host === '0.0.0.0' || auth.host === '::'
  const host = any ? lanAddress() : auth.host
  return { host, auth: auth.port, accounting: accounting.port }
}

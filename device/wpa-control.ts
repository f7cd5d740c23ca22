// wpa_supplicant's control interface: what the link is, when it comes and goes, and which network
// to take. Node has no Unix datagram sockets, which is what that interface speaks, so `wpa_cli` is
// the way in: one child that prints events as they come, and a short-lived one for each command.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { DeviceError } from './error.ts'
import { type Heard, readScan } from './networks.ts'

/** The link as wpa_supplicant tells it. */
export interface Link {
  readonly isUp: boolean
  /** Joined with a certificate or the like: a network of another kind is the person's own. */
  readonly isEap: boolean
  /** Over the air: on a cable there is nothing to choose, and a scan would join it anew. */
  readonly isWifi: boolean
  readonly ssid: string
  readonly bssid: string
  /** The number of the network block, and its id_str. */
  readonly networkId: string
  readonly idText: string
}

/** One network block, by the number that commands take. */
export type Block = Pick<Link, 'networkId' | 'idText'>

export type LinkEvent = 'connected' | 'disconnected' | 'scanned' | 'lost'

/** One wpa_supplicant, one interface. Failures are DeviceError 'unavailable'. */
export interface WpaControl {
  status(): Promise<Link>
  scan(): Promise<void>
  heard(): Promise<Heard[]>
  /** The network blocks it has, each with its id_str ('' without one). */
  blocks(): Promise<Block[]>
  /** Joins one access point with the block of that number, and no other until `restore`. */
  join(networkId: string, network: { readonly ssid: string; readonly bssid: string }): Promise<void>
  /** Goes back to the blocks as the profile has them. */
  restore(): Promise<void>
  /** Leaves an access point for a while: it is not chosen again before others. */
  avoid(bssid: string): Promise<void>
  /** Authenticates anew, on a cable too: an access point that forgot us does not say so. */
  reconnect(): Promise<void>
  close(): void
}

const COMMAND_TIMEOUT_MS = 5_000
const OUTPUT_BYTES_MAX = 256 * 1024
const RESTART_MS = 1_000
/** Events tell of every change; this is for one that was lost. Each question is a process. */
const STATUS_KEPT_MS = 15_000
/** A profile has a block for each operator of the device. */
const BLOCKS_MAX = 100
const EVENTS: readonly (readonly [RegExp, LinkEvent])[] = [
  [/CTRL-EVENT-CONNECTED/, 'connected'],
  [/CTRL-EVENT-DISCONNECTED/, 'disconnected'],
  [/CTRL-EVENT-EAP-FAILURE/, 'disconnected'],
  [/CTRL-EVENT-SCAN-RESULTS/, 'scanned'],
  [/CTRL-EVENT-TERMINATING|Connection to wpa_supplicant lost/, 'lost'],
]

/** Attaches to the control socket of `interfaceName` in `directory`. */
export function openWpaControl(
  o: { readonly directory: string; readonly interfaceName: string; readonly now: () => number },
  onEvent: (event: LinkEvent) => void,
): WpaControl {
  const at = ['-p', o.directory, '-i', o.interfaceName]
  const command = (...words: string[]): Promise<string> => runCommand([...at, ...words])
  let kept: { readonly link: Link; readonly atMs: number } | undefined
  let changes = 0
  const changed = (): void => {
    changes += 1
    kept = undefined
  }
  const told = async (...words: string[]): Promise<void> => {
    changed()
    const answer = await command(...words)
    if (answer.includes('OK')) return
    throw new DeviceError('unavailable', `wpa_supplicant refuses ${words[0]} (${shown(answer)})`)
  }
  const attached = attach(at, (event) => {
    changed()
    onEvent(event)
  })
  return {
    async status() {
      const atMs = o.now()
      if (kept !== undefined && atMs - kept.atMs < STATUS_KEPT_MS) return kept.link
      const before = changes
      const link = readStatus(await command('status'))
      if (before === changes) kept = { link, atMs }
      return link
    },
    scan: () => told('scan'),
    heard: async () => readScan(await command('scan_results')),
    async join(networkId, { ssid, bssid }) {
      const hex = Buffer.from(ssid, 'utf8').toString('hex')
      await told('set_network', networkId, 'ssid', hex)
      await told('bssid', networkId, bssid)
      await told('select_network', networkId)
    },
    async blocks() {
      const numbers = readBlocks(await command('list_networks')).slice(0, BLOCKS_MAX)
      const idTextOf = async (networkId: string): Promise<string> =>
        // A block without the setting answers FAIL.
        /^"(.*)"$/m.exec(await command('get_network', networkId, 'id_str'))?.[1] ?? ''
      const found: Block[] = []
      for (const networkId of numbers) found.push({ networkId, idText: await idTextOf(networkId) })
      return found
    },
    restore: () => told('reconfigure'),
    async avoid(bssid) {
      await told('bssid_ignore', bssid)
      await told('reassociate')
    },
    async reconnect() {
      await told('logoff')
      await told('logon')
      await told('reassociate')
    },
    close: () => attached.close(),
  }
}

/** The child that prints events; started again when it ends, until it is closed. */
function attach(at: readonly string[], onEvent: (event: LinkEvent) => void): { close(): void } {
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  const start = (): void => {
    let rest = ''
    // Without a command wpa_cli attaches and prints; its input stays open or it would leave.
    child = spawn('wpa_cli', at, { stdio: ['pipe', 'pipe', 'ignore'] })
    child.stdin?.on('error', () => undefined)
    child.stdout?.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n')
      rest = (lines.pop() ?? '').slice(-OUTPUT_BYTES_MAX)
      for (const event of lines.flatMap(readEvent)) onEvent(event)
    })
    const again = (): void => {
      if (!isClosed) timer = setTimeout(start, RESTART_MS)
    }
    child.once('error', again)
    child.once('exit', again)
  }
  start()
  return {
    close() {
      isClosed = true
      clearTimeout(timer)
      child?.kill()
    },
  }
}

/** The event of a line that `wpa_cli` prints unasked; none for what a payer needs not know. */
export function readEvent(line: string): LinkEvent[] {
  const found = EVENTS.find(([pattern]) => pattern.test(line))
  return found === undefined ? [] : [found[1]]
}

function runCommand(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const limits = { timeout: COMMAND_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX }
    execFile('wpa_cli', [...args], limits, (error, out) => {
      if (error === null) return resolve(out)
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const problem = missing
        ? 'wpa_cli is not installed (Debian: wpasupplicant)'
        : `wpa_supplicant does not answer in ${args[1]} (${shown(out)})`
      reject(new DeviceError('unavailable', problem, error))
    })
  })
}

const shown = (text: string): string =>
  text
    .replace(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, 100) || 'no answer'

/** The numbers of `list_networks`: id, SSID, BSSID, flags, by tabs, under a line of titles. */
export const readBlocks = (text: string): string[] =>
  [...text.matchAll(/^(\d{1,9})\t/gm)].map(([, networkId = '']) => networkId)

/** Reads `status`: lines of name=value. COMPLETED is the state of a link one can send over. */
export function readStatus(text: string): Link {
  const values = new Map(
    text.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=')
      return [line.slice(0, at), line.slice(at + 1)]
    }),
  )
  // On a cable the state stays at ASSOCIATED until EAP is through; then it is COMPLETED, too.
  return {
    isUp: values.get('wpa_state') === 'COMPLETED',
    isEap: /EAP|802\.1X/.test(values.get('key_mgmt') ?? ''),
    // A cable has the frequency 0.
    isWifi: Number(values.get('freq')) > 0,
    ssid: values.get('ssid') ?? '',
    bssid: values.get('bssid') ?? '',
    networkId: values.get('id') ?? '',
    idText: values.get('id_str') ?? '',
  }
}

// The next step, printed so that it can be pasted: the command as this checkout runs it, every word
// quoted for a POSIX shell where it needs it. Text only; runs nothing. Called by the verbs.

import { isIP } from 'node:net'
import { relative } from 'node:path'

// What no shell gives a meaning to, wherever in a word it stands.
const PLAIN = /^[A-Za-z0-9_@%+:,./-]+$/

/** One word for a POSIX shell: as it is where that is safe, else in single quotes. */
export function shellQuote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** A `datanet` command line to paste. */
export function command(...words: readonly string[]): string {
  return ['npx', 'datanet', ...words].map(shellQuote).join(' ')
}

/** DIR as a person would type it from here; not quoted. */
export function near(directory: string): string {
  const path = relative('', directory)
  if (path === '' || path.startsWith('..')) return directory
  return path.startsWith('-') ? `./${path}` : path // else it would be read as an option
}

const DEFAULT_AUTH_PORT = 1812

/**
 * The eapol_test line for the device in `directory`. The RADIUS server is taken to be on the host
 * of the operator's URL; eapol_test knows addresses only, so for a name ADDRESS stands there.
 */
export function testLine(o: {
  readonly directory: string
  readonly kind: 'bound' | 'direct'
  readonly operatorUrl: string
  readonly authPort: number | undefined
}): string {
  const path = (name: string): string => shellQuote(`${near(o.directory)}/${name}`)
  const environment = o.kind === 'direct' ? `OPENSSL_CONF=${path('openssl.cnf')} ` : ''
  const port = o.authPort ?? DEFAULT_AUTH_PORT
  const radius = `-a ${addressOf(o.operatorUrl)} -p ${port} -s SECRET`
  return `${environment}eapol_test -c ${path('wpa_supplicant.conf')} ${radius}`
}

function addressOf(operatorUrl: string): string {
  const host = new URL(operatorUrl).hostname.replace(/^\[(.*)\]$/, '$1')
  if (host === 'localhost') return '127.0.0.1'
  return isIP(host) === 0 ? 'ADDRESS' : host
}

/** The command that makes a new device in place of the one in `directory`, beside it. */
export function enrolAgain(
  device: {
    readonly name: string
    readonly kind: 'bound' | 'direct'
    readonly operatorUrl: string
  },
  directory: string,
): string {
  const kind = device.kind === 'direct' ? ['--kind', 'direct'] : []
  const place = ['--operator', device.operatorUrl, '--out', `${near(directory)}-new`]
  return command('device', 'create', device.name, ...kind, ...place)
}

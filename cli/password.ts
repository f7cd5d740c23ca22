// Where the password of a wallet comes from: $DATANET_PASSWORD, else a person at a terminal (twice
// for a new one), else nowhere, which is said. Never an argument: other users of a machine can
// read those.

import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

const NOWHERE =
  'a password for the wallet is needed: set $DATANET_PASSWORD, or run this in a terminal that can ask'

// Below this scrypt buys no time worth naming.
const PASSWORD_LENGTH_LOW = 8

/**
 * The password to protect a new wallet with; asked twice. Throws CommandError 64 where there is
 * no source, 77 where the two differ.
 */
export async function newPassword(terminal: Terminal): Promise<string> {
  const set = passwordFromEnvironment(terminal)
  if (set !== undefined) return warned(set, terminal)
  if (terminal.askHidden === undefined) throw new CommandError(Exit.usage, NOWHERE)
  const password = await terminal.askHidden('New password for wallet.json: ')
  if (password === '') throw new CommandError(Exit.permission, 'an empty password protects nothing')
  const again = await terminal.askHidden('The same once more: ')
  if (again !== password) {
    throw new CommandError(Exit.permission, 'the two passwords differ; nothing was written')
  }
  return warned(password, terminal)
}

/**
 * The password of an existing wallet; asked once. Throws CommandError 64 where there is no
 * source.
 */
export async function knownPassword(terminal: Terminal): Promise<string> {
  const set = passwordFromEnvironment(terminal)
  if (set !== undefined) return set
  if (terminal.askHidden === undefined) throw new CommandError(Exit.usage, NOWHERE)
  return terminal.askHidden('Password of wallet.json: ')
}

/** A weak password is the person's to choose, knowingly. The text says nothing of what it is. */
function warned(password: string, terminal: Terminal): string {
  if ([...password].length >= PASSWORD_LENGTH_LOW) return password
  const kind = /^[….]+$/.test(password)
    ? 'still the placeholder of the instructions'
    : `shorter than ${PASSWORD_LENGTH_LOW} characters`
  const risk = 'whoever copies the files can guess it; make the device anew with a longer one'
  terminal.err(`warning: the password is ${kind}: ${risk}`)
  return password
}

function passwordFromEnvironment(terminal: Terminal): string | undefined {
  const value = terminal.env['DATANET_PASSWORD']
  // An empty variable is a mistake in a script far more often than a wish for an empty password.
  return value === '' ? undefined : value
}

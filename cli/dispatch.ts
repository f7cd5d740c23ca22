// The table of verbs: finds the one named, shows help, runs it, turns what it throws into one line
// on stderr and an exit code. Verbs load only when called, so `datanet secret` never waits for a
// chain library.

import { readFileSync } from 'node:fs'
import { CommandError, Exit, exitOf } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** What each verb's file exports. */
export interface VerbModule {
  /** The text of `datanet VERB --help`. */
  readonly help: string
  /** Runs the verb on the words after it; the result is the exit code. */
  readonly run: (args: readonly string[], terminal: Terminal) => Promise<number>
}

interface Verb {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<VerbModule>
}

/** Every verb there is, in the order the help lists them. */
export const verbs: readonly Verb[] = [
  {
    name: 'serve',
    summary: 'run the operator: RADIUS, EAP-TLS, HTTP, the embedded chain',
    load: () => import('./serve.ts'),
  },
  {
    name: 'check',
    summary: 'say what is wrong with a configuration file',
    load: () => import('./check.ts'),
  },
  { name: 'secret', summary: 'print a new shared secret', load: () => import('./secret.ts') },
  {
    name: 'device create',
    summary: 'make an account, its certificate and its Wi-Fi profiles',
    load: () => import('./device-create.ts'),
  },
  {
    name: 'device status',
    summary: 'show the escrow, the certificate and the operator of a device',
    load: () => import('./device-status.ts'),
  },
  {
    name: 'device topup',
    summary: 'put more tokens in escrow with the operator',
    load: () => import('./device-topup.ts'),
  },
  {
    name: 'device shift',
    summary: 'move escrow of a device from one operator to another',
    load: () => import('./device-shift.ts'),
  },
  {
    name: 'device run',
    summary: 'pay for the connection of a device as it goes',
    load: () => import('./device-run.ts'),
  },
  {
    name: 'device pay',
    summary: 'pay what a device owes now, once',
    load: () => import('./device-pay.ts'),
  },
  {
    name: 'device activity',
    summary: 'show or publish what a device has used and paid',
    load: () => import('./device-activity.ts'),
  },
  {
    name: 'device add-operator',
    summary: 'let a device use one more operator',
    load: () => import('./device-add-operator.ts'),
  },
  {
    name: 'sessions',
    summary: 'list the sessions of the running server, with what they owe',
    load: () => import('./sessions.ts'),
  },
  {
    name: 'ledger',
    summary: 'show what was paid for what, who is in arrears, what is disputed',
    load: () => import('./ledger.ts'),
  },
  {
    name: 'reliability',
    summary: 'how well access points have served, and how well an account has paid',
    load: () => import('./reliability.ts'),
  },
  {
    name: 'activity',
    summary: 'public statistics: what consumers have published, by operator',
    load: () => import('./activity.ts'),
  },
  {
    name: 'disconnect',
    summary: 'put one session off',
    load: () => import('./disconnect.ts'),
  },
  {
    name: 'merchant create',
    summary: 'make an account for the owner of access points',
    load: () => import('./merchant-create.ts'),
  },
  {
    name: 'merchant run',
    summary: 'run a merchant: join, check and sign blocks, watch',
    load: () => import('./merchant-run.ts'),
  },
  {
    name: 'merchant status',
    summary: 'show where a merchant stands and what it can withdraw',
    load: () => import('./merchant-status.ts'),
  },
  {
    name: 'merchant withdraw',
    summary: 'pay out what the contract owes a merchant',
    load: () => import('./merchant-withdraw.ts'),
  },
  {
    name: 'merchant exit',
    summary: 'pay out and leave the operator',
    load: () => import('./merchant-exit.ts'),
  },
  {
    name: 'notarize',
    summary: 'show the blocks that pay access point owners, or ask for one',
    load: () => import('./notarize.ts'),
  },
  {
    name: 'chain status',
    summary: 'ask the running server how its chain is',
    load: () => import('./chain-status.ts'),
  },
  {
    name: 'reload',
    summary: 'tell the running server to read its configuration again',
    load: () => import('./reload.ts'),
  },
  {
    name: 'client add',
    summary: 'let an access point use this server',
    load: () => import('./client-add.ts'),
  },
]

/** Runs one command line, without the program's name; the result is the exit code. Never throws. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(args, terminal)
  } catch (error) {
    const { code, message } = exitOf(error)
    terminal.err(`datanet: ${message}`)
    return code
  }
}

async function dispatch(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first] = args
  if (first === undefined) {
    for (const line of overview()) terminal.err(line)
    return Exit.usage
  }
  if (first === '--help' || first === '-h' || first === 'help') {
    for (const line of overview()) terminal.out(line)
    return Exit.ok
  }
  if (first === '--version' || first === '-v' || first === 'version') {
    terminal.out(version())
    return Exit.ok
  }
  const verb = verbs.find(({ name }) => name.split(' ').every((word, i) => args[i] === word))
  if (verb === undefined) return unknownVerb(args, terminal)
  const words = args.slice(verb.name.split(' ').length)
  const command = await verb.load()
  const flagsEnd = words.includes('--') ? words.indexOf('--') : words.length
  if (words.slice(0, flagsEnd).some((word) => word === '--help' || word === '-h')) {
    terminal.out(command.help.trimEnd())
    return Exit.ok
  }
  return command.run(words, terminal)
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function overview(prefix = ''): string[] {
  const listed = verbs.filter(({ name }) => name.startsWith(prefix))
  return [
    'usage: datanet VERB …',
    '',
    ...listed.map(({ name, summary }) => `  ${name.padEnd(19)} ${summary}`),
    '',
    'datanet VERB --help explains each; datanet --version prints the version.',
  ]
}

function unknownVerb(args: readonly string[], terminal: Terminal): number {
  const [first = '', second] = args
  const group = `${first} `
  if (!verbs.some(({ name }) => name.startsWith(group))) {
    const shown = JSON.stringify(first.slice(0, 40))
    throw new CommandError(Exit.usage, `no verb ${shown}; npx datanet --help lists them`)
  }
  if (second === '--help' || second === '-h') {
    for (const line of overview(group)) terminal.out(line)
    return Exit.ok
  }
  const known = verbs.filter(({ name }) => name.startsWith(group)).map(({ name }) => name)
  const problem =
    second === undefined ? `"${first}" is half a verb` : `no verb "${first} ${second.slice(0, 40)}"`
  throw new CommandError(
    Exit.usage,
    `${problem}: there is ${known.join(', ')}; see: npx datanet --help`,
  )
}

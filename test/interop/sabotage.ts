// Takes one safeguard out of the server as its source is loaded, so that a test can show that it
// would notice: that the test of the safeguard fails without it. Refuses to do nothing: a text that
// is no longer there ends the process. Preloaded by doomed.ts (node --import), never by the server.

import { type LoadFnOutput, registerHooks } from 'node:module'

interface Removal {
  readonly file: string
  readonly text: string
  readonly instead: string
}

/** Which safeguards can be taken out; `$SABOTAGE` names one. */
const REMOVALS: Readonly<Record<string, Removal>> = {
  'no fsync': {
    file: '/accounting/store-sqlite.ts',
    text: 'PRAGMA synchronous = FULL',
    instead: 'PRAGMA synchronous = OFF',
  },
  'responses before they are durable': {
    file: '/server/accounting.ts',
    text: 'await committer.durable()',
    instead: 'committer.durable().catch(() => {})',
  },
  'receipts before they are durable': {
    file: '/server/payments.ts',
    text: 'await deps.committer.durable()',
    instead: 'deps.committer.durable().catch(() => {})',
  },
}

export type Sabotage = keyof typeof REMOVALS

const wanted = process.env['SABOTAGE'] ?? ''
const removal = REMOVALS[wanted]
if (removal === undefined) throw new Error(`there is no sabotage "${wanted}"`)

function without({ file, text, instead }: Removal, loaded: LoadFnOutput): LoadFnOutput {
  const source = String(loaded.source)
  if (source.split(text).length !== 2) throw new Error(`${file}: not once: ${text}`)
  return { ...loaded, source: source.replace(text, instead) }
}

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    return url.endsWith(removal.file) ? without(removal, loaded) : loaded
  },
})

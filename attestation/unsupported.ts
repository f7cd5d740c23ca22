// Schemes that are refused by name, each with what to use instead. Pure. Called by the server's
// door for metering keys where no verifier has the name that came.

import { refused } from './evidence.ts'
import type { Refused } from './verifier.ts'

const INSTEAD: ReadonlyMap<string, string> = new Map([
  [
    'safetynet',
    'SafetyNet Attestation was shut down in January 2025 and proves nothing any more: use ' +
      'android-key, or play-integrity with keys of your own',
  ],
  [
    'play-integrity-standard',
    'only servers of Google can read a standard request: use android-key, or a classic request ' +
      'with keys of your own (play-integrity)',
  ],
  ['android-safetynet', 'SafetyNet Attestation was shut down in January 2025: use android-key'],
])

/** The refusal of a scheme that has no verifier; `scheme` is what came, of any length. */
export function refuseScheme(scheme: string): Refused {
  const known = INSTEAD.get(scheme)
  return refused('unsupported', known ?? `no scheme ${JSON.stringify(scheme.slice(0, 40))}`)
}

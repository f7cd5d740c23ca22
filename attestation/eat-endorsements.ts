// The keys that an operator endorses, as it writes them down: a list in JSON, read strictly, since
// an entry that is misread is a device that is believed or refused without a word. Pure. Knows
// nothing of tokens. Called by server/, which reads the file.

import type { Endorsement } from './eat.ts'
import { octetsOf } from './evidence.ts'
import { pointOfJwk } from './p256.ts'

// A ueid has 33 octets, a key's thumbprint 32; a kid is anything, but not a document.
const ID_OCTETS_MAX = 256
const MODEL_CHARACTERS_MAX = 64

/** What is wrong with one entry, in words that follow its number. */
function problemOf(entry: unknown): string | undefined {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return 'is no object'
  const { by, id, publicKeyJwk, model, untilSeconds, ...others } = entry as Record<string, unknown>
  const [other] = Object.keys(others)
  if (other !== undefined) return `has ${JSON.stringify(other.slice(0, 40))}, which is not a key`
  if (by !== 'key-id' && by !== 'instance-id') return 'by: must be "key-id" or "instance-id"'
  if (octetsOf(id, ID_OCTETS_MAX) === undefined) return 'id: must be 1 to 256 octets in base64url'
  if (pointOfJwk(publicKeyJwk) === undefined) {
    return 'publicKeyJwk: must be the public JWK of a key on P-256'
  }
  if (typeof model !== 'string' || model === '' || model.length > MODEL_CHARACTERS_MAX) {
    return 'model: must be text of 1 to 64 characters'
  }
  if (untilSeconds !== undefined && !Number.isSafeInteger(untilSeconds)) {
    return 'untilSeconds: must be whole Unix seconds'
  }
  return undefined
}

/** The parsed JSON, `[{by, id, publicKeyJwk, model, untilSeconds?}, …]`; or what is wrong. */
export function readEndorsements(
  json: unknown,
): readonly Endorsement[] | { readonly wrong: string } {
  if (!Array.isArray(json) || json.length === 0) return { wrong: 'is not a list of endorsed keys' }
  const known = new Set<string>()
  for (const [index, entry] of json.entries()) {
    const problem = problemOf(entry)
    if (problem !== undefined) return { wrong: `entry ${index + 1} ${problem}` }
    const { by, id } = entry as Endorsement
    // Only one of them would ever be asked.
    if (known.has(`${by} ${id}`)) return { wrong: `entry ${index + 1} names the same key again` }
    known.add(`${by} ${id}`)
  }
  return json as readonly Endorsement[]
}

// Shared secrets: where they come from (a literal, ${ENV} or a file), which are too weak, and new
// ones. A secret's text never appears in a message.

/**
 * How a secret is fetched from outside the file; both are handed in, so this file reads nothing
 * itself.
 */
export interface SecretSource {
  env(name: string): string | undefined
  /** Returns the text of a file or throws. */
  file(path: string): string
  /** Where one comes from, for who has none; absent: "datanet secret" makes one. */
  readonly origin?: string
}

export interface SecretFinding {
  readonly key: 'secret' | 'secret_file'
  readonly message: string
}

export type SecretResult =
  | { readonly secret: Buffer; readonly weak?: SecretFinding }
  | SecretFinding

const SECRET_CHARACTERS_MIN = 12
// RFC 2865 §3 sets no maximum; MD5 over a longer one only costs time, and no NAS takes more.
const SECRET_OCTETS_MAX = 1024
// The examples of other servers' manuals: the first guesses of anyone who tries.
const WELL_KNOWN = new Set(['testing123', 'testing123-1', 'testing123-2'])
const REFERENCE = ['$', '{NAME}'].join('')
const howFrom = ({ origin = '"datanet secret" makes one' }: SecretSource): string =>
  `give a literal, ${REFERENCE} (environment) or secret_file: PATH; ${origin}`

function finding(key: SecretFinding['key'], message: string): SecretFinding {
  return { key, message }
}

function fetchSecret(
  literal: string | undefined,
  path: string | undefined,
  source: SecretSource,
): { readonly text: string; readonly key: SecretFinding['key'] } | SecretFinding {
  if (literal !== undefined && path !== undefined) {
    return finding('secret_file', 'is given together with secret: exactly one of them is allowed')
  }
  if (path !== undefined) {
    try {
      return { text: source.file(path).replace(/[\r\n]+$/, ''), key: 'secret_file' }
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
      return finding('secret_file', `names a file that can't be read${reason}`)
    }
  }
  if (literal === undefined) return finding('secret', `is missing: ${howFrom(source)}`)
  const name = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(literal)?.[1]
  if (name === undefined) {
    if (literal.includes('${')) {
      return finding('secret', `has a reference inside other text: ${REFERENCE} must be all of it`)
    }
    return { text: literal, key: 'secret' }
  }
  const value = source.env(name)
  if (value === undefined) {
    return finding('secret', `refers to the environment variable ${name}, which is not set`)
  }
  if (value === '') return finding('secret', `refers to the environment variable ${name}: empty`)
  return { text: value, key: 'secret' }
}

/** The octets of a secret, with what is weak about it; or why there is none. */
export function resolveSecret(
  literal: string | undefined,
  path: string | undefined,
  source: SecretSource,
): SecretResult {
  const fetched = fetchSecret(literal, path, source)
  if ('message' in fetched) return fetched
  const { text, key } = fetched
  const secret = Buffer.from(text, 'utf8')
  if (secret.length === 0) return finding(key, `is empty: ${howFrom(source)}`)
  if (secret.length > SECRET_OCTETS_MAX) {
    return finding(key, `is longer than ${SECRET_OCTETS_MAX} octets`)
  }
  if (WELL_KNOWN.has(text.toLowerCase())) {
    return { secret, weak: finding(key, 'is a well-known example: "datanet secret" makes one') }
  }
  if ([...text].length < SECRET_CHARACTERS_MIN) {
    const message = `is shorter than ${SECRET_CHARACTERS_MIN} characters: "datanet secret" makes one`
    return { secret, weak: finding(key, message) }
  }
  return { secret }
}

// 32 characters that survive being read aloud and typed: no 0/o, no 1/l. 5 bits each.
const SECRET_ALPHABET = '23456789abcdefghijkmnpqrstuvwxyz'
const SECRET_CHARACTERS = 24

/** A shared secret of one character per random byte given; at least 24 of them (120 bits). */
export function newSecret(random: Buffer): string {
  if (random.length < SECRET_CHARACTERS) {
    throw new RangeError(`a secret takes ${SECRET_CHARACTERS} random bytes, not ${random.length}`)
  }
  return Array.from(random, (byte) => SECRET_ALPHABET[byte % 32]).join('')
}

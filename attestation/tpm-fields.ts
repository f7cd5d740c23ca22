// JSON of a TPM's evidence, strictly: exactly the fields named, octets as base64url of one
// spelling. Pure. Called by tpm-credential.ts and tpm.ts.

/** The object, if it has all of `names`, any of `optional` and nothing else. */
export function fieldsOf(
  value: unknown,
  names: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const fields = new Map<string, unknown>(Object.entries(value))
  const isKnown = [...fields.keys()].every((n) => names.includes(n) || optional.includes(n))
  return isKnown && names.every((n) => fields.has(n)) ? Object.fromEntries(fields) : undefined
}

/** The octets of base64url text without padding; undefined for other spellings and over `max`. */
export function octetsOf(value: unknown, max: number): Buffer | undefined {
  if (typeof value !== 'string' || value.length > Math.ceil((max * 4) / 3)) return undefined
  const octets = Buffer.from(value, 'base64url')
  return octets.toString('base64url') === value ? octets : undefined
}

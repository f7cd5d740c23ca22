// What the grammar of the configuration is made of: mappings, text, durations, numbers and choices,
// each with its refusal in words. Knows no key. Called by schema.ts and attestation.ts.

import { z } from 'zod'
import { formatDuration, parseDuration } from './values.ts'

export const SECOND = 1000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

export function rejection(input: unknown, rule: string): string {
  if (input === undefined) return `is missing: it ${rule}`
  if (input === null) return `is empty: it ${rule}`
  if (typeof input === 'number' && !rule.includes('number')) {
    return `was read as a number: write it in quotes; it ${rule}`
  }
  return rule
}

/**
 * A mapping that takes exactly these keys; the message of an unknown-key issue is the list of them.
 */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? Object.keys(shape).join(' ')
        : rejection(issue.input, 'must be a mapping (key: value)'),
  })
}

/** Text that `read` understands; `read` returns undefined where it does not. */
export function text<Value>(rule: string, read: (input: string) => Value | undefined) {
  return z
    .string({ error: (issue) => rejection(issue.input, rule) })
    .transform((input, context): Value => {
      const value = read(input)
      if (value !== undefined) return value
      context.addIssue({ code: 'custom', message: rule })
      return z.NEVER
    })
}

export function duration(fromMs: number, toMs: number) {
  const range = `${formatDuration(fromMs)} to ${formatDuration(toMs)}`
  const rule = `must be a duration of ${range}: an integer and ms, s, m, h or d, such as 60s`
  return text(rule, (input) => {
    const ms = parseDuration(input)
    return ms !== undefined && ms >= fromMs && ms <= toMs ? ms : undefined
  })
}

export function integer(from: number, to: number) {
  const rule = `must be a whole number from ${from} to ${to}`
  const error = (issue: { readonly input?: unknown }) => rejection(issue.input, rule)
  return z.number({ error }).int({ error }).min(from, { error }).max(to, { error })
}

export function degrees(limit: number) {
  const rule = `must be a number of degrees from -${limit} to ${limit}`
  const error = (issue: { readonly input?: unknown }) => rejection(issue.input, rule)
  return z.number({ error }).min(-limit, { error }).max(limit, { error })
}

export function flag() {
  return z.boolean({ error: (issue) => rejection(issue.input, 'must be true or false') })
}

export function choice<const Values extends readonly string[]>(values: Values) {
  const rule = `must be ${values.map((value) => JSON.stringify(value)).join(' or ')}`
  return z.enum(values, { error: (issue) => rejection(issue.input, rule) })
}

export const fileName = text('must be the path of a file', (input) =>
  input === '' ? undefined : input,
)

// Judged by secret.ts, which also needs the environment and the address of the entry.
export const secretText = z
  .string({ error: (issue) => rejection(issue.input, 'must be text') })
  .optional()

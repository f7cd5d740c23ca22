// Turns what zod found into problems an operator can act on: one per mistake, with path and line.
// Unknown keys get a "did you mean". Nothing of a value is repeated, since it may be a secret.

import type { z } from 'zod'
import type { ConfigProblem, Finding } from './config.ts'
import { type ConfigDocument, type Path, pathText } from './document.ts'

/**
 * Edit distance with swaps of neighbours, so `secert` is one step from `secret`. Keys are short.
 */
function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + +!same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1)
      }
      row.push(cost)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

/** The allowed key the operator most likely meant; `tlsMin` and `tls-min` are `tls_min`. */
export function nearestKey(key: string, allowed: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_\s]/g, '')
  // A key longer than any of ours by this much is no misspelling of it (and would only cost time).
  if (key.length > 64) return undefined
  const ranked = allowed
    .map((candidate) => ({ candidate, steps: distance(plain(key), plain(candidate)) }))
    .sort((a, b) => a.steps - b.steps)
  const best = ranked[0]
  return best !== undefined && best.steps <= Math.max(1, key.length / 3)
    ? best.candidate
    : undefined
}

function unknownKeyMessage(key: string, allowed: readonly string[]): string {
  const nearest = nearestKey(key, allowed)
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`
  return `is not a key here${hint} Allowed: ${allowed.join(', ')}`.replace(/here A/, 'here. A')
}

function problemOf(document: ConfigDocument, path: Path, message: string): ConfigProblem {
  return { path: pathText(path), line: document.lineOf(path), message }
}

/** Places findings that are already worded. */
export function placeFindings(
  findings: readonly Finding[],
  document: ConfigDocument,
): ConfigProblem[] {
  return findings.map(({ path, message }) => problemOf(document, path, message))
}

/** One problem per issue, and one per key where zod lists several unknown keys in one. */
export function placeIssues(
  issues: readonly z.core.$ZodIssue[],
  document: ConfigDocument,
): ConfigProblem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)))
    if (issue.code === 'unrecognized_keys') {
      const allowed = issue.message.split(' ')
      return issue.keys.map((key) =>
        problemOf(document, [...path, key], unknownKeyMessage(key, allowed)),
      )
    }
    // A bad tariff name: the wording sits on the key's own issue.
    const inner = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined
    return [problemOf(document, path, inner ?? issue.message)]
  })
}

/** In the order of the file; the same mistake seen by two checks is told once. */
export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const unique = new Map(problems.map((problem) => [`${problem.path} ${problem.message}`, problem]))
  return [...unique.values()].sort((a, b) => a.line - b.line)
}

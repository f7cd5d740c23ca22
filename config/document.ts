// YAML text <-> tree, and the line of each path in it. Knows YAML, nothing of what the keys mean.
// Messages never quote the file: a line of it may hold a secret.

import {
  type Document,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml'
import type { ConfigProblem } from './config.ts'

export type Path = readonly (string | number)[]

/** A parsed file: the plain tree, the document behind it (for editing), and lines. */
export interface ConfigDocument {
  readonly tree: unknown
  readonly document: Document
  /** The 1-based line of a path, or of its nearest ancestor that is in the file. */
  lineOf(path: Path): number
  readonly problems: readonly ConfigProblem[]
}

// YAML reads `{ secret: ${NAME} }` as a mapping inside the scalar `$`. The braces are held by
// private-use characters of the same length while YAML looks, so that the form works everywhere and
// columns stay.
const OPEN = '\uE000'
const CLOSE = '\uE001'
const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g
const HELD = new RegExp(`\\$${OPEN}([A-Za-z_][A-Za-z0-9_]*)${CLOSE}`, 'g')

export function holdReferences(text: string): string {
  return text.replace(REFERENCE, `$$${OPEN}$1${CLOSE}`)
}

export function releaseReferences(text: string): string {
  return text.replace(HELD, '$${$1}')
}

const SYNTAX: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'is a YAML alias to nothing: write text that starts with * in quotes',
  BAD_INDENT: 'is indented differently from the lines it belongs to',
  BLOCK_AS_IMPLICIT_KEY: 'has a ":" in a place YAML takes for a key: write the text in quotes',
  DUPLICATE_KEY: 'has a key that is given twice in the same mapping',
  MISSING_CHAR: 'misses a closing quote, bracket, comma or space after ":", or one above does',
  MULTIPLE_DOCS: 'starts a second YAML document: one file is one configuration',
  TAB_AS_INDENT: 'is indented with a tab: YAML wants spaces',
  TAG_RESOLVE_FAILED: 'has a YAML tag: write text that starts with ! in quotes',
}

/** `clients[0].secret`; the empty path is the file. */
export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return text === '' ? '(file)' : text
}

function releaseTree(node: unknown): unknown {
  if (typeof node === 'string') return releaseReferences(node)
  if (Array.isArray(node)) return node.map(releaseTree)
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, releaseTree(value)]))
}

function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents
  let offset = document.contents?.range?.[0] ?? 0
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === step)
      if (!isPair(pair) || !isScalar(pair.key)) return offset
      offset = pair.key.range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step]
      if (node === undefined) return offset
      const range = (node as { range?: [number, number, number] | null }).range
      offset = range?.[0] ?? offset
    } else {
      return offset
    }
  }
  return offset
}

/**
 * Reads the text. With `problems` other than repeated keys, `tree` is undefined: the rest can't be
 * trusted.
 */
export function readDocument(text: string): ConfigDocument {
  const lines = new LineCounter()
  const document = parseDocument(holdReferences(text), {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
  })
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line)
  const syntax = new Map<string, ConfigProblem>()
  let readable = true
  for (const { code, pos } of [...document.errors, ...document.warnings]) {
    if (code !== 'DUPLICATE_KEY') readable = false
    const line = lineAt(pos[0])
    const message = SYNTAX[code] ?? 'is not valid YAML'
    // One mistake can cause an error for every token after it; a line is named once, twenty lines
    // at most.
    if (syntax.size < 20 && !syntax.has(`${line}`)) {
      syntax.set(`${line}`, { path: '(file)', line, message: `this line ${message}` })
    }
  }
  const problems = [...syntax.values()]
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return
      readable = false
      const line = lineAt(alias.range?.[0] ?? 0)
      problems.push({ path: '(file)', line, message: `this line ${SYNTAX['BAD_ALIAS']}` })
    },
  })
  let tree: unknown
  if (readable) {
    try {
      tree = releaseTree(document.toJS({ maxAliasCount: 100 }))
    } catch {
      problems.push({ path: '(file)', line: 1, message: 'uses too many or circular YAML aliases' })
    }
  }
  return { tree, document, lineOf: (path) => lineAt(offsetOf(document, path)), problems }
}

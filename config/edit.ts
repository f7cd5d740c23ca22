// One more client in an existing configuration text, whose every other byte stays as the operator
// left it. Text in, text out; the file and the server that reads it are the caller's business
// (cli/).

import { type Document, isSeq, type Scalar, stringify, type YAMLSeq } from 'yaml'
import type { ConfigProblem } from './config.ts'
import { holdReferences, readDocument, releaseReferences } from './document.ts'
import { checkDocument } from './parse.ts'
import type { SecretSource } from './secret.ts'

/** What `datanet client add NAME IP|CIDR` knows; everything else takes its default. */
export interface NewClient {
  readonly name: string
  readonly ipaddr: string
  readonly secret: string
}

// addClient has no environment: whether a variable is set is the server's concern, not the edit's.
const ANY_SECRET: SecretSource = {
  env: () => 'a stand-in of enough characters',
  file: () => 'a stand-in of enough characters',
}

/**
 * The text with the entry's lines after the last item of a block list, or undefined for other
 * layouts.
 */
function insertLines(text: string, document: Document, client: NewClient): string | undefined {
  const list = document.get('clients', true) as YAMLSeq | Scalar | undefined
  if (!isSeq(list) || list.flow === true || list.range == null) return undefined
  const last = list.items.at(-1) as { range?: [number, number, number] | null } | undefined
  const end = last?.range?.[1]
  if (end === undefined) return undefined
  const start = list.range[0]
  const margin = text.slice(text.lastIndexOf('\n', start - 1) + 1, start)
  if (margin.trim() !== '') return undefined
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  const lineEnd = text[end - 1] === '\n' ? end - 1 : text.indexOf('\n', end)
  const before = lineEnd === -1 ? `${text}${newline}` : text.slice(0, lineEnd + 1)
  const after = lineEnd === -1 ? '' : text.slice(lineEnd + 1)
  const lines = stringify([client], { lineWidth: 0 }).trimEnd().split('\n')
  return before + lines.map((line) => `${margin}${line}${newline}`).join('') + after
}

/**
 * For `clients: []`, a flow list or no list at all: YAML's own writer, which keeps comments too.
 */
function appendNode(document: Document, client: NewClient): string {
  const list = document.get('clients', true)
  if (isSeq(list)) {
    list.flow = false
    list.add(document.createNode(client))
  } else {
    document.set('clients', document.createNode([client]))
  }
  return document.toString({ lineWidth: 0 })
}

/**
 * Adds an entry to `clients`, comments and layout kept. Refused with every problem: a file that is
 * not valid as it stands, a name or network already there, a weak secret, several tariffs to choose
 * from.
 */
export function addClient(
  text: string,
  client: NewClient,
): { readonly text: string } | { readonly problems: readonly ConfigProblem[] } {
  const current = readDocument(text)
  const before = checkDocument(current, ANY_SECRET)
  if ('problems' in before) return before
  const entry = { name: client.name, ipaddr: client.ipaddr, secret: client.secret }
  const held = holdReferences(text)
  const edited = releaseReferences(
    insertLines(held, current.document, entry) ?? appendNode(current.document, entry),
  )
  const after = checkDocument(readDocument(edited), ANY_SECRET)
  return 'problems' in after ? after : { text: edited }
}

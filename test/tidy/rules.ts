// The rules that keep the tree readable, as functions of a path and a text: each returns what it
// objects to, in words. tidy.test.ts applies them to every source file and to a violating snippet
// each.

/** What may be imported from where: a folder and the other folders its files may name. */
export const IMPORTS: Readonly<Record<string, readonly string[]>> = {
  radius: [],
  eap: [],
  ethereum: [],
  certs: ['ethereum'],
  accounting: ['ethereum'],
  attestation: ['ethereum'],
  chain: ['ethereum'],
  config: ['ethereum', 'accounting (types)'],
  device: ['attestation', 'certs', 'chain', 'ethereum'],
  // The same keystore, errors and bounded HTTP as a device's; nothing of certificates.
  merchant: ['chain', 'ethereum', 'device'],
  server: ['radius', 'eap', 'ethereum', 'certs', 'accounting', 'attestation', 'chain', 'config'],
  setup: [],
}

/**
 * Folders that join the others: they may import anything, and only tests and benchmarks import
 * them.
 */
export const JOINING = ['cli', 'bench', 'test']

export const ROOMS = [...Object.keys(IMPORTS), ...JOINING]

/**
 * Rooms without I/O, and the files in them that have a reason to need more of Node than its hashes.
 */
const PURE = ['radius', 'eap', 'ethereum', 'certs', 'accounting', 'attestation', 'config']
const PURE_EXCEPT: Readonly<Record<string, RegExp>> = {
  'accounting/store-sqlite.ts': /^node:sqlite$/,
  'eap/native.ts': /^node:(fs|os|process|url)$/,
  'eap/tls.ts': /^node:(tls|stream|process|timers\/promises|buffer)$/,
  'ethereum/signature.ts': /^node:module$/,
}

/** Where the clock and the dice are: shells and programs. Elsewhere both come in as arguments. */
const WITH_CLOCK = ['server', 'cli', 'device', 'merchant', 'setup', 'test', 'bench']

export const FILE_LINES_MAX = 400
export const FUNCTION_LINES_MAX = 70
export const COLUMNS_MAX = 100

/** One finding: 1-based line and what is wrong with it. */
export type Finding = `${number}: ${string}`
export type Rule = (path: string, text: string) => Finding[]

const folderOf = (path: string) => path.split('/')[0] ?? ''

const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`/g

/** The text with comments (and strings, if asked) emptied; every line stays where it is. */
export function codeOf(text: string, strings: 'keep strings' | 'empty strings'): string {
  return text.replace(TOKEN, (token) => {
    const isComment = token.startsWith('//') || token.startsWith('/*')
    if (!isComment && strings === 'keep strings') return token
    const lines = token.replace(/[^\n]/g, '')
    return isComment ? lines : `${token[0]}${lines}${token[0]}`
  })
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}

function matches(text: string, pattern: RegExp, says: (match: RegExpMatchArray) => string) {
  return [...text.matchAll(pattern)].map(
    (match): Finding => `${lineAt(text, match.index + match[0].search(/\S/))}: ${says(match)}`,
  )
}

const IMPORT = /^\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm
const SIDE_EFFECT = /^\s*import\s+'([^']+)'/gm

/** What a relative import of a file leads to, as a path from the root. */
function resolved(path: string, specifier: string): string {
  const steps = path.split('/').slice(0, -1)
  for (const step of specifier.split('/')) {
    if (step === '..') steps.pop()
    else if (step !== '.') steps.push(step)
  }
  return steps.join('/')
}

function mayImport(path: string, target: string, typeOnly: boolean): boolean {
  const from = folderOf(path)
  const to = folderOf(target)
  if (from === to || from === 'test' || from === 'bench') return true
  // The command re-executes itself with the helpers that start.mjs uses.
  if (from === 'cli') return to !== 'test' && to !== 'bench'
  const allowed = IMPORTS[from] ?? []
  return allowed.includes(to) || (typeOnly && allowed.includes(`${to} (types)`))
}

export const importDirection: Rule = (path, text) => {
  const code = codeOf(text, 'keep strings')
  const judge = (specifier: string, typeOnly: boolean): string => {
    if (!specifier.startsWith('.')) return ''
    const target = resolved(path, specifier)
    if (!/\.(ts|mjs|json)$/.test(specifier)) return `'${specifier}' has no file extension`
    return mayImport(path, target, typeOnly) ? '' : `${folderOf(path)}/ must not import ${target}`
  }
  return [
    ...matches(code, IMPORT, (m) => judge(m[2] ?? m[3] ?? '', m[1] !== undefined)),
    ...matches(code, SIDE_EFFECT, (m) => judge(m[1] ?? '', false)),
  ].filter((finding) => !/^\d+: $/.test(finding))
}

export const pureRooms: Rule = (path, text) => {
  if (!PURE.includes(folderOf(path))) return []
  return matches(codeOf(text, 'keep strings'), IMPORT, (m) => {
    const specifier = m[2] ?? m[3] ?? ''
    if (!specifier.startsWith('node:') || specifier === 'node:crypto') return ''
    return PURE_EXCEPT[path]?.test(specifier) === true ? '' : `a pure room imports ${specifier}`
  }).filter((finding) => !/^\d+: $/.test(finding))
}

export const injectedClock: Rule = (path, text) => {
  if (WITH_CLOCK.includes(folderOf(path)) || path.startsWith('chain/contracts/')) return []
  const banned =
    /\b(Date\.now|Math\.random|randomBytes|randomUUID|getRandomValues)\b|\bnew Date\(\)/g
  return matches(codeOf(text, 'empty strings'), banned, (m) => `${m[0]} must be an argument here`)
}

export const noConsole: Rule = (_path, text) =>
  matches(codeOf(text, 'empty strings'), /\bconsole\s*\.\s*\w+/g, (m) => `${m[0]} is not for us`)

export const noAny: Rule = (_path, text) =>
  matches(codeOf(text, 'empty strings'), /(:|\bas|<|,|\||=>)\s*any\b(?!\s*[:(.])/g, () => 'any')

export const noSuppression: Rule = (_path, text) => {
  const words = ['ts-ignore', 'ts-expect-error', 'ts-nocheck', 'biome-ignore', 'eslint-disable']
  const pattern = new RegExp(`@?\\b(${words.join('|')})\\b`, 'g')
  return matches(commentsOf(text), pattern, (m) => `${m[0]} hides a problem`)
}

export const noPlans: Rule = (_path, text) =>
  matches(commentsOf(text), /\b(TODO|FIXME|XXX|HACK)\b/g, (m) => `${m[0]} belongs in an issue`)

/** Only the comments, each on its own lines. */
function commentsOf(text: string): string {
  let end = 0
  let comments = ''
  for (const match of text.matchAll(TOKEN)) {
    if (!match[0].startsWith('/')) continue
    comments += text.slice(end, match.index).replace(/[^\n]/g, '') + match[0]
    end = match.index + match[0].length
  }
  return comments
}

export const noSkippedTests: Rule = (path, text) => {
  if (!path.startsWith('test/')) return []
  const call = /\b(?:t|tap|test|it|describe)\s*\.\s*(?:skip|only|todo)\b/g
  const option = /[{,]\s*(?:skip|only|todo)\s*:/g
  const code = codeOf(text, 'empty strings')
  const says = (m: RegExpMatchArray) => `${m[0]} leaves a test out`
  return [...matches(code, call, says), ...matches(code, option, says)]
}

export const opensWithComment: Rule = (path, text) => {
  if (path.startsWith('test/')) return []
  const start = text.replace(/^#!.*\n/, '')
  return /^(\/\/ |\/\*\* )\S/.test(start) ? [] : ['1: no comment says what this file owns']
}

export const fileSize: Rule = (_path, text) => {
  const lines = text.trimEnd().split('\n').length
  return lines <= FILE_LINES_MAX ? [] : [`${lines}: a file has at most ${FILE_LINES_MAX} lines`]
}

/** Strings are not counted: what a program says to people is better found whole. */
export const lineLength: Rule = (_path, text) => {
  const code = codeOf(text, 'empty strings').split('\n')
  return text.split('\n').flatMap((line, index): Finding[] => {
    const isComment = /^\s*(\/\/|\/?\*)/.test(line)
    const columns = [...(isComment ? line : (code[index] ?? ''))].length
    return columns <= COLUMNS_MAX
      ? []
      : [`${index + 1}: ${columns} columns, ${COLUMNS_MAX} allowed`]
  })
}

const OPENS =
  /^( *)(?:export )?(?:async )?(?:function\*? (\w+)|const (\w+)\b.*=> \{$|(?:async )?(\w+)\(.*\{$)/

interface FunctionLines {
  readonly name: string
  readonly first: number
  readonly last: number
}

/** Named functions, found by indentation: the formatter closes each where its line began. */
function functionsIn(lines: readonly string[]): FunctionLines[] {
  return lines.flatMap((line, first): FunctionLines[] => {
    const match = OPENS.exec(line)
    const name = match?.[2] ?? match?.[3] ?? match?.[4]
    if (match === null || name === undefined || /^(if|for|while|switch|catch)$/.test(name))
      return []
    // A signature of several lines ends with `): Type {` at the same indentation; one line, with
    // `}`.
    const closing = new RegExp(`^${match[1]}\\}[,)]*$`)
    const closes = (other: string, n: number) => n > first && closing.test(other)
    const last = line.endsWith('}') ? first : lines.findIndex(closes)
    return last === -1 ? [] : [{ name, first, last }]
  })
}

/**
 * Lines of code of each function, comments and the text of long strings not counted, nor the named
 * functions inside it: what only holds others together is as long as its own part.
 */
export const functionSize: Rule = (path, text) => {
  if (path.startsWith('test/')) return []
  const lines = codeOf(text, 'empty strings').split('\n')
  const functions = functionsIn(lines)
  const holds = (outer: FunctionLines, line: number) => outer.first < line && line <= outer.last
  return functions.flatMap((outer): Finding[] => {
    const inner = functions.filter((other) => other !== outer && holds(outer, other.first))
    const own = lines.filter(
      (line, n) =>
        n >= outer.first &&
        n <= outer.last &&
        line.trim() !== '' &&
        !inner.some((other) => holds(other, n)),
    ).length
    if (own <= FUNCTION_LINES_MAX) return []
    return [`${outer.first + 1}: ${outer.name} has ${own} lines, ${FUNCTION_LINES_MAX} allowed`]
  })
}

// Spelt in pieces, or this file would object to itself.
const FOREIGN = [
  ['/wo', 'rk/'],
  ['/ro', 'ot/'],
  ['/t', 'mp/'],
  ['shared/', 'spec'],
  ['shared/', 'reference'],
  ['cla', 'ude'],
  ['anth', 'ropic'],
  ['open', 'ai'],
  ['chat', 'gpt'],
  ['co', 'pilot'],
  ['sub', 'agent'],
  ['language ', 'model'],
  ['co-authored', '-by'],
  ['issues ', 'show'],
  ['style-', 'models'],
  ['anchors', '.md'],
].map((pieces) => pieces.join(''))

/** Paths of one machine, and words about how a text came to be rather than what it says. */
export const nothingForeign: Rule = (_path, text) =>
  FOREIGN.flatMap((word) => {
    const pattern = new RegExp(`(?<![\\w.-])${word.replaceAll(/[.]/g, '\\.')}`, 'gi')
    return matches(text, pattern, () => `"${word}" does not belong in the project`)
  })

/** Files a document mentions, as paths from the root. */
export function mentionedFiles(text: string): string[] {
  const pattern = new RegExp(
    `(?<![\\w/.-])((?:${ROOMS.join('|')}|docs)/[\\w./-]+\\.(?:ts|mjs|sol|md|yaml|json|txt))\\b`,
    'g',
  )
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))]
}

export const RULES: Readonly<Record<string, Rule>> = {
  importDirection,
  pureRooms,
  injectedClock,
  noConsole,
  noAny,
  noSuppression,
  noPlans,
  noSkippedTests,
  opensWithComment,
  fileSize,
  lineLength,
  functionSize,
  nothingForeign,
}

// The tree keeps its own rules: import direction, sizes, banned calls, documents that name real
// files. Each rule is first shown to catch a snippet that breaks it, and to leave one alone that
// does not.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { codeOf, type Finding, mentionedFiles, ROOMS, RULES, type Rule } from './tidy/rules.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Files below a folder; what others wrote or a compiler made is not held to our style. */
function filesIn(folder: string): string[] {
  if (!existsSync(`${ROOT}${folder}`)) return []
  return readdirSync(`${ROOT}${folder}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (/^(node_modules|dictionaries|artifacts|corpus)$/.test(entry.name)) return []
    return entry.isDirectory() ? filesIn(path) : [path]
  })
}

const inFolders = [...ROOMS, 'docs', '.ci'].flatMap(filesIn)
const atTop = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(md|json|taprc)$|^\.taprc$/.test(entry.name))
  .map((entry) => entry.name)
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8')

function rule(name: string): Rule {
  const found = RULES[name]
  if (found === undefined) throw new Error(`no rule ${name}`)
  return found
}

/** The rule, a path, a text that breaks it on the line given (0: nowhere). */
const SNIPPETS: readonly [name: string, path: string, line: number, text: string][] = [
  ['importDirection', 'radius/a.ts', 1, "import { b } from '../eap/b.ts'"],
  ['importDirection', 'chain/a.ts', 2, "\nexport { b } from '../server/b.ts'"],
  [
    'importDirection',
    'server/a.ts',
    3,
    "import {\n  b,\n} from '../cli/b.ts'".replace(/^/, '\n\n'),
  ],
  ['importDirection', 'device/a.ts', 1, "const b = await import('../server/b.ts')"],
  ['importDirection', 'eap/a.ts', 1, "import '../radius/b.ts'"],
  ['importDirection', 'cli/a.ts', 1, "import { b } from '../test/b.ts'"],
  ['importDirection', 'config/a.ts', 1, "import { b } from '../accounting/b.ts'"],
  ['importDirection', 'chain/a.ts', 1, "import { b } from './b'"],
  ['importDirection', 'config/a.ts', 0, "import type { B } from '../accounting/b.ts'"],
  ['importDirection', 'server/x/a.ts', 0, "import { b } from '../../radius/b.ts'"],
  ['importDirection', 'radius/a.ts', 0, "// import { b } from '../eap/b.ts'"],
  ['pureRooms', 'radius/a.ts', 1, "import { readFileSync } from 'node:fs'"],
  ['pureRooms', 'eap/tls.ts', 1, "import { readFileSync } from 'node:fs'"],
  ['pureRooms', 'radius/a.ts', 0, "import { createHash } from 'node:crypto'"],
  ['pureRooms', 'chain/a.ts', 0, "import { readFileSync } from 'node:fs'"],
  ['injectedClock', 'eap/a.ts', 2, '\nconst now = Date.now()'],
  ['injectedClock', 'chain/a.ts', 1, "import { randomBytes } from 'node:crypto'"],
  ['injectedClock', 'accounting/a.ts', 1, 'const now = new Date()'],
  ['injectedClock', 'certs/a.ts', 1, 'const id = Math.random()'],
  ['injectedClock', 'server/a.ts', 0, 'const now = Date.now()'],
  ['injectedClock', 'eap/a.ts', 0, '// Date.now() is an argument\nconst day = new Date(now)'],
  ['noConsole', 'cli/a.ts', 1, 'console.log(1)'],
  ['noConsole', 'cli/a.ts', 0, "write('console.log')"],
  ['noAny', 'cli/a.ts', 1, 'const a: any = 1'],
  ['noAny', 'cli/a.ts', 1, 'const a = new Map<string, any>()'],
  ['noAny', 'cli/a.ts', 1, 'const a = b as any'],
  ['noAny', 'cli/a.ts', 0, "const a = { any: 1 } // any: one\nconst b = 'as any'"],
  ['noSuppression', 'cli/a.ts', 2, `\n// @ts-${'ignore'}`],
  ['noSuppression', 'cli/a.ts', 1, `/* biome-${'ignore'} lint: no */`],
  ['noPlans', 'cli/a.ts', 1, `// TO${'DO'}: later`],
  ['noSkippedTests', 'test/a.test.ts', 1, "t.skip('later', async () => {})"],
  ['noSkippedTests', 'test/a.test.ts', 1, "t.test('a', { skip: true }, async () => {})"],
  ['noSkippedTests', 'test/a.test.ts', 1, "t.only('a', async () => {})"],
  ['noSkippedTests', 'test/a.test.ts', 0, "t.test('skip: nothing', async (t) => t.pass('todo'))"],
  ['opensWithComment', 'cli/a.ts', 1, "import t from 'tap'"],
  ['opensWithComment', 'cli/a.mjs', 1, '#!/usr/bin/env node\nrun()'],
  ['opensWithComment', 'cli/a.mjs', 0, '#!/usr/bin/env node\n// What it is.\nrun()'],
  ['fileSize', 'cli/a.ts', 401, 'a\n'.repeat(401)],
  ['fileSize', 'cli/a.ts', 0, 'a\n'.repeat(400)],
  ['lineLength', 'cli/a.ts', 1, `// ${'a'.repeat(98)}`],
  ['lineLength', 'cli/a.ts', 2, `\nconst ${'a'.repeat(100)} = 1`],
  ['lineLength', 'cli/a.ts', 0, `// ${'é'.repeat(97)}\nsay('${'a'.repeat(120)}')`],
  ['functionSize', 'cli/a.ts', 1, `function a() {\n${'  b()\n'.repeat(69)}}`],
  ['functionSize', 'cli/a.ts', 1, `export const a = async (b: C) => {\n${'  b()\n'.repeat(69)}}`],
  ['functionSize', 'cli/a.ts', 2, `const a = {\n  async b() {\n${'    c()\n'.repeat(69)}  },\n}`],
  ['functionSize', 'cli/a.ts', 0, `function a() {\n${'  b()\n'.repeat(68)}}`],
  ['nothingForeign', 'docs/a.md', 2, `One\n/ro${'ot/'}project/file`],
  ['nothingForeign', 'docs/a.md', 1, `see shared/${'spec'}/product.md`],
  ['nothingForeign', 'docs/a.md', 0, 'a homely framework for sessions'],
]

t.test('each rule catches what breaks it and nothing else', async (t) => {
  for (const [name, path, line, text] of SNIPPETS) {
    const lines = rule(name)(path, text).map((finding) => Number.parseInt(finding, 10))
    t.same(lines, line === 0 ? [] : [line], `${name}: ${path}: ${text.slice(0, 60)}`)
  }
  const shown = new Set(SNIPPETS.map(([name]) => name))
  t.same(
    Object.keys(RULES).filter((name) => !shown.has(name)),
    [],
    'no rule without a snippet',
  )
})

t.test('comments and strings are told from code', async (t) => {
  const text = "a('//') // b\n/* c\n d */ e(`f\n//`) // it's"
  t.equal(codeOf(text, 'keep strings'), "a('//') \n\n e(`f\n//`) ")
  t.equal(codeOf(text, 'empty strings'), "a('') \n\n e(`\n`) ")
})

function findings(ruleName: string, paths: readonly string[]): string[] {
  const apply = rule(ruleName)
  return paths.flatMap((path) => apply(path, read(path)).map((f: Finding) => `${path}:${f}`))
}

const sources = inFolders.filter((path) => /\.(ts|mjs)$/.test(path))

t.ok(sources.length > 50, `${sources.length} source files were found`)

for (const name of Object.keys(RULES)) {
  t.test(`the tree keeps the rule ${name}`, async (t) => {
    const texts = [...inFolders, ...atTop].filter((path) => !/\.(p12|der|bin|png)$/.test(path))
    const sized = inFolders.filter((path) => /\.(ts|mjs|sol|c|h)$/.test(path))
    const paths = { nothingForeign: texts, fileSize: sized, lineLength: sized }[name] ?? sources
    t.same(findings(name, paths), [])
  })
}

t.test('every folder of sources is a room with an import rule', async (t) => {
  const folders = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|data|docs)$/.test(entry.name))
    .map((entry) => entry.name)
    .filter((folder) => filesIn(folder).some((path) => /\.(ts|mjs)$/.test(path)))
  t.same(
    folders.filter((folder) => !ROOMS.includes(folder)),
    [],
  )
})

t.test('docs/ARCHITECTURE.md names every room', async (t) => {
  const text = read('docs/ARCHITECTURE.md')
  const present = ROOMS.filter((room) => filesIn(room).length > 0)
  t.same(
    present.filter((room) => !text.includes(`${room}/`)),
    [],
  )
})

for (const path of ['docs/ARCHITECTURE.md', 'docs/PROTOCOL.md', 'README.md', 'CONTRIBUTING.md']) {
  t.test(`${path} mentions files that exist`, async (t) => {
    const mentioned = mentionedFiles(read(path))
    t.same(
      mentioned.filter((file) => !existsSync(`${ROOT}${file}`)),
      [],
    )
    t.ok(path.startsWith('docs/') ? mentioned.length > 5 : true, `${mentioned.length} mentioned`)
  })
}

t.test('package-lock.json names the optional packages of every platform', async (t) => {
  // A lock file written where other platforms' packages can't be seen makes `npm ci` fail
  // elsewhere.
  interface Locked {
    readonly packages: Record<string, { readonly optionalDependencies?: Record<string, string> }>
  }
  const { packages } = JSON.parse(read('package-lock.json')) as Locked
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies }]) =>
    Object.keys(optionalDependencies ?? {}).filter(
      (name) => !(`node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages),
    ),
  )
  t.same(missing, [])
})

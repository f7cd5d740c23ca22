// Compiles the contracts of this folder with solc-js and writes artifacts/*.json, which deployment
// and the contract tests read; `--check` compiles again and fails where an artifact differs by a
// byte. Run by hand after a change of the Solidity, and by CI; the server compiles nothing.

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Compiled {
  readonly abi: readonly unknown[]
  readonly evm: {
    readonly bytecode: { readonly object: string }
    readonly deployedBytecode: { readonly object: string }
  }
}

interface Diagnostic {
  readonly severity: string
  readonly formattedMessage: string
  readonly sourceLocation?: { readonly file: string }
}

interface CompilerOutput {
  readonly errors?: readonly Diagnostic[]
  readonly contracts?: Readonly<Record<string, Readonly<Record<string, Compiled>>>>
}

interface SolcJs {
  version(): string
  compile(
    input: string,
    callbacks: { import: (path: string) => { contents: string } | { error: string } },
  ): string
}

const FOLDER = dirname(fileURLToPath(import.meta.url))
const ARTIFACTS = join(FOLDER, 'artifacts')
const PUBLISHED = ['Activities', 'AttestorVerifier', 'Datanet', 'DeviceVerifier', 'TestToken']
/** EIP-170. */
const RUNTIME_LIMIT = 24_576

const SETTINGS = {
  optimizer: { enabled: true, runs: 200 },
  viaIR: true,
  evmVersion: 'osaka',
  // No metadata: a comment must not change the bytecode, since changed bytecode is deployed anew.
  metadata: { appendCBOR: false, bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
}

const requireHere = createRequire(import.meta.url)

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Own files by their name, OpenZeppelin's from the installed package. */
function readSource(path: string): string {
  if (path.startsWith('@openzeppelin/')) return readFileSync(requireHere.resolve(path), 'utf8')
  return readFileSync(join(FOLDER, path), 'utf8')
}

/**
 * Every artifact as the text of its file. `changed` stands in for files of this folder (tests
 * compile the contract with a rule taken out). Throws an Error with the compiler's messages.
 */
export function compileContracts(changed: ReadonlyMap<string, string> = new Map()) {
  const solc = requireHere('solc') as SolcJs
  const sources: Record<string, { content: string }> = {}
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.sol'))) {
    sources[file] = { content: changed.get(file) ?? readSource(file) }
  }
  const read = new Map(Object.entries(sources).map(([path, { content }]) => [path, content]))
  const importSource = (path: string): { contents: string } | { error: string } => {
    try {
      const contents = changed.get(path) ?? readSource(path)
      read.set(path, contents)
      return { contents }
    } catch {
      return { error: `${path} is not installed` }
    }
  }
  const input = JSON.stringify({ language: 'Solidity', sources, settings: SETTINGS })
  const output = JSON.parse(solc.compile(input, { import: importSource })) as CompilerOutput
  const faults = (output.errors ?? []).filter(isFault)
  if (faults.length > 0) throw new Error(faults.map((it) => it.formattedMessage).join('\n'))
  const hashes = [...read].map(([path, text]) => `${sha256(text)} ${path}\n`).sort()
  const { outputSelection: _, ...settings } = SETTINGS
  const origin = { compiler: solc.version(), settings, sourceHash: sha256(hashes.join('')) }
  return new Map(
    PUBLISHED.map((name) => {
      const compiled = output.contracts?.[`${name}.sol`]?.[name]
      if (!compiled) throw new Error(`${name}.sol has no contract ${name}`)
      return [`${name}.json`, artifactText(name, compiled, origin)]
    }),
  )
}

/** Warnings count in our files only: OpenZeppelin's transient guard draws one by design. */
function isFault(diagnostic: Diagnostic): boolean {
  const foreign = diagnostic.sourceLocation?.file.startsWith('@openzeppelin/') ?? false
  return diagnostic.severity === 'error' || !foreign
}

function artifactText(contractName: string, compiled: Compiled, origin: object): string {
  const runtimeBytes = compiled.evm.deployedBytecode.object.length / 2
  if (runtimeBytes > RUNTIME_LIMIT) {
    throw new Error(`${contractName} is ${runtimeBytes} bytes; EIP-170 allows ${RUNTIME_LIMIT}`)
  }
  const artifact = {
    contractName,
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
    deployedBytecode: `0x${compiled.evm.deployedBytecode.object}`,
    ...origin,
  }
  return `${JSON.stringify(artifact, null, 2)}\n`
}

function readArtifact(file: string): string | undefined {
  try {
    return readFileSync(join(ARTIFACTS, file), 'utf8')
  } catch {
    return undefined
  }
}

function main(check: boolean): number {
  const artifacts = compileContracts()
  let differing = 0
  for (const [file, text] of artifacts) {
    if (check && readArtifact(file) !== text) {
      differing++
      process.stderr.write(`artifacts/${file} is not what the sources compile to\n`)
    } else if (!check) {
      mkdirSync(ARTIFACTS, { recursive: true })
      writeFileSync(join(ARTIFACTS, file), text)
    }
  }
  if (differing > 0) process.stderr.write('run `npm run contracts` and commit the result\n')
  else process.stdout.write(`${[...artifacts.keys()].join(', ')} ${check ? 'match' : 'written'}\n`)
  return differing > 0 ? 1 : 0
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.includes('--check'))
}

// Compiles the native TLS engine, eap/native/, for the Node inside node_modules: once per
// source and Node version, and nothing is run when that is done. It never fails a set-up: without
// a compiler or headers it says so in one line, and the server uses node:tls. The last part
// of the install step (install.mjs).

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { capture, findCommand, INNER_NODE, ROOT } from './processes.mjs'

const SOURCES = join(ROOT, 'eap', 'native')
const SOURCE = join(SOURCES, 'engine.c')
const FOLDER = join(ROOT, 'node_modules', '.datanet')
const PACKAGE = join(ROOT, 'node_modules', 'node')
/** It takes about two seconds; a set-up must not hang in a compiler. */
const COMPILE_MAX_MS = 20_000
const FLAGS = [
  '-std=c11',
  '-O2',
  '-fPIC',
  '-shared',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-fvisibility=hidden',
]

/**
 * The file that eap/native.ts loads; undefined where node_modules holds no Node or there is no
 * source.
 */
function outputFile() {
  const manifest = join(PACKAGE, 'package.json')
  if (!existsSync(SOURCE) || !existsSync(manifest)) return undefined
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  const hash = createHash('sha256')
  // As eap/native.ts reads them.
  const names = readdirSync(SOURCES).filter((name) => /\.[ch]$/.test(name))
  for (const name of names.sort()) hash.update(readFileSync(join(SOURCES, name)))
  const name = hash.update(`v${version} ${process.arch}`).digest('hex').slice(0, 16)
  return join(FOLDER, `engine-${name}.node`)
}

/** Folders that can hold headers, best first: of the Node that will load the addon, else any. */
function headerFolders() {
  const beside = join(dirname(realpathSync(INNER_NODE)), '..', 'include')
  const packages = join(PACKAGE, 'node_modules')
  const installed = existsSync(packages)
    ? readdirSync(packages).map((name) => join(packages, name, 'include'))
    : []
  const roots = [beside, ...installed, '/usr/local/include', '/usr/include']
  return roots.flatMap((root) => [join(root, 'node'), root])
}

function findCompiler() {
  const named = process.env.CC
  for (const name of named ? [named] : ['cc', 'gcc', 'clang']) {
    const path = name.includes('/') && existsSync(name) ? name : findCommand(name)
    if (path !== undefined) return path
  }
  return undefined
}

/** Why there is no addon now, or undefined: it is there. */
async function build(output) {
  const compiler = findCompiler()
  if (compiler === undefined) return 'there is no C compiler'
  const folders = headerFolders()
  const nodeHeaders = folders.find((folder) => existsSync(join(folder, 'node_api.h')))
  if (nodeHeaders === undefined) return 'the headers of Node are not installed'
  const sslHeaders = folders.find((folder) => existsSync(join(folder, 'openssl', 'ssl.h')))
  if (sslHeaders === undefined) return 'the headers of OpenSSL are not installed'
  const temporary = `${output}.${process.pid}`
  mkdirSync(FOLDER, { recursive: true })
  try {
    // Symbols are found in Node when it loads the file; macOS wants to be told.
    const undefinedSymbols = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []
    const headers = [`-I${nodeHeaders}`, `-I${sslHeaders}`]
    const args = [...FLAGS, ...undefinedSymbols, ...headers, '-o', temporary, SOURCE]
    const compiled = await capture(compiler, args, { timeout: COMPILE_MAX_MS })
    if (compiled.code !== 0) return `${compiler} failed: ${firstLine(compiled.output)}`
    // In a process of its own: one that crashes Node must never reach the server.
    const script = `require('node:process').dlopen({ exports: {} }, ${JSON.stringify(temporary)}, 2)`
    const loaded = await capture(INNER_NODE, ['-e', script], { timeout: COMPILE_MAX_MS })
    if (loaded.code !== 0) return `Node does not load it: ${errorLine(loaded.output)}`
    renameSync(temporary, output)
    return undefined
  } finally {
    rmSync(temporary, { force: true })
  }
}

const firstLine = (text) =>
  text.split('\n').find((line) => line.includes('error')) ?? 'no reason given'

const errorLine = (text) =>
  text.split('\n').find((line) => /^\w*Error\b/.test(line)) ?? 'it ends the process'

/** Those of other sources and Nodes; a server that runs on one keeps its memory of it. */
function removeOthers(output) {
  for (const name of readdirSync(FOLDER)) {
    const path = join(FOLDER, name)
    if (/^engine-[0-9a-f]+\.node$/.test(name) && path !== output) rmSync(path, { force: true })
  }
}

/** Compiles the engine where that has not been done; never throws. */
export async function buildNativeEngine() {
  let reason
  try {
    const output = outputFile()
    if (output === undefined || existsSync(output)) return
    reason = await build(output)
    if (reason === undefined) removeOthers(output)
  } catch (error) {
    reason = error.message
  }
  if (reason !== undefined) {
    const line = `the native TLS engine was not built (${reason}); the node:tls engine is used`
    process.stderr.write(`${line}\n`)
  }
}

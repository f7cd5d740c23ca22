// Where the operator's own verbs look: the data directory, its configuration file, and the HTTP
// side of the server that runs from it. Only for the operator's verbs: serve, check, reload, …

import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { Endpoint } from '../config/config.ts'
import { holdReferences } from '../config/document.ts'
import { parseEndpoint } from '../config/values.ts'
import { DeviceError } from '../device/error.ts'
import { type JsonAnswer, type JsonRequest, requestJson } from '../device/http.ts'
import { httpUrl } from '../server/banner.ts'
import { CommandError, Exit } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** DATA: --data, else $DATANET_DATA, else ./data; absolute. */
export function dataDirectory(flag: string | undefined, terminal: Terminal): string {
  return resolve(flag ?? (terminal.env['DATANET_DATA'] || 'data'))
}

/** The configuration file: --config, else DATA/datanet.yaml; absolute. */
export function configPath(flag: string | undefined, dataDir: string): string {
  return flag === undefined ? join(dataDir, 'datanet.yaml') : resolve(flag)
}

/**
 * The text of a configuration file. Throws CommandError 78 where there is none, 77 where it
 * can't be read.
 */
export async function readConfigText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const way = 'run `npm start` once, or name one with --config'
      throw new CommandError(Exit.configuration, `${path} does not exist; ${way}`, error)
    }
    throw new CommandError(Exit.permission, `${path} cannot be read (${code})`, error)
  }
}

/**
 * One socket address of a configuration, `fallback` where the file does not say. Only this key
 * is read:
 * the file may name secrets by ${ENV} that only the server's environment has, and a whole parse
 * would
 * then fail here for no reason of ours.
 */
export function endpointIn(
  configText: string,
  path: readonly [string, string],
  fallback: Endpoint,
): Endpoint {
  const value: unknown = parseDocument(holdReferences(configText)).getIn(path)
  const endpoint = typeof value === 'string' ? parseEndpoint(value) : undefined
  return endpoint ?? fallback
}

/** `http.public_url` of a configuration, undefined where it is null or not there. */
export function publicUrlIn(configText: string): string | undefined {
  const value: unknown = parseDocument(holdReferences(configText)).getIn(['http', 'public_url'])
  return typeof value === 'string' && value !== '' ? value : undefined
}

/**
 * Base URL of the server of a data directory, for a program on the same machine: where it listens,
 * which it writes there, or where it would, since its configuration may say another place by now.
 */
export function serverUrl(dataDir: string, configText: string): string {
  const path = join(dataDir, 'http-url')
  if (existsSync(path)) {
    const url = readFileSync(path, 'utf8').trim()
    if (URL.canParse(url)) return url
  }
  const endpoint = endpointIn(configText, ['http', 'listen'], { host: '127.0.0.1', port: 8080 })
  if (endpoint.port === 0) {
    throw new CommandError(
      Exit.configuration,
      'http.listen in the configuration names no fixed port',
    )
  }
  return httpUrl(endpoint)
}

/**
 * One call with the operator's token, to the server of this data directory and nobody else: the
 * token
 * opens the whole server, so no flag or variable can send it to another host. Throws
 * CommandError 69
 * where there is no token, 77 where it is not readable, not accepted, or gone while a server runs;
 * DeviceError 'unavailable' where no server answers.
 */
export async function adminRequest(
  place: { readonly dataDir: string; readonly url: string; readonly path: string },
  request: JsonRequest,
): Promise<JsonAnswer> {
  const bearer = await readAdminToken(place)
  const answer = await requestJson(`${place.url}${place.path}`, { ...request, bearer })
  if (answer.status === 401 || answer.status === 403) {
    const problem = `the server at ${place.url} does not accept the token of ${place.dataDir}`
    throw new CommandError(Exit.permission, `${problem}; name its data directory with --data`)
  }
  return answer
}

/** The server that the flags of a verb mean: its data, its configuration, where it listens. */
export async function findServer(
  flags: { readonly config?: string | undefined; readonly data?: string | undefined },
  terminal: Terminal,
): Promise<{ dataDir: string; configFile: string; url: string }> {
  const dataDir = dataDirectory(flags.data, terminal)
  const configFile = configPath(flags.config, dataDir)
  // Before the first start there is no file; then there is no server either, which is what to say.
  const started = flags.config !== undefined || existsSync(configFile)
  const url = serverUrl(dataDir, started ? await readConfigText(configFile) : '')
  return { dataDir, configFile, url }
}

/** `adminRequest` for a verb that can do nothing without a server: no answer is CommandError 69. */
export async function askServer(
  place: { readonly dataDir: string; readonly url: string; readonly path: string },
  request: JsonRequest,
): Promise<JsonAnswer> {
  try {
    return await adminRequest(place, request)
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'unavailable') throw error
    const way = 'start it with `npm start`, or name its configuration with --config'
    throw new CommandError(Exit.unavailable, `no server answers at ${place.url}; ${way}`, error)
  }
}

async function readAdminToken({
  dataDir,
  url,
}: {
  readonly dataDir: string
  readonly url: string
}): Promise<string> {
  const path = join(dataDir, 'admin-token')
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const absent = code === 'ENOENT' || code === 'ENOTDIR'
    if (!absent) {
      throw new CommandError(Exit.permission, `${path} cannot be read (${code})`, error)
    }
    // A directory that was never started is the wrong one, whatever answers under the URL.
    if (existsSync(dataDir) && (await serverAnswers(url))) {
      const gone = `${path} does not exist though a server answers at ${url}`
      const way = 'restart the server, it makes a new one'
      throw new CommandError(Exit.permission, `${gone}: ${way}`, error)
    }
    const way = 'run `npm start` once, or name the data directory with --data'
    throw new CommandError(Exit.unavailable, `${path} does not exist; ${way}`, error)
  }
}

async function serverAnswers(url: string): Promise<boolean> {
  try {
    await requestJson(`${url}/healthz`)
    return true
  } catch {
    return false
  }
}

// Where the operator's own verbs look: the data directory, its configuration file, and the HTTP
// side of the server that runs from it. Only for serve, check, client add and chain status.

import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { Endpoint } from '../config/config.ts'
import { holdReferences } from '../config/document.ts'
import { parseEndpoint } from '../config/values.ts'
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

/** Base URL of the server that runs from this configuration, for a program on the same machine. */
export function serverUrl(configText: string): string {
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
 * where no server answers, 77 where the token is not readable or not accepted.
 */
export async function adminRequest(
  place: { readonly dataDir: string; readonly url: string; readonly path: string },
  request: JsonRequest,
): Promise<JsonAnswer> {
  const bearer = await readAdminToken(place.dataDir)
  const answer = await requestJson(`${place.url}${place.path}`, { ...request, bearer })
  if (answer.status === 401 || answer.status === 403) {
    const problem = `the server at ${place.url} does not accept the token of ${place.dataDir}`
    throw new CommandError(Exit.permission, `${problem}; name its data directory with --data`)
  }
  return answer
}

async function readAdminToken(dataDir: string): Promise<string> {
  const path = join(dataDir, 'admin-token')
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const absent = code === 'ENOENT' || code === 'ENOTDIR'
    const way = 'run `npm start` once, or name the data directory with --data'
    const problem = absent ? `${path} does not exist; ${way}` : `${path} cannot be read (${code})`
    throw new CommandError(absent ? Exit.unavailable : Exit.permission, problem, error)
  }
}

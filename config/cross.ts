// What depends on more than one value: repeated names and networks, secrets against the kind of
// address, references to tariffs, pairs that contradict each other. Works on the unchecked tree, so
// that these are found in the same run as every misspelt value. Used by parse.ts, after schema.ts.

import { type Cidr, cidrKey, isLoopback, parseCidr } from './address.ts'
import type { PlaySecret } from './attestation.ts'
import type { Finding } from './config.ts'
import type { Path } from './document.ts'
import { resolveSecret, type SecretSource } from './secret.ts'
import { parseDuration, parseEndpoint } from './values.ts'

/** The secrets of one entry, in the order of `clients`. */
export interface EntrySecrets {
  readonly secret: Buffer | undefined
  readonly coaSecret: Buffer | undefined
}

export interface CrossResult {
  readonly problems: Finding[]
  readonly warnings: Finding[]
  readonly secrets: EntrySecrets[]
  playSecret: PlaySecret | undefined
}

type Mapping = Readonly<Record<string, unknown>>

function mappingAt(tree: unknown, name: string): Mapping {
  const value = typeof tree === 'object' && tree !== null ? (tree as Mapping)[name] : undefined
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isMapping ? (value as Mapping) : {}
}

function textAt(mapping: Mapping, name: string): string | undefined {
  const value = mapping[name]
  return typeof value === 'string' ? value : undefined
}

function cidrAt(entry: Mapping): Cidr | undefined {
  const text = textAt(entry, 'ipaddr')
  const cidr = text === undefined ? undefined : parseCidr(text)
  return typeof cidr === 'object' ? cidr : undefined
}

/** Adds a problem for every entry whose key an earlier one already has. */
function findRepeats(
  keys: readonly (string | undefined)[],
  field: string,
  report: (finding: Finding) => void,
): void {
  const firstIndex = new Map<string, number>()
  for (const [index, key] of keys.entries()) {
    if (key === undefined) continue
    const first = firstIndex.get(key)
    if (first === undefined) firstIndex.set(key, index)
    else {
      const message = `is the same as in clients[${first}]: each entry needs its own`
      report({ path: ['clients', index, field], message })
    }
  }
}

function checkSecret(
  owner: Mapping,
  path: Path,
  cidr: Cidr | undefined,
  source: SecretSource,
  result: CrossResult,
): Buffer | undefined {
  for (const key of ['secret', 'secret_file']) {
    // Wrong types are schema.ts's to report; guessing at a secret would only add a false problem.
    if (owner[key] !== undefined && typeof owner[key] !== 'string') return undefined
  }
  const resolved = resolveSecret(textAt(owner, 'secret'), textAt(owner, 'secret_file'), source)
  if ('message' in resolved) {
    result.problems.push({ path: [...path, resolved.key], message: resolved.message })
    return undefined
  }
  if (resolved.weak !== undefined && cidr !== undefined) {
    const finding = { path: [...path, resolved.weak.key], message: resolved.weak.message }
    // Only this machine can use a loopback entry; anywhere else a weak secret can be guessed
    // offline.
    if (isLoopback(cidr)) result.warnings.push(finding)
    else result.problems.push(finding)
  }
  return resolved.secret
}

function checkMessageAuthenticator(entry: Mapping, path: Path, result: CrossResult): void {
  if (entry['require_message_authenticator'] !== false) return
  const at = [...path, 'require_message_authenticator']
  if (entry['limit_proxy_state'] === false) {
    const message = 'and limit_proxy_state are both false: replies could be forged (CVE-2024-3596)'
    result.problems.push({ path: at, message })
  } else {
    const message = 'is false: only for a NAS that cannot send one (CVE-2024-3596)'
    result.warnings.push({ path: at, message })
  }
}

function checkTariff(
  entry: Mapping,
  path: Path,
  tariffs: readonly string[],
  result: CrossResult,
): void {
  const names = tariffs.join(', ')
  const named = textAt(entry, 'tariff')
  if (named === undefined) {
    if (entry['tariff'] === undefined && tariffs.length > 1) {
      const message = `is missing, and there are several tariffs: name one of ${names}`
      result.problems.push({ path: [...path, 'tariff'], message })
    }
  } else if (!tariffs.includes(named)) {
    const message = tariffs.length === 0 ? 'names no tariff' : `must name one of ${names}`
    result.problems.push({ path: [...path, 'tariff'], message })
  }
}

function checkClients(tree: unknown, source: SecretSource, result: CrossResult): void {
  const listed =
    typeof tree === 'object' && tree !== null ? (tree as Mapping)['clients'] : undefined
  const entries: readonly unknown[] = Array.isArray(listed) ? listed : []
  const mappings = entries.map((_, index) => mappingAt(entries, `${index}`))
  const cidrs = mappings.map(cidrAt)
  const tariffs = Object.keys(mappingAt(tree, 'tariffs'))
  const report = (finding: Finding) => result.problems.push(finding)
  findRepeats(
    mappings.map((entry) => textAt(entry, 'name')),
    'name',
    report,
  )
  findRepeats(
    cidrs.map((cidr) => cidr && cidrKey(cidr)),
    'ipaddr',
    report,
  )
  for (const [index, entry] of mappings.entries()) {
    const path = ['clients', index]
    const secret = checkSecret(entry, path, cidrs[index], source, result)
    const coa = mappingAt(entry, 'coa')
    const ownCoaSecret = coa['secret'] !== undefined || coa['secret_file'] !== undefined
    const coaSecret = ownCoaSecret
      ? checkSecret(coa, [...path, 'coa'], cidrs[index], source, result)
      : secret
    result.secrets.push({ secret, coaSecret })
    checkMessageAuthenticator(entry, path, result)
    checkTariff(entry, path, tariffs, result)
  }
  if (entries.length === 0) {
    const message = 'is empty: no access point will be answered'
    result.warnings.push({ path: ['clients'], message })
  }
  const remote = mappings.filter((_, index) => {
    const cidr = cidrs[index]
    return cidr !== undefined && !isLoopback(cidr)
  })
  if (remote.length > 0 && textAt(mappingAt(tree, 'http'), 'public_url') === undefined) {
    const first = textAt(remote[0] ?? {}, 'name') ?? 'the first'
    const others = remote.length > 1 ? ` and ${remote.length - 1} more` : ''
    const message = `is null: devices behind ${first}${others} could not reach the server to pay`
    result.warnings.push({ path: ['http', 'public_url'], message })
  }
}

function checkPlaySecret(tree: unknown, source: SecretSource, result: CrossResult): void {
  const { play_integrity: section } = mappingAt(tree, 'attestation')
  if (typeof section !== 'object' || section === null || Array.isArray(section)) return
  const owner = section as Mapping
  const own = { ...source, origin: 'the Play Console shows this decryption key' }
  const text = checkSecret(owner, ['attestation', 'play_integrity'], undefined, own, result)
  const key = owner['secret'] === undefined ? 'secret_file' : 'secret'
  if (text !== undefined) result.playSecret = { text, key }
}

/** Schemes that vouch for a key in hardware; Play Integrity vouches for app and device only. */
const HARDWARE_SCHEMES = ['tpm', 'android_key', 'app_attest', 'eat']

/** Reports that no key may sign: accounting would be billed, and nobody would see why. */
function checkUsage(tree: unknown, result: CrossResult): void {
  const billing = mappingAt(tree, 'billing')
  const usage = textAt(billing, 'usage') ?? 'accounting'
  if (usage === 'accounting' || (textAt(billing, 'trust') ?? 'hardware') !== 'hardware') return
  const attestation = mappingAt(tree, 'attestation')
  if (HARDWARE_SCHEMES.some((scheme) => (attestation[scheme] ?? null) !== null)) return
  const why = 'no scheme of attestation takes a key in hardware: what access points count is billed'
  const message = `is ${usage}, but ${why}; add one such as tpm, or set billing.trust: software`
  result.warnings.push({ path: ['billing', 'usage'], message })
}

const REJECT_DELAY_MAX_MS = 10_000

/** A reject that waits longer than duplicates are remembered would be worked on twice. */
function checkDelay(radius: Mapping, result: CrossResult): void {
  const delayMs = parseDuration(textAt(radius, 'reject_delay') ?? '1s') ?? 0
  const cacheMs = parseDuration(textAt(radius, 'duplicate_cache') ?? '5s') ?? Number.MAX_VALUE
  // Above its own limit the key has a problem already.
  if (delayMs < cacheMs || delayMs > REJECT_DELAY_MAX_MS) return
  const message = 'must be shorter than radius.duplicate_cache'
  result.problems.push({ path: ['radius', 'reject_delay'], message })
}

function checkPairs(tree: unknown, result: CrossResult): void {
  const eap = mappingAt(tree, 'eap')
  if (eap['tls_min'] === '1.3' && eap['tls_max'] === '1.2') {
    result.problems.push({ path: ['eap', 'tls_min'], message: 'must not be above tls_max' })
  }
  const radius = mappingAt(tree, 'radius')
  checkDelay(radius, result)
  const auth = parseEndpoint(textAt(radius, 'auth') ?? '0.0.0.0:1812')
  const accounting = parseEndpoint(textAt(radius, 'accounting') ?? '0.0.0.0:1813')
  if (auth !== undefined && auth.port !== 0 && auth.port === accounting?.port) {
    if (auth.host === accounting.host) {
      const message = 'must differ from radius.auth: each has a socket of its own'
      result.problems.push({ path: ['radius', 'accounting'], message })
    }
  }
  const chain = mappingAt(tree, 'chain')
  const rpc = textAt(chain, 'rpc') ?? 'embedded'
  if (/^(https?|wss?):/.test(rpc) && (chain['contract'] ?? 'auto') === 'auto') {
    const message = 'must be the address of the contract on that chain: auto is for rpc: embedded'
    result.problems.push({ path: ['chain', 'contract'], message })
  }
  const { tariffs } = (tree ?? {}) as Mapping
  const isMapping = typeof tariffs === 'object' && tariffs !== null && !Array.isArray(tariffs)
  if (isMapping && Object.keys(tariffs).length === 0) {
    result.problems.push({ path: ['tariffs'], message: 'must have at least one tariff' })
  }
  // zod leaves this key out of a record without a word; the tariff would look accepted.
  if (isMapping && Object.hasOwn(tariffs, '__proto__')) {
    result.problems.push({ path: ['tariffs', '__proto__'], message: 'is not a name for a tariff' })
  }
}

/** Every finding that needs two values or the environment, and the secrets found on the way. */
export function crossCheck(tree: unknown, source: SecretSource): CrossResult {
  const result: CrossResult = { problems: [], warnings: [], secrets: [], playSecret: undefined }
  checkPairs(tree, result)
  checkClients(tree, source, result)
  checkPlaySecret(tree, source, result)
  checkUsage(tree, result)
  return result
}

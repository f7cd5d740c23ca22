// Keeps an OCSP response stapled to the operator's certificate (RFC 9190 §5.4): made with the key
// of our own CA, or read from a file that the operator keeps up to date. Out of date it is not
// stapled, and the log says so once. Called by tls-engine.ts at start, at reload and by its own
// timer; certificate.ts reads with it at start.

import { readFileSync, statSync } from 'node:fs'
import {
  makeOcspResponse,
  OCSP_BYTES_MAX,
  OCSP_VALIDITY_SECONDS,
  type OcspResponse,
  readOcspResponse,
} from '../certs/ocsp.ts'
import type { TlsEngine } from '../eap/engine.ts'
import type { DataPaths } from './data.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Runtime } from './runtime.ts'

/** A file of 2 KB is read in microseconds; who replaces it sees it served when they look. */
const POLL_MS = 5_000
/** What OpenSSL's supplicants forgive a clock. */
const CLOCK_SECONDS = 300

const reasonOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * The response in a file, for this certificate; its times are not judged. Throws an Error that
 * names the path and says what to do.
 */
export function readOcspFile(path: string, certificatePem: string): OcspResponse {
  let der: Buffer
  try {
    const facts = statSync(path)
    if (!facts.isFile()) throw new Error('it is no file')
    if (facts.size > OCSP_BYTES_MAX) throw new Error(`more than ${OCSP_BYTES_MAX} octets`)
    der = readFileSync(path)
  } catch (error) {
    const why = reasonOf(error) === 'ENOENT' ? 'does not exist' : `can't be read (${textOf(error)})`
    throw new Error(`${path} ${why}; name an OCSP response in DER, or take ocsp out`)
  }
  try {
    return readOcspResponse(der, certificatePem)
  } catch (error) {
    const what = 'is not an OCSP response for the certificate in DER'
    throw new Error(`${path} ${what} (${textOf(error)}); fetch one: openssl ocsp -respout`)
  }
}

/** The OCSP response in use, and what it belongs to. */
interface Held {
  readonly leafPem: string
  /** Its path; undefined: made here. */
  readonly file: string | undefined
  readonly response: OcspResponse
  /** When it was made or first seen. */
  readonly sinceSeconds: number
}

/** Why it must not be stapled now, or undefined. */
function timeProblem({ thisUpdate, nextUpdate }: OcspResponse, now: number): string | undefined {
  if (thisUpdate > now + CLOCK_SECONDS) return 'is not valid yet, or the clock here is wrong'
  if (nextUpdate === undefined || now <= nextUpdate) return undefined
  return `has expired (it held until ${isoOf(nextUpdate)})`
}

const isoOf = (seconds: number): string => new Date(seconds * 1000).toISOString()

const STATUS_WARNINGS = {
  good: undefined,
  revoked: 'says that the certificate is revoked: supplicants that ask refuse it',
  unknown: 'says that its CA does not know the certificate: supplicants that insist refuse it',
} as const

/** Half of its life is over, or the clock was set back: a new one of our own is due. */
function isDue({ sinceSeconds }: Held, now: number): boolean {
  return now < sinceSeconds || now >= sinceSeconds + OCSP_VALIDITY_SECONDS / 2
}

function makeOwn(paths: DataPaths, leafPem: string, nowSeconds: number): OcspResponse {
  try {
    const der = makeOcspResponse({
      caCertificatePem: readFileSync(paths.caCertificate, 'utf8'),
      caKeyPem: readFileSync(paths.caKey, 'utf8'),
      certificatePem: leafPem,
      nowSeconds,
    })
    return readOcspResponse(der, leafPem)
  } catch (error) {
    const why = `with ${paths.caKey}: ${textOf(error)}`
    throw new Error(`no OCSP response could be signed ${why}`)
  }
}

/** What there is to staple at this time: `before` where nothing is newer. Throws as its parts. */
function newest(
  { config, certificate }: Runtime,
  paths: DataPaths,
  before: Held | undefined,
  now: number,
): Held | undefined {
  const source = config.eap.certificate
  const leafPem = certificate.certificates[0] ?? ''
  const hold = (file: string | undefined, response: OcspResponse): Held => ({
    ...{ leafPem, file, response, sinceSeconds: now },
  })
  if (source === 'auto') {
    if (before !== undefined && !isDue(before, now)) return before
    return hold(undefined, makeOwn(paths, leafPem, now))
  }
  if (source.ocsp === undefined) return undefined
  const response = readOcspFile(source.ocsp, leafPem)
  return before?.response.der.equals(response.der) ? before : hold(source.ocsp, response)
}

export interface Stapling {
  /** Looks again now; never throws. */
  refresh(): void
  stop(): void
}

export interface StaplingDeps {
  readonly runtime: () => Runtime
  readonly paths: DataPaths
  /** Milliseconds. */
  readonly now: () => number
  readonly log: Log
  readonly metrics: Pick<Metrics, 'ocspUntil'>
}

/** Starts keeping it. */
export function createStapling(o: StaplingDeps): Stapling {
  let held: Held | undefined
  let served: { engine: TlsEngine; response: OcspResponse | undefined } | undefined
  let told: string | undefined

  /** What to staple, and what the operator should know. */
  function judge(runtime: Runtime, now: number): [OcspResponse | undefined, string | undefined] {
    const source = runtime.config.eap.certificate
    const file = source === 'auto' ? undefined : source.ocsp
    if (runtime.rules.engine.setOcspResponse === undefined) {
      return [undefined, file && `${file} is not used: the node:tls engine staples no response`]
    }
    // One for another certificate, or from another place, is of no use whatever follows.
    const isOurs = held?.leafPem === runtime.certificate.certificates[0] && held?.file === file
    if (!isOurs) held = undefined
    let problem: string | undefined
    try {
      held = newest(runtime, o.paths, held, now)
    } catch (error) {
      problem = textOf(error)
    }
    if (held === undefined) return [undefined, problem]
    const { response } = held
    const late = timeProblem(response, now)
    const name = file ?? 'the OCSP response'
    if (late !== undefined) return [undefined, problem ?? `${name} ${late}: none is stapled`]
    const status = STATUS_WARNINGS[response.status]
    return [response, problem ?? (status && `${name} ${status}`)]
  }

  function refresh(): void {
    const runtime = o.runtime()
    const { engine } = runtime.rules
    const [response, warning] = judge(runtime, Math.floor(o.now() / 1000))
    const until = response?.nextUpdate
    if (served?.engine !== engine || served.response !== response) {
      engine.setOcspResponse?.(response?.der)
      if (response !== undefined && served?.response !== response) {
        o.log.info({ until: until && isoOf(until) }, 'an OCSP response is stapled')
      }
      served = { engine, response }
    }
    // Prometheus has a value for "for ever", and none at all reads as long ago.
    o.metrics.ocspUntil.set(response === undefined ? 0 : (until ?? Number.POSITIVE_INFINITY))
    if (warning !== undefined && warning !== told) o.log.warn(`eap.certificate: ${warning}`)
    told = warning
  }

  refresh()
  const timer = setInterval(refresh, POLL_MS)
  timer.unref()
  return { refresh, stop: () => clearInterval(timer) }
}

// Who takes part in bench/eap.ts: our server with each of its TLS engines and with resumption,
// FreeRADIUS and hostapd likewise, all with the same certificates. Prepares what they need and
// starts none of them itself. Called by eap.ts.

import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { makePki } from '../test/peer/certificates.ts'
import type { ContestantPlan } from './contestants.ts'
import { resumedName, SERVERS, type ServerKey } from './names.ts'
import { type Enrolment, enrol, freePorts, type OursOptions, startOurs } from './ours.ts'
import { startFreeRadius, startHostapd } from './peers.ts'
import { PERF_NODE_ARGUMENTS } from './perf.ts'

/** Settings of the whole run that the entrants share. */
export interface EntrantOptions {
  /** Everything a server writes is below it. */
  readonly directory: string
  readonly secret: string
  readonly cpu: number
  /** Authentications per TLS version before anything is measured. */
  readonly warmup: { readonly ours: number; readonly others: number }
  /** Where our servers leave their CPU profiles, each in a folder of its own. */
  readonly profile: string | undefined
  /** Our native server runs so that perf finds the names of JavaScript. */
  readonly perf: boolean
}

/** Certificates and accounts; `oursRuns` where they are those of our own server. */
export interface Prepared extends Enrolment {
  readonly oursRuns: boolean
}

const FRAGMENT_SIZE = 1400
// Enough that no account has many sessions; more would not fit the one fragment, see enrol().
const ACCOUNTS = 16
// hostapd serves 1,000 conversations and then none for a minute.
const HOSTAPD_CAPACITY = 950
// FreeRADIUS finds only sessions of full logins again, whatever it gives with TLS 1.3.
const OFFERED = {
  datanet: 'last',
  'datanet-node': 'last',
  freeradius: 'full',
  hostapd: 'last',
} as const
/** Where the accounts are enrolled; each of our servers starts on a copy of it. */
const ENROLLED = 'enrolled'

async function oursOptions(options: EntrantOptions, folder: string): Promise<OursOptions> {
  return {
    directory: join(options.directory, folder),
    secret: options.secret,
    fragmentSize: FRAGMENT_SIZE,
    perMinute: '0',
    cpu: options.cpu,
    ports: await freePorts(),
    nodeArguments: [],
  }
}

/** Accounts and certificates of our server. Rejects where it does not run. */
export async function prepareOurs(options: EntrantOptions): Promise<Prepared> {
  const enrolling = await oursOptions(options, ENROLLED)
  const server = await startOurs(enrolling)
  try {
    return { ...(await enrol(enrolling, ACCOUNTS)), oursRuns: true }
  } finally {
    await server.stop()
  }
}

/** Plain certificates: the others can be measured without us. */
export function preparePlain({ directory }: EntrantOptions): Prepared {
  const folder = join(directory, 'pki')
  mkdirSync(folder, { recursive: true })
  const pki = makePki(folder, ACCOUNTS)
  const credentials = pki.clients.map((client) => ({ identity: 'anonymous@bench.test', ...client }))
  return {
    credentials,
    ...pki.server,
    caPem: pki.ca.certificatePem,
    serverName: pki.serverName,
    oursRuns: false,
  }
}

/** How a server is started; `resumption` makes it the one with that. */
export async function planOf(
  key: ServerKey,
  resumption: boolean,
  options: EntrantOptions,
  prepared: Prepared,
): Promise<ContestantPlan> {
  const name = resumption ? resumedName(SERVERS[key]) : SERVERS[key]
  const folder = resumption ? `${key}-resumed` : key
  const resumes = resumption ? OFFERED[key] : undefined
  if (key === 'datanet' || key === 'datanet-node') {
    const run = await oursOptions(options, folder)
    cpSync(join(options.directory, ENROLLED), run.directory, { recursive: true })
    const engine = key === 'datanet' ? 'native' : 'node'
    const nodeArguments = [
      ...(options.profile === undefined
        ? []
        : ['--cpu-prof', '--cpu-prof-dir', join(options.profile, folder)]),
      ...(options.perf && folder === 'datanet' ? PERF_NODE_ARGUMENTS : []),
    ]
    // What is not asked for is left as the server has it by default.
    const chosen = { ...run, name, engine, nodeArguments, ...(resumption ? { resumption } : {}) }
    const start = () => startOurs(chosen as OursOptions)
    return { name, capacity: Infinity, warmup: options.warmup.ours, resumes, start }
  }
  const trusted = prepared.oursRuns ? prepared.credentials.map((c) => c.certificatePem) : []
  const peer = {
    directory: join(options.directory, folder),
    secret: options.secret,
    certificatePem: prepared.certificatePem,
    keyPem: prepared.keyPem,
    clientCaPem: (trusted.length > 0 ? trusted : [prepared.caPem]).join('\n'),
    fragmentSize: FRAGMENT_SIZE,
    cpu: options.cpu,
    resumption,
  }
  const common = { name, warmup: options.warmup.others, resumes }
  return key === 'freeradius'
    ? { ...common, capacity: Infinity, start: () => startFreeRadius(peer) }
    : { ...common, capacity: HOSTAPD_CAPACITY, start: () => startHostapd(peer) }
}

// The whole grammar of the configuration in one place: every key, its default, its range and the
// reason for it. Each value is judged alone here; what depends on two of them is in cross.ts. Used
// by parse.ts.

import { z } from 'zod'
import { checksumAddress, parseAddress } from '../ethereum/address.ts'
import { type Cidr, parseCidr } from './address.ts'
import { attestation } from './attestation.ts'
import { LOG_LEVELS, NAS_TYPES, PREPAY, TLS_ENGINES, TLS_VERSIONS, TRUST, USAGE } from './config.ts'
import {
  choice,
  DAY,
  degrees,
  duration,
  fileName,
  flag,
  HOUR,
  integer,
  MINUTE,
  rejection,
  SECOND,
  secretText,
  section,
  text,
} from './grammar.ts'
import {
  isPostgresUrl,
  parseBssid,
  parseEndpoint,
  parsePercent,
  parsePrice,
  parseUrl,
} from './values.ts'

/** What the name of a client or tariff may be: it ends up in logs, metric labels, file names. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
/** `NAME` in words. */
export const NAME_RULE =
  'must be 1 to 64 letters, digits, ".", "_" or "-", starting with a letter or digit'

const endpoint = text(
  'must be address:port, such as 0.0.0.0:1812 or [::]:1812 (port 0: any free port)',
  parseEndpoint,
)

const account = text(
  'must be an account, "0x" and 40 hex digits in quotes; mixed case must be its EIP-55 checksum',
  (input) => {
    const address = parseAddress(input)
    if (address === undefined) return undefined
    const digits = input.slice(2)
    const oneCase = digits === digits.toLowerCase() || digits === digits.toUpperCase()
    // One mistyped digit would pay a stranger; the checksum is the only thing that can notice.
    return oneCase || checksumAddress(address) === input ? address : undefined
  },
)

const ipaddr = z
  .string({
    error: (issue) => rejection(issue.input, 'must be an IP address or a network in CIDR form'),
  })
  .transform((input, context): Cidr => {
    const cidr = parseCidr(input)
    if (typeof cidr !== 'string') return cidr
    context.addIssue({ code: 'custom', message: cidr })
    return z.NEVER
  })

const name = text(NAME_RULE, (input) => (NAME.test(input) ? input : undefined))

const radsec = z
  .union([z.null(), z.string()], { error: () => 'must be null or host:port' })
  .transform((input, context): null => {
    if (input !== null) {
      const message = 'is not built yet in this version (RADIUS over TLS): must be null'
      context.addIssue({ code: 'custom', message })
    }
    return null
  })

const certificate = z.union(
  [z.literal('auto'), z.strictObject({ cert: fileName, key: fileName, ocsp: fileName.optional() })],
  { error: () => 'must be auto or {cert: FILE, key: FILE}, with or without ocsp: FILE' },
)

const client = section({
  name,
  ipaddr,
  ssid: text('must be 1 to 32 octets (IEEE 802.11)', (input) =>
    input.length > 0 && Buffer.byteLength(input) <= 32 ? input : undefined,
  ).optional(),
  bssids: z
    .array(text('must be a hardware address such as 02:00:00:00:01:00', parseBssid), {
      error: (issue) => rejection(issue.input, 'must be a list of hardware addresses'),
    })
    // More radios than any one access point or controller group has.
    .max(1024, { error: 'must list at most 1024 addresses' })
    .default([]),
  secret: secretText,
  secret_file: fileName.optional(),
  require_message_authenticator: flag().default(true),
  limit_proxy_state: flag().default(true),
  nas_type: choice(NAS_TYPES).default('generic'),
  coa: section({
    port: integer(1, 65_535).default(3799),
    secret: secretText,
    secret_file: fileName.optional(),
  }).optional(),
  merchant: account.optional(),
  tariff: name.optional(),
  max_mbps: integer(1, 1_000_000).default(1000),
  location: section({ lat: degrees(90), lon: degrees(180) }).optional(),
})

const price = text(
  'must be a price in whole tokens in quotes, such as "0.001": at most 18 decimal places',
  parsePrice,
)

const tariff = section({
  per_minute: price,
  per_megabyte: price,
  interval: duration(SECOND, DAY).default(MINUTE),
  interval_megabytes: integer(1, 1_000_000).default(10),
  missed_max: integer(1, 100).default(2),
  grace: duration(0, HOUR).default(0),
  flat: section({ price, window: duration(MINUTE, 30 * DAY) }).optional(),
  // Given once a day per account, else a device could start over for ever.
  free_minutes: integer(0, 1440).default(0),
  free_megabytes: integer(0, 1_000_000).default(0),
  throttle_kbps: integer(8, 1_000_000).optional(),
})

const radius = section({
  auth: endpoint.prefault('0.0.0.0:1812'),
  accounting: endpoint.prefault('0.0.0.0:1813'),
  radsec: radsec.default(null),
  // Above 10 s an access point has given the request up and sends it anew.
  reject_delay: duration(0, 10 * SECOND).default(SECOND),
  // RFC 5080 §2.2.2: 5 to 30 seconds cover a NAS's retransmissions.
  duplicate_cache: duration(5 * SECOND, 30 * SECOND).default(5 * SECOND),
  // 4096 datagrams of at most 4096 octets: 16 MB at worst.
  queue_max: integer(16, 65_536).default(4096),
})

const eap = section({
  engine: choice(TLS_ENGINES).default('auto'),
  tls_min: choice(TLS_VERSIONS).default('1.2'),
  tls_max: choice(TLS_VERSIONS).default('1.3'),
  // 100 is what small supplicants are tested with; 3800 leaves room in a RADIUS packet of 4096.
  fragment_size: integer(100, 3800).default(1300),
  resumption: flag().default(false),
  ticket_keys: fileName.default('auto'),
  certificate: certificate.default('auto'),
  // Each may hold 64 KiB of a flight: 256 MB at worst with the default.
  sessions_max: integer(1, 65_536).default(4096),
  timeout: duration(SECOND, 5 * MINUTE).default(15 * SECOND),
  // Two certificate flights in fragments of 100 octets take about 40 rounds.
  rounds_max: integer(10, 1000).default(50),
})

const chain = section({
  rpc: text('must be embedded or an http, https, ws or wss URL', (input) =>
    input === 'embedded' ? input : parseUrl(input, ['http', 'https', 'ws', 'wss']),
  ).default('embedded'),
  contract: z
    .union([z.literal('auto'), account], {
      error: () => 'must be auto or a contract: "0x" and 40 hex digits in quotes',
    })
    .default('auto'),
  confirmations: integer(1, 1000).default(1),
  stale_after: duration(SECOND, DAY).default(MINUTE),
})

function wholeSeconds(to: number) {
  return duration(SECOND, to).transform((ms, context): number => {
    if (ms % SECOND === 0) return ms / SECOND
    context.addIssue({ code: 'custom', message: 'must be whole seconds: the contract counts them' })
    return z.NEVER
  })
}

/** The bounds are those of the contract (Operators.sol), which would refuse the registration. */
const payplaceTiming = section({
  beta: wholeSeconds(365 * DAY),
  gamma: wholeSeconds(30 * DAY),
  delta: wholeSeconds(DAY),
  challenge: wholeSeconds(365 * DAY),
  eta: integer(1, 1_000_000),
}).superRefine(({ beta, gamma, delta, challenge }, context) => {
  const refuse = (message: string): void => context.addIssue({ code: 'custom', message })
  if (gamma < 3 * delta) refuse('gamma must be at least 3 times delta')
  if (beta < 2 * (gamma + 2 * delta)) refuse('beta must be at least 2 (gamma + 2 delta)')
  if (challenge < beta + gamma + 2 * delta) {
    refuse('challenge must be at least beta + gamma + 2 delta')
  }
})

const publicUrl = z
  .union([z.null(), text('', (input) => parseUrl(input, ['http', 'https']))], {
    error: () => 'must be null or an http or https URL that devices can reach',
  })
  .default(null)

/**
 * The whole file. Its output is keyed as in the YAML, with every value parsed and every default
 * filled in.
 */
export const schema = section({
  operator: section({
    // The contract's registry and the certificate's DNS label are made from it.
    name: text('must be 1 to 64 characters', (input) =>
      input.trim() === input && input !== '' && input.length <= 64 ? input : undefined,
    ),
  }),
  radius: radius.prefault({}),
  eap: eap.prefault({}),
  clients: z
    .array(client, { error: (issue) => rejection(issue.input, 'must be a list') })
    // A table built at start; networks in CIDR form cover more access points than this.
    .max(10_000, { error: 'must list at most 10000 entries: use networks (CIDR)' })
    .default([]),
  tariffs: z.record(z.string().regex(NAME, { error: NAME_RULE }), tariff, {
    error: (issue) => rejection(issue.input, 'must be a mapping of tariff names'),
  }),
  chain: chain.prefault({}),
  sessions: section({
    max: duration(SECOND, 30 * DAY).default(HOUR),
    per_account: integer(1, 10_000).default(4),
  }).prefault({}),
  admission: section({
    prepay: choice(PREPAY).default('off'),
    newcomers_per_client: integer(0, 100_000).default(20),
    arrears_window: duration(0, 10 * MINUTE).default(20 * SECOND),
  }).prefault({}),
  billing: section({
    usage: choice(USAGE).default('accounting'),
    trust: choice(TRUST).default('hardware'),
    // A device that was whole yesterday may have been opened since.
    reattest_after: duration(HOUR, 365 * DAY).default(DAY),
  }).prefault({}),
  attestation: attestation.prefault({}),
  payplace: section({
    commission_percent: text(
      'must be 0 to 100 per cent in quotes, such as "2.5": at most 4 decimal places',
      parsePercent,
    ).prefault('0'),
    timing: payplaceTiming.optional(),
  }).prefault({}),
  http: section({
    listen: endpoint.prefault('127.0.0.1:8080'),
    public_url: publicUrl,
  }).prefault({}),
  storage: text('must be embedded or a postgres:// URL', (input) =>
    input === 'embedded' || isPostgresUrl(input) ? input : undefined,
  ).default('embedded'),
  log: section({ level: choice(LOG_LEVELS).default('info') }).prefault({}),
})

/** What a valid file parses to. */
export type Parsed = z.output<typeof schema>
export type ParsedClient = Parsed['clients'][number]

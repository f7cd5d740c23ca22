// What the claims of an Entity Attestation Token say, read from each of its forms into one shape:
// PSA's profile of RFC 9783, the one before it (PSA_IOT_PROFILE_1), other profiles of RFC 9711 in
// CBOR and in JSON. Pure. Refuses missing and mistyped claims; what a value is worth is decided by
// eat.ts, which calls it. Claims that nobody asks for are ignored (RFC 9711 §4).

import { type CborMap, isBytes, isMap, pointOfCoseKey } from './cose.ts'
import { octetsOf } from './evidence.ts'
import { pointOfJwk } from './p256.ts'

/** PSA's own profile, RFC 9783 §4.5.2. */
export const PSA_PROFILE = 'tag:psacertified.org,2023:psa#tfm'
/** The profile before it, RFC 9783 §4.6; the first drafts spelled it with a small o. */
export const PSA_LEGACY_PROFILE = 'PSA_IOT_PROFILE_1'
const PSA_LEGACY_DRAFT = 'PSA_IoT_PROFILE_1'

/** The claims that decide, in one shape. */
export interface EatClaims {
  readonly profile: string
  /** Of PSA: no confirmation claim, so the nonce has to speak of the metering key. */
  readonly isPsa: boolean
  /** UEID; PSA's Instance ID. */
  readonly instance: Uint8Array | undefined
  readonly nonce: Uint8Array
  /** What the token says of how the device was started, for the operator to read. */
  readonly lifecycle: string
  /** Started as its maker wants it, and not being debugged. */
  readonly isSecured: boolean
  /** Who asked for the token: a PSA client id, or the name of the software. */
  readonly app: number | string | undefined
  /** Who signed each software component; undefined where the form has no such claim. */
  readonly signers: readonly Uint8Array[] | undefined
  /** The key of the confirmation claim: a point on P-256, 'other' for any other key. */
  readonly confirmed: Buffer | 'other' | undefined
  /** Unix seconds. */
  readonly expiresAt: number | undefined
  readonly notBefore: number | undefined
  readonly issuedAt: number | undefined
}

/** Claims in CBOR by label, in JSON by name: RFC 9711 §7, RFC 8392 §4, RFC 8747 §7, RFC 7800 §6. */
const LABELS = {
  exp: 4,
  nbf: 5,
  iat: 6,
  cnf: 8,
  eat_nonce: 10,
  ueid: 256,
  oemboot: 262,
  dbgstat: 263,
  eat_profile: 265,
  swname: 270,
} as const

type Name = keyof typeof LABELS

/** PSA's claims in RFC 9783 (§4, appendix A) and before (§4.6). */
const PSA_LABELS = {
  nonce: LABELS.eat_nonce,
  instance: LABELS.ueid,
  client: 2394,
  lifecycle: 2395,
  implementation: 2396,
  components: 2399,
} as const
const LEGACY_LABELS = {
  nonce: -75008,
  instance: -75009,
  client: -75001,
  lifecycle: -75002,
  implementation: -75003,
  components: -75006,
} as const
const LEGACY_PROFILE_LABEL = -75000
const LEGACY_NO_COMPONENTS_LABEL = -75007

/** Of one software component, RFC 9783 §4.4.1. */
const COMPONENT = { type: 1, value: 2, version: 4, signer: 5, description: 6 } as const
const COMPONENTS_MAX = 64

/** A hash: 32, 48 or 64 octets (RFC 9783 §4, psa-hash-type). */
const isHash = (value: unknown): value is Uint8Array =>
  isBytes(value) && [32, 48, 64].includes(value.length)

const isTextOrAbsent = (value: unknown): boolean => value === undefined || typeof value === 'string'

/** RFC 9711 §4.2.1: a type octet and 6 to 32 more. */
const isUeid = (value: unknown): value is Uint8Array =>
  isBytes(value) && value.length >= 7 && value.length <= 33

/** RFC 9711 §4.2.9, as CBOR numbers them. */
const DEBUG = [
  'enabled',
  'disabled',
  'disabled-since-boot',
  'disabled-permanently',
  'disabled-fully-and-permanently',
]
const DEBUG_SINCE_BOOT = 2

/** RFC 9783 §4.3.1: 12288 to 12543 is SECURED; the other states are less, or open to debuggers. */
const SECURED = 0x30
const LIFECYCLE_MAX = 0x60ff

function signersOf(value: unknown): Uint8Array[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > COMPONENTS_MAX) return undefined
  const signers: Uint8Array[] = []
  for (const component of value as readonly unknown[]) {
    if (!isMap(component)) return undefined
    const signer = component.get(COMPONENT.signer)
    const texts = [COMPONENT.type, COMPONENT.version, COMPONENT.description]
    if (!isHash(signer) || !isHash(component.get(COMPONENT.value))) return undefined
    if (!texts.every((label) => isTextOrAbsent(component.get(label)))) return undefined
    signers.push(signer)
  }
  return signers
}

function psaClaims(claims: CborMap, profile: string, isLegacy: boolean): EatClaims | undefined {
  const labels = isLegacy ? LEGACY_LABELS : PSA_LABELS
  const nonce = claims.get(labels.nonce)
  const instance = claims.get(labels.instance)
  const client = claims.get(labels.client)
  const lifecycle = claims.get(labels.lifecycle)
  const implementation = claims.get(labels.implementation)
  if (!isHash(nonce) || !isBytes(implementation) || implementation.length !== 32) return undefined
  // §4.2.1: a UEID of type RAND, the hash of the attestation key.
  if (!isBytes(instance) || instance.length !== 33 || instance[0] !== 1) return undefined
  // §4.1.2: negative outside the secure world, positive inside; 0 is nobody.
  if (typeof client !== 'number' || client === 0 || client !== (client | 0)) return undefined
  if (typeof lifecycle !== 'number' || !Number.isInteger(lifecycle)) return undefined
  if (lifecycle < 0 || lifecycle > LIFECYCLE_MAX) return undefined
  // Before RFC 9783 a device could say that it measures nothing.
  const measuresNothing =
    isLegacy && claims.get(LEGACY_NO_COMPONENTS_LABEL) === 1 && !claims.has(labels.components)
  const signers = measuresNothing ? [] : signersOf(claims.get(labels.components))
  if (signers === undefined) return undefined
  return {
    ...{ profile, isPsa: true, nonce, instance, signers, app: client },
    lifecycle: `0x${lifecycle.toString(16).padStart(4, '0')}`,
    isSecured: lifecycle >> 8 === SECURED,
    ...{ confirmed: undefined, expiresAt: undefined, notBefore: undefined, issuedAt: undefined },
  }
}

/** NumericDate (RFC 7519 §2); undefined: absent, NaN: not one. */
function dateOf(value: unknown): number | undefined {
  if (value === undefined) return undefined
  return typeof value === 'number' && value >= 0 ? value : Number.NaN
}

/** Any profile of RFC 9711 but PSA's, from the getter of its form. */
function eatClaims(
  get: (name: Name) => unknown,
  form: {
    readonly octets: (value: unknown) => Uint8Array | undefined
    readonly debug: (value: unknown) => string | undefined
    readonly confirmed: (value: unknown) => Buffer | 'other'
  },
): EatClaims | undefined {
  const profile = get('eat_profile')
  const nonce = form.octets(get('eat_nonce'))
  const [ueid, name, cnf] = [get('ueid'), get('swname'), get('cnf')]
  const instance = ueid === undefined ? undefined : form.octets(ueid)
  if (typeof profile !== 'string' || !isTextOrAbsent(name)) return undefined
  // §4.1: a nonce has 8 to 64 octets; a list of several answers several verifiers, never us alone.
  if (nonce === undefined || nonce.length < 8 || nonce.length > 64) return undefined
  if (ueid !== undefined && !isUeid(instance)) return undefined
  const dates = [dateOf(get('exp')), dateOf(get('nbf')), dateOf(get('iat'))] as const
  if (dates.some(Number.isNaN)) return undefined
  const debug = form.debug(get('dbgstat'))
  const booted = get('oemboot')
  return {
    ...{ profile, isPsa: false, nonce, instance, signers: undefined },
    app: typeof name === 'string' ? name : undefined,
    lifecycle: `debug ${debug ?? 'unknown'}, maker's boot ${booted === true ? 'yes' : 'no'}`,
    isSecured: booted === true && debug !== undefined && DEBUG.indexOf(debug) >= DEBUG_SINCE_BOOT,
    confirmed: cnf === undefined ? undefined : form.confirmed(cnf),
    ...{ expiresAt: dates[0], notBefore: dates[1], issuedAt: dates[2] },
  }
}

/** The claims of a CWT; undefined where one is missing, the profile too, or not of its type. */
export function claimsOfCbor(claims: unknown): EatClaims | undefined {
  if (!isMap(claims)) return undefined
  const profile = claims.get(LABELS.eat_profile)
  const legacy = claims.get(LEGACY_PROFILE_LABEL)
  if (profile === undefined && (legacy === PSA_LEGACY_PROFILE || legacy === PSA_LEGACY_DRAFT)) {
    return psaClaims(claims, PSA_LEGACY_PROFILE, true)
  }
  if (profile === PSA_PROFILE) return psaClaims(claims, PSA_PROFILE, false)
  // The old form has a label of its own for its name: under this one it is neither form.
  if (profile === PSA_LEGACY_PROFILE) return undefined
  return eatClaims((name) => claims.get(LABELS[name]), {
    octets: (value) => (isBytes(value) ? value : undefined),
    debug: (value) => (typeof value === 'number' ? DEBUG[value] : undefined),
    // RFC 8747 §3.1: one way to name the key; a COSE_Key in the clear is member 1.
    confirmed: (cnf) =>
      (isMap(cnf) && cnf.size === 1 ? pointOfCoseKey(cnf.get(1)) : undefined) ?? 'other',
  })
}

/** The claims of a JWT, likewise; octets are base64url there (RFC 9711 §4). */
export function claimsOfJson(claims: Readonly<Record<string, unknown>>): EatClaims | undefined {
  const get = (name: Name): unknown => (Object.hasOwn(claims, name) ? claims[name] : undefined)
  // RFC 9783 §5.1: PSA's profiles are CBOR only.
  const profile = get('eat_profile')
  if (profile === PSA_PROFILE || profile === PSA_LEGACY_PROFILE) return undefined
  return eatClaims(get, {
    octets: (value) => octetsOf(value, 66),
    debug: (value) => (typeof value === 'string' && DEBUG.includes(value) ? value : undefined),
    // RFC 7800 §3.2: a public key in the clear is the member jwk; other members name it elsewhere.
    confirmed: (cnf) => {
      if (typeof cnf !== 'object' || cnf === null || Object.keys(cnf).length !== 1) return 'other'
      return pointOfJwk((cnf as Readonly<Record<string, unknown>>)['jwk']) ?? 'other'
    },
  })
}

// What every verifier of this room is: evidence from a device's maker in, a metering key out, or
// the one reason why not. Types only. Verifiers are pure: roots are pinned in roots/, the time and
// the challenge are arguments, and nothing is fetched. server/ decides what a trust level is worth.

/** The schemes by which a metering key can be shown to live in hardware. */
export type Scheme = 'tpm' | 'android-key' | 'app-attest' | 'eat' | 'play-integrity'

/** Why evidence is refused. Closed: used in answers, log and metrics. */
export type AttestationRefusal =
  /** Not of the form that the scheme has, or larger than it may be. */
  | 'malformed'
  /** The scheme is not known, or no longer exists. */
  | 'unsupported'
  /** It answers another challenge than the one given. */
  | 'challenge-mismatch'
  /** The key it speaks of is not the metering key. */
  | 'key-mismatch'
  /** A signature in it does not hold. */
  | 'bad-signature'
  /** The certificates do not lead to a pinned root. */
  | 'unpinned-root'
  /** A certificate is not valid at this time. */
  | 'expired'
  /** A certificate is where it must not be, or may not do what it did. */
  | 'bad-chain'
  /** A certificate is on the list of revoked ones. */
  | 'revoked'
  /** The list of revoked certificates is too old to be believed. */
  | 'revocation-stale'
  /** Another application than those that the operator takes. */
  | 'wrong-app'
  /** The key is in software, or its use is not restricted as it must be. */
  | 'weak-key'
  /** The device was started in a state that its maker does not vouch for. */
  | 'weak-device'
  /** A counter did not go up. */
  | 'counter'
  /** It was made too long ago. */
  | 'too-old'

export interface Attested {
  readonly ok: true
  readonly scheme: Scheme
  /** The metering key: P-256, 65 octets, uncompressed. */
  readonly publicKey: Buffer
  /** A few short texts for the operator to read, such as a model or a security level. */
  readonly facts: Readonly<Record<string, string>>
}

export interface Refused {
  readonly ok: false
  readonly reason: AttestationRefusal
  /** For the log; never a secret. */
  readonly detail: string
}

export type Verdict = Attested | Refused

/** What the server knows when evidence comes in. */
export interface Expected {
  /**
   * 32 octets that the evidence must answer: the server's nonce hashed with account and operator,
   * see challenge.ts.
   */
  readonly challenge: Buffer
  /** Unix seconds. */
  readonly nowSeconds: number
}

/** Evidence in a POST may be this long; certificate chains of Android take some 8 KB in base64. */
export const EVIDENCE_BYTES_MAX = 65_536

// The seam between the EAP-TLS machine and whatever runs TLS. Two engines stand behind it: node:tls
// fed through memory (tls.ts), and a native one over the OpenSSL that Node carries. Types only;
// both engines pass the same suite (test/eap/engine-conformance.ts). The exchange is the only
// caller.

export type TlsVersion = '1.2' | '1.3'

export interface TlsEngineConfig {
  /** PEM, exactly the chain to send: leaf first, no root. */
  readonly certificatePem: string
  /** PEM, PKCS#8 or SEC 1, unencrypted. */
  readonly privateKeyPem: string
  readonly tlsMin: TlsVersion
  readonly tlsMax: TlsVersion
  /** Absent: no login is ever resumed. Present: see `setTicketKeys` of the engine. */
  readonly resumption?: ResumptionConfig
}

export interface ResumptionConfig {
  /** How long a login may be resumed, counted from its full handshake; 604,800 at most. */
  readonly lifetimeSeconds: number
  /** The time of day. */
  readonly nowSeconds: () => number
}

/** What was negotiated, for logs and for the authorisation; known once established. */
export interface TlsFacts {
  readonly version: TlsVersion
  /** IANA name, such as TLS_AES_256_GCM_SHA384. */
  readonly cipher: string
  /**
   * Name of the key exchange group, such as X25519; its number in hex where it has no name here;
   * '' where there was no exchange: in a resumed session of TLS 1.2.
   */
  readonly group: string
  readonly resumed: boolean
}

export interface EapTlsKeys {
  /** 64 bytes: Key_Material(0, 63). */
  readonly msk: Buffer
  /** 64 bytes: Key_Material(64, 127). */
  readonly emsk: Buffer
  /** 64 bytes; 0x0D before it makes the Session-Id (RFC 5216 §2.3, RFC 9190 §2.3). */
  readonly methodId: Buffer
}

export type TlsOutcome =
  /** The handshake goes on: send these bytes, feed the answer. */
  | { readonly status: 'continue'; readonly bytes: Buffer }
  /**
   * The peer's Finished is verified and a certificate is there; nothing of ours has been sent
   * since. (In a resumed session of 1.2 our own Finished went out before the peer's.)
   */
  | { readonly status: 'established' }
  /** Over. `bytes` is the alert to carry to the peer, empty where there is none to carry. */
  | {
      readonly status: 'failed'
      readonly bytes: Buffer
      readonly reason: string
      readonly detail?: string
    }

export interface TlsConversation {
  /**
   * One complete EAP-TLS message in, never empty. Does not reject; not to be called again before it
   * has answered.
   */
  feed(flight: Buffer): Promise<TlsOutcome>
  /**
   * Once, when established and admitted. TLS 1.2: the withheld last flight, empty where the session
   * was resumed (RFC 5216 §2.1.2). TLS 1.3: a ticket where there are keys for one, and the
   * protected 0x00 record (RFC 9190 §2.1.2, §2.5).
   */
  commit(): Buffer
  /**
   * Once, when established and instead of `commit`: a fatal alert as the peer must see it; empty
   * behind a resumed handshake of TLS 1.2, see `MayResume`.
   */
  refuse(alert: number): Buffer
  /**
   * DER of the peer's leaf certificate; never empty once established. The key behind it is proven,
   * its issuer is not. Of a resumed session it is the one that was proven then.
   */
  peerCertificate(): Buffer
  /** Once established, before `close`. */
  keys(): EapTlsKeys
  facts(): TlsFacts
  /** Frees everything; harmless when repeated, and while a feed is running. */
  close(): void
}

/**
 * Whether the owner of this certificate, in DER and out of a ticket, would be let in now; asked in
 * TLS 1.2 before anything is proven, so the answer must have no effect. After its Finished such a
 * peer takes any request of ours for a mistake, so it could not be told why it is refused: on no,
 * the handshake is a full one (RFC 9190 §5.7).
 */
export type MayResume = (certificate: Buffer) => boolean

export interface TlsEngine {
  readonly name: 'node' | 'native'
  /** Without `mayResume` every good ticket is taken. */
  open(mayResume?: MayResume): TlsConversation
  /**
   * Stapled in handshakes that begin from now on, for peers that ask: an OCSP response for the
   * leaf, DER, at most 16,380 octets; undefined is none, as at first. The function itself is
   * undefined where this engine staples nothing.
   */
  readonly setOcspResponse: ((der: Buffer | undefined) => void) | undefined
  /**
   * The keys of session tickets, see `ticketKey` in ticket-keys.ts: the current one, then the one
   * before it. Without any there are no tickets. Undefined where this engine makes none, or where
   * the configuration has no `resumption`.
   */
  readonly setTicketKeys: ((keys: readonly Buffer[]) => void) | undefined
}

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
}

/** What was negotiated, for logs and for the authorisation; known once established. */
export interface TlsFacts {
  readonly version: TlsVersion
  /** IANA name, such as TLS_AES_256_GCM_SHA384. */
  readonly cipher: string
  /**
   * Name of the key exchange group, such as X25519; its number in hex where it has no name here.
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
   * since.
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
   * Once, when established. TLS 1.2: the withheld last flight. TLS 1.3: the protected 0x00 record
   * (RFC 9190 §2.5).
   */
  commit(): Buffer
  /** Once, when established and instead of `commit`: a fatal alert as the peer must see it. */
  refuse(alert: number): Buffer
  /**
   * DER of the peer's leaf certificate; never empty once established. The key behind it is proven,
   * its issuer is not.
   */
  peerCertificate(): Buffer
  /** Once established, before `close`. */
  keys(): EapTlsKeys
  facts(): TlsFacts
  /** Frees everything; harmless when repeated, and while a feed is running. */
  close(): void
}

export interface TlsEngine {
  readonly name: 'node' | 'native'
  open(): TlsConversation
}

// What may be negotiated in TLS, as lists in OpenSSL's writing. Pure. Both engines take them, so
// that a peer can't tell one from the other. Of the ciphers our first one wins, whatever order a
// peer has: SHA-256 and AES-128 are fast on small machines at both ends, and strong enough for all.

/** RFC 9190 §2.4: forward secrecy and confidentiality only. TLS 1.3. */
export const SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
].join(':')

/** The same for TLS 1.2. */
export const CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * No SHA-1. PKCS#1 v1.5 is for RSA client keys in TLS 1.2, which OpenSSL keeps out of 1.3 by
 * itself.
 */
export const SIGNATURE_ALGORITHMS = [
  'ecdsa_secp256r1_sha256',
  'ed25519',
  'rsa_pss_rsae_sha256',
  'ecdsa_secp384r1_sha384',
  'rsa_pss_rsae_sha384',
  'rsa_pss_rsae_sha512',
  'rsa_pss_pss_sha256',
  'rsa_pkcs1_sha256',
  'rsa_pkcs1_sha384',
  'rsa_pkcs1_sha512',
].join(':')

/**
 * secp256k1 is here for the certificates of `direct` devices: TLS 1.2 checks their curve against
 * this list.
 */
export const GROUPS = 'X25519:P-256:P-384:secp256k1'

// Why TLS failed, in short names for logs and metrics, out of the codes that OpenSSL's reasons
// become. Pure; both engines call it, so that an operator reads the same word whichever runs.

/** OpenSSL's reasons that operators meet, in words of our own. */
const reasons: Readonly<Record<string, string>> = {
  NO_SHARED_CIPHER: 'tls-no-shared-cipher',
  UNSUPPORTED_PROTOCOL: 'tls-protocol-version',
  VERSION_TOO_LOW: 'tls-protocol-version',
  NO_SUITABLE_KEY_SHARE: 'tls-no-shared-group',
  NO_SHARED_GROUP: 'tls-no-shared-group',
  NO_SHARED_SIGNATURE_ALGORITHMS: 'tls-no-shared-signature-algorithm',
  NO_SUITABLE_SIGNATURE_ALGORITHM: 'tls-no-shared-signature-algorithm',
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 'tls-no-certificate',
  // A certificate without its key: the peer's CertificateVerify is by another one.
  PROVIDER_SIGNATURE_FAILURE: 'tls-bad-signature',
  WRONG_VERSION_NUMBER: 'tls-garbage',
  HTTP_REQUEST: 'tls-garbage',
  HTTPS_PROXY_REQUEST: 'tls-garbage',
}

/**
 * From a code such as `ERR_SSL_NO_SHARED_CIPHER`: the reason, and the code as its detail. An alert
 * that the peer sent is `tls-alert-…`; a reason without a word of its own is OpenSSL's with dashes.
 */
export function reasonOf(code: string): { reason: string; detail: string } {
  const name = code.replace(/^ERR_SSL_/, '')
  // OpenSSL leaves the word out where the alert came with the extensions of RFC 6066.
  const alert = /^(?:(?:SSL\/TLS|SSLV3|TLSV13)_ALERT|TLSV1(?:_ALERT)?)_(.+)$/.exec(name)?.[1]
  if (alert !== undefined) return { reason: `tls-alert-${slug(alert)}`, detail: code }
  return { reason: reasons[name] ?? `tls-${slug(name)}`, detail: code }
}

const slug = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-')

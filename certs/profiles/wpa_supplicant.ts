// Writes wpa_supplicant.conf: one network block that eapol_test and wpa_supplicant take as it is.
// Holds paths, no key and no password. Pure: the device's program chooses the paths and writes the
// file.

import { CertificateError } from '../der.ts'

/** How the server is told from others. */
export type ServerPin =
  | {
      /** Absolute path of the CA in PEM. */
      readonly caPath: string
      /** DNS name of the server certificate; compared whole (`domain_match`). */
      readonly serverName: string
    }
  /** SHA-256 of the whole server certificate in DER, 64 hex digits: for one without a CA. */
  | { readonly certificateSha256: string }

export type WpaSupplicantInput = ServerPin & {
  readonly kind: 'bound' | 'direct'
  /** Realm of the outer identity, `<slug>.datanet.invalid`. */
  readonly realm: string
  /** Absolute paths of PEM files. */
  readonly certificatePath: string
  readonly keyPath: string
  /** Absent: any network of this security; which server it reaches is still checked. */
  readonly ssid?: string
}

/**
 * A string value: quoted where that is plainly safe, else as hex of its UTF-8, since wpa_supplicant
 * has no escapes inside quotes. Throws CertificateError on a zero byte, which would cut the value
 * short.
 */
function value(text: string): string {
  if (text === '' || text.includes('\0')) throw new CertificateError('not a configuration value')
  return /^[\w./@:+ -]+$/.test(text) ? `"${text}"` : Buffer.from(text, 'utf8').toString('hex')
}

/** The whole text of wpa_supplicant.conf. */
export function wpaSupplicantConf(o: WpaSupplicantInput): string {
  const paths = [o.certificatePath, o.keyPath, ...('caPath' in o ? [o.caPath] : [])]
  for (const path of paths) {
    if (!path.startsWith('/'))
      throw new CertificateError('a path in wpa_supplicant.conf is absolute')
  }
  if (o.ssid !== undefined && Buffer.byteLength(o.ssid) > 32) {
    throw new CertificateError('an SSID is at most 32 bytes')
  }
  // wpa_supplicant 2.10 leaves TLS 1.3 off for EAP-TLS unless asked; a secp256k1 key has no place
  // in it.
  const phase1 = `tls_disable_tlsv1_3=${o.kind === 'direct' ? 1 : 0}`
  return [
    'network={',
    ...(o.ssid === undefined ? [] : [`\tssid=${value(o.ssid)}`]),
    '\tkey_mgmt=WPA-EAP WPA-EAP-SHA256 IEEE8021X',
    '\tieee80211w=1',
    '\teap=TLS',
    // RFC 9190 §2.1.8: an anonymous outer identity; the server reads who we are from the
    // certificate.
    `\tidentity=${value(`anonymous@${o.realm}`)}`,
    // With a hash the certificate itself is the name, and only the leaf is looked at.
    'caPath' in o
      ? `\tca_cert=${value(o.caPath)}`
      : `\tca_cert="hash://server/sha256/${o.certificateSha256}"`,
    `\tclient_cert=${value(o.certificatePath)}`,
    `\tprivate_key=${value(o.keyPath)}`,
    ...('caPath' in o ? [`\tdomain_match=${value(o.serverName)}`] : []),
    `\tphase1="${phase1}"`,
    '}',
    '',
  ].join('\n')
}

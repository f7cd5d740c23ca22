// Writes an Apple configuration profile (.mobileconfig): the operator's CA as anchor, the device's
// identity, and one Wi-Fi network that uses both with EAP-TLS. Pure; the identity comes as a .p12,
// whose password is asked for at installation and never written here.

import { X509Certificate } from 'node:crypto'
import { isRoot } from '../server-chain.ts'
import { base64Lines, uuidOf, xmlText } from './xml.ts'

export interface MobileconfigInput {
  /** Shown to the person who installs it. */
  readonly name: string
  readonly operatorName: string
  /** Realm of the outer identity, `<slug>.datanet.invalid`. */
  readonly realm: string
  readonly serverName: string
  readonly ssid: string
  /** The operator's CA, or its server certificate where that has none. */
  readonly anchorPem: string
  /** From `pkcs12`, with the identity alone or with the CA. */
  readonly pkcs12: Buffer
}

const EAP_TLS = 13
const ROOT_PAYLOAD = 'com.apple.security.root'
const CERTIFICATE_PAYLOAD = 'com.apple.security.pkcs1'

type Plist =
  | string
  | number
  | boolean
  | Buffer
  | readonly Plist[]
  | { readonly [key: string]: Plist }

function plistOf(value: Plist): string {
  if (typeof value === 'string') return `<string>${xmlText(value)}</string>`
  if (typeof value === 'number') return `<integer>${value}</integer>`
  if (typeof value === 'boolean') return value ? '<true/>' : '<false/>'
  if (Buffer.isBuffer(value)) return `<data>\n${base64Lines(value)}\n</data>`
  if (Array.isArray(value)) return `<array>\n${value.map(plistOf).join('\n')}\n</array>`
  const entries = Object.entries(value)
  const lines = entries.map(([key, item]) => `<key>${xmlText(key)}</key>\n${plistOf(item)}`)
  return `<dict>\n${lines.join('\n')}\n</dict>`
}

/**
 * The profile as an XML property list. The same input gives the same identifiers, so that a renewal
 * replaces.
 */
export function mobileconfig(o: MobileconfigInput): string {
  const scope = [o.realm, o.name, o.ssid] as const
  const caUuid = uuidOf('ca', ...scope)
  const identityUuid = uuidOf('identity', ...scope)
  const root = `invalid.datanet.${uuidOf('profile', ...scope)}`
  const common = (kind: string, uuid: string, displayName: string): Record<string, Plist> => ({
    PayloadDisplayName: displayName,
    PayloadIdentifier: `${root}.${kind}`,
    PayloadUUID: uuid,
    PayloadVersion: 1,
  })
  const anchor = new X509Certificate(o.anchorPem)
  const isCa = anchor.ca
  const ca = {
    ...common('ca', caUuid, `${o.operatorName} server ${isCa ? 'CA' : 'certificate'}`),
    // Any certificate may be an anchor of one network, but only a root may be called one.
    PayloadType: isCa && isRoot(o.anchorPem) ? ROOT_PAYLOAD : CERTIFICATE_PAYLOAD,
    PayloadContent: anchor.raw,
  }
  const identity = {
    ...common('identity', identityUuid, `${o.name} device certificate`),
    PayloadType: 'com.apple.security.pkcs12',
    PayloadCertificateFileName: 'device.p12',
    PayloadContent: o.pkcs12,
  }
  const wifi = {
    ...common('wifi', uuidOf('wifi', ...scope), o.ssid),
    PayloadType: 'com.apple.wifi.managed',
    SSID_STR: o.ssid,
    HIDDEN_NETWORK: false,
    AutoJoin: true,
    EncryptionType: 'WPA2',
    PayloadCertificateUUID: identityUuid,
    EAPClientConfiguration: {
      AcceptEAPTypes: [EAP_TLS],
      // The outer identity (RFC 9190 §2.1.8); EAP-TLS takes the real one from the certificate.
      UserName: `anonymous@${o.realm}`,
      PayloadCertificateAnchorUUID: [caUuid],
      TLSTrustedServerNames: [o.serverName],
      TLSMinimumVersion: '1.2',
      TLSMaximumVersion: '1.3',
    },
  }
  const profile = plistOf({
    PayloadContent: [ca, identity, wifi],
    PayloadDescription: `Joins ${o.ssid} and pays ${o.operatorName} as it goes.`,
    PayloadDisplayName: `${o.operatorName} (${o.name})`,
    PayloadIdentifier: root,
    PayloadOrganization: o.operatorName,
    PayloadRemovalDisallowed: false,
    PayloadType: 'Configuration',
    PayloadUUID: uuidOf('profile', ...scope),
    PayloadVersion: 1,
  })
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"
  "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
${profile}
</plist>
`
}

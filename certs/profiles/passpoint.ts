// Writes an Android/Passpoint provisioning file (`application/x-wifi-config`): a
// PerProviderSubscription tree, the operator's CA and the device's identity as one base64 multipart
// document. Android reads the .p12 in it with an empty password, so the file is as secret as the
// key: mode 0600, like key.pem.

import { X509Certificate } from 'node:crypto'
import { base64Lines, uuidOf, xmlText } from './xml.ts'

export interface PasspointInput {
  readonly operatorName: string
  /** Home domain and realm, `<slug>.datanet.invalid`. */
  readonly realm: string
  readonly certificatePem: string
  readonly caCertificatePem: string
  /** From `pkcs12` with an empty password and without the CA (Android takes exactly one entry). */
  readonly pkcs12: Buffer
}

const MANAGEMENT_OBJECT = 'urn:wfa:mo:hotspot2dot0-perprovidersubscription:1.0'

const leaf = (name: string, value: string): string =>
  `<Node><NodeName>${name}</NodeName><Value>${xmlText(value)}</Value></Node>`

const node = (name: string, ...children: readonly string[]): string =>
  `<Node>\n<NodeName>${name}</NodeName>\n${children.join('\n')}\n</Node>`

/** The PerProviderSubscription management object (Wi-Fi Alliance Hotspot 2.0) as XML. */
export function perProviderSubscription(o: Omit<PasspointInput, 'pkcs12'>): string {
  const certificate = new X509Certificate(o.certificatePem)
  const tree = node(
    'PerProviderSubscription',
    `<RTProperties><Type><DDFName>${MANAGEMENT_OBJECT}</DDFName></Type></RTProperties>`,
    node(
      'i001',
      node('HomeSP', leaf('FriendlyName', o.operatorName), leaf('FQDN', o.realm)),
      node(
        'Credential',
        leaf('Realm', o.realm),
        node(
          'DigitalCertificate',
          leaf('CertificateType', 'x509v3'),
          leaf(
            'CertSHA256Fingerprint',
            certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
          ),
        ),
      ),
    ),
  )
  return `<MgmtTree xmlns="syncml:dmddf1.2">\n<VerDTD>1.2</VerDTD>\n${tree}\n</MgmtTree>\n`
}

/** The file to serve or open as `application/x-wifi-config`. */
export function passpoint(o: PasspointInput): string {
  const boundary = `datanet-${uuidOf('passpoint', o.realm)}`
  const part = (type: string, content: Buffer): string =>
    [
      `--${boundary}`,
      `Content-Type: ${type}`,
      'Content-Transfer-Encoding: base64',
      '',
      base64Lines(content),
      '',
    ].join('\n')
  const body = [
    `Content-Type: multipart/mixed; boundary=${boundary}\nContent-Transfer-Encoding: base64\n\n`,
    part('application/x-passpoint-profile', Buffer.from(perProviderSubscription(o), 'utf8')),
    part('application/x-x509-ca-cert', new X509Certificate(o.caCertificatePem).raw),
    part('application/x-pkcs12', o.pkcs12),
    `--${boundary}--\n`,
  ]
  return `${base64Lines(Buffer.from(body.join(''), 'utf8'))}\n`
}

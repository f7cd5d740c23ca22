// Writes a Windows WLAN profile (`netsh wlan add profile`): WPA2-Enterprise with EAP-TLS by a
// certificate of the user's store, the server pinned by name and CA thumbprint. Pure; holds no key:
// the .p12 and the CA are installed by the person first.

import { X509Certificate } from 'node:crypto'
import { CertificateError } from '../der.ts'
import { xmlText } from './xml.ts'

export interface WindowsWlanInput {
  readonly ssid: string
  readonly serverName: string
  readonly caCertificatePem: string
}

const MS = 'http://www.microsoft.com'
const TLS_V1 = `${MS}/provisioning/EapTlsConnectionPropertiesV1`
const TLS_V2 = `${MS}/provisioning/EapTlsConnectionPropertiesV2`

/** SHA-1 of the CA certificate as Windows writes it: pairs of hex digits, spaces between. */
function thumbprint(pem: string): string {
  return new X509Certificate(pem).fingerprint.toLowerCase().replaceAll(':', ' ')
}

const eapTls = (
  o: WindowsWlanInput,
): string => `<Eap xmlns="${MS}/provisioning/BaseEapConnectionPropertiesV1">
  <Type>13</Type>
  <EapType xmlns="${TLS_V1}">
    <CredentialsSource>
      <CertificateStore>
        <SimpleCertSelection>true</SimpleCertSelection>
      </CertificateStore>
    </CredentialsSource>
    <ServerValidation>
      <DisableUserPromptForServerValidation>true</DisableUserPromptForServerValidation>
      <ServerNames>${xmlText(o.serverName)}</ServerNames>
      <TrustedRootCA>${thumbprint(o.caCertificatePem)}</TrustedRootCA>
    </ServerValidation>
    <DifferentUsername>false</DifferentUsername>
    <PerformServerValidation xmlns="${TLS_V2}">true</PerformServerValidation>
    <AcceptServerName xmlns="${TLS_V2}">true</AcceptServerName>
  </EapType>
</Eap>`

/** The profile as XML; throws CertificateError on an SSID outside 1 to 32 bytes. */
export function windowsWlanXml(o: WindowsWlanInput): string {
  const ssidBytes = Buffer.from(o.ssid, 'utf8')
  if (ssidBytes.length === 0 || ssidBytes.length > 32) {
    throw new CertificateError('an SSID is 1 to 32 bytes')
  }
  const name = xmlText(o.ssid)
  return `<?xml version="1.0" encoding="UTF-8"?>
<WLANProfile xmlns="${MS}/networking/WLAN/profile/v1">
<name>${name}</name>
<SSIDConfig>
  <SSID>
    <hex>${ssidBytes.toString('hex').toUpperCase()}</hex>
    <name>${name}</name>
  </SSID>
  <nonBroadcast>false</nonBroadcast>
</SSIDConfig>
<connectionType>ESS</connectionType>
<connectionMode>auto</connectionMode>
<MSM>
  <security>
    <authEncryption>
      <authentication>WPA2</authentication>
      <encryption>AES</encryption>
      <useOneX>true</useOneX>
    </authEncryption>
    <OneX xmlns="${MS}/networking/OneX/v1">
      <authMode>user</authMode>
      <EAPConfig>
        <EapHostConfig xmlns="${MS}/provisioning/EapHostConfig">
          <EapMethod>
            <Type xmlns="${MS}/provisioning/EapCommon">13</Type>
            <VendorId xmlns="${MS}/provisioning/EapCommon">0</VendorId>
            <VendorType xmlns="${MS}/provisioning/EapCommon">0</VendorType>
            <AuthorId xmlns="${MS}/provisioning/EapCommon">0</AuthorId>
          </EapMethod>
          <Config xmlns="${MS}/provisioning/EapHostConfig">
${eapTls(o)}
          </Config>
        </EapHostConfig>
      </EAPConfig>
    </OneX>
  </security>
</MSM>
</WLANProfile>
`
}

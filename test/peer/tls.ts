// The TLS half of the supplicant: node:tls as a client over an in-memory pipe, one EAP-TLS message
// in, one out. Judges the server by CA and name, by pin, or not at all; can be told to show no
// certificate. Knows nothing of EAP or RADIUS. Called by eap.ts through peer.ts.

import { createHash } from 'node:crypto'
import { Duplex } from 'node:stream'
import tls from 'node:tls'

export type TlsVersion = '1.2' | '1.3'

/**
 * What the supplicant trusts in a server: a CA with the name it certified, or one exact
 * certificate.
 */
export type ServerTrust =
  | { readonly caPem: string; readonly serverName: string }
  | { readonly pinSha256: string }

/**
 * A supplicant's TLS settings. Without certificate and key it sends none (an empty Certificate
 * message).
 */
export interface SupplicantOptions {
  readonly tlsMin: TlsVersion
  readonly tlsMax: TlsVersion
  /** OpenSSL group list, first one gets the key share: `P-256:X25519`. */
  readonly groups?: string
  readonly ciphers?: string
  readonly certificatePem?: string
  readonly keyPem?: string
  /** Absent: any server is taken (load generation only). */
  readonly trust?: ServerTrust
}

/** A supplicant ready for many conversations; the TLS context is made once. */
export interface Supplicant {
  /** `session`: what an earlier connection kept, offered for resumption. */
  open(session?: Buffer): SupplicantTls
}

/** One TLS connection of a supplicant. */
export interface SupplicantTls {
  /**
   * One whole EAP-TLS message in (empty: begin), the supplicant's next flight out (empty: nothing
   * to say).
   */
  feed(message: Buffer): Promise<Buffer>
  /** `failed` after an alert or an error, `untrusted` when the server is not the expected one. */
  status(): 'handshake' | 'established' | 'failed' | 'untrusted'
  /**
   * MSK, 64 octets, and Session-Id (0x0D, Method-Id) by RFC 5216 §2.3 or RFC 9190 §2.3; established
   * only.
   */
  keys(): { readonly msk: Buffer; readonly sessionId: Buffer }
  version(): TlsVersion | undefined
  /** The alert the server sent, where it sent one. */
  alert(): number | undefined
  /** Application data received: RFC 9190 §2.5 wants exactly one octet 0x00 before Success. */
  applicationData(): Buffer
  /** True where the server took up the session that was offered. */
  resumed(): boolean
  /**
   * What to offer next time: the last session or ticket the server gave on this connection; secret.
   * Undefined where it gave none, which after a resumption leaves the old one in place.
   */
  session(): Buffer | undefined
  close(): void
}

/**
 * Prepares a supplicant. Throws where OpenSSL refuses the certificate, the key or the group list.
 */
export function createSupplicant(options: SupplicantOptions): Supplicant {
  const { trust } = options
  const secureContext = tls.createSecureContext({
    minVersion: `TLSv${options.tlsMin}`,
    maxVersion: `TLSv${options.tlsMax}`,
    ca: trust && 'caPem' in trust ? [trust.caPem] : [],
    ...(options.groups === undefined ? {} : { ecdhCurve: options.groups }),
    ...(options.ciphers === undefined ? {} : { ciphers: options.ciphers }),
    ...(options.certificatePem === undefined ? {} : { cert: options.certificatePem }),
    ...(options.keyPem === undefined ? {} : { key: options.keyPem }),
  })
  return { open: (session) => openTls(secureContext, trust, session) }
}

// Feeding one message takes OpenSSL one synchronous run; node reports its error, and finishes a
// write, on a later turn. Two turns are what that needs, eight a margin for the first message,
// which node delays.
const TURNS = 2
const TURNS_FIRST = 8

function openTls(
  secureContext: tls.SecureContext,
  trust: ServerTrust | undefined,
  offered: Buffer | undefined,
): SupplicantTls {
  const sent: Buffer[] = []
  const data: Buffer[] = []
  const randoms: Buffer[] = []
  let status: ReturnType<SupplicantTls['status']> = 'handshake'
  let alert: number | undefined
  let session: Buffer | undefined
  const pipe = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(chunk)
      done()
    },
  })
  const socket = tls.connect({
    socket: pipe,
    secureContext,
    // The verdict is ours (trusts), after the handshake: node would only close without an alert.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(offered === undefined ? {} : { session: offered }),
  })
  // TLS 1.2: once, with the handshake. TLS 1.3: at each ticket, behind the server's Finished.
  socket.on('session', (given: Buffer) => {
    session = given
  })
  socket.on('secureConnect', () => {
    status = trusts(socket, trust) ? 'established' : 'untrusted'
  })
  socket.on('data', (chunk: Buffer) => data.push(chunk))
  socket.on('error', (error: Error) => {
    alert ??= alertNumber(error)
    status = 'failed'
  })
  return {
    async feed(message) {
      const first = message.length === 0
      if (!first && !pipe.destroyed) pipe.push(message)
      for (let i = 0; i < (first ? TURNS_FIRST : TURNS); i++) {
        if (first && sent.length > 0) break
        await new Promise(setImmediate)
      }
      const flight = Buffer.concat(sent.splice(0))
      // ClientHello and ServerHello open their records with 5 + 4 + 2 octets before the random.
      if (randoms.length === 0) randoms.push(flight.subarray(11, 43))
      else if (randoms.length === 1) randoms.push(Buffer.from(message.subarray(11, 43)))
      return flight
    },
    status: () => status,
    keys: () => exportKeys(socket, Buffer.concat(randoms)),
    version: () => (socket.getProtocol()?.slice(4) ?? undefined) as TlsVersion | undefined,
    alert: () => alert,
    applicationData: () => Buffer.concat(data),
    resumed: () => status === 'established' && socket.isSessionReused(),
    session: () => session,
    close() {
      socket.destroy()
      pipe.destroy()
    },
  }
}

function trusts(socket: tls.TLSSocket, trust: ServerTrust | undefined): boolean {
  if (trust === undefined) return true
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return false
  if ('pinSha256' in trust) {
    return createHash('sha256').update(certificate.raw).digest('hex') === trust.pinSha256
  }
  return socket.authorized && certificate.checkHost(trust.serverName) !== undefined
}

function alertNumber(error: Error): number | undefined {
  const found = /SSL alert number (\d+)/.exec(error.message)
  return found ? Number(found[1]) : undefined
}

function exportKeys(socket: tls.TLSSocket, randoms: Buffer): { msk: Buffer; sessionId: Buffer } {
  const eapType = Buffer.of(13)
  if (socket.getProtocol() === 'TLSv1.3') {
    const material = socket.exportKeyingMaterial(128, 'EXPORTER_EAP_TLS_Key_Material', eapType)
    const methodId = socket.exportKeyingMaterial(64, 'EXPORTER_EAP_TLS_Method-Id', eapType)
    return { msk: material.subarray(0, 64), sessionId: Buffer.concat([eapType, methodId]) }
  }
  // No context at all in TLS 1.2: an empty one would be another key (RFC 5705 §4). The types ask
  // for one.
  const noContext: [number, string] = [128, 'client EAP encryption']
  const material: Buffer = Reflect.apply(socket.exportKeyingMaterial, socket, noContext)
  return { msk: material.subarray(0, 64), sessionId: Buffer.concat([eapType, randoms]) }
}

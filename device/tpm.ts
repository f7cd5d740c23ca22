// A metering key in this machine's TPM 2.0, by the programs of tpm2-tools: made once and kept in
// the TPM at two persistent handles, shown to an operator in two steps, used to sign digests.
// Holds no key and no secret itself. The TPM's owner and endorsement hierarchies must have no
// password. Called by the device's program.

import { DeviceError } from './error.ts'
import { ownCertificates } from './tpm-certificates.ts'
import { type TpmTools, useTpm } from './tpm-tools.ts'

/** Which TPM, and how it is used. */
export interface TpmPlace {
  /** As `tpm2_… --tcti` takes it; `device:/dev/tpmrm0` is the kernel's. */
  readonly tcti: string
  /** Which of its endorsement keys; ECC is P-256. */
  readonly endorsement: 'rsa' | 'ecc'
  /**
   * Certificates, DER, from the endorsement key's upwards; undefined: those that the TPM itself
   * holds, or where it holds none, its endorsement key instead.
   */
  readonly ekCertificates?: readonly Buffer[]
}

/** JSON for the operator, every text base64url; of the first two there is one. */
export interface TpmFirstStep {
  readonly ekCertificates?: readonly string[]
  readonly ekPublic?: string
  readonly akPublic: string
}
export interface TpmSecondStep {
  readonly secret: string
  readonly meteringPublic: string
  readonly certify: TpmSigned
  readonly quote?: TpmSigned
}
export interface TpmSigned {
  readonly attest: string
  readonly signature: string
}

export interface DeviceTpm {
  /** 65 octets, uncompressed P-256. */
  readonly meteringKey: Buffer
  firstStep(): Promise<TpmFirstStep>
  /**
   * `credential` is the operator's answer; `challenge` has 32 octets. With `registers`, a quote of
   * these of the SHA-256 bank. Throws DeviceError 'unavailable' where the credential is not for
   * this TPM and its attestation key.
   */
  secondStep(
    credential: { readonly idObject: string; readonly encryptedSecret: string },
    challenge: Buffer,
    registers?: readonly number[],
  ): Promise<TpmSecondStep>
  /** r ‖ s, 64 octets, of a 32-octet digest. */
  sign(digest: Buffer): Promise<Buffer>
}

// Within the owner's persistent range, 0x81000000 to 0x817fffff (TCG Registry of Reserved TPM 2.0
// Handles), away from its beginning, where other programs keep their storage keys.
const AK = 0x8100da7a
const METERING = 0x8100da7b
// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign; and restricted.
const METERING_ATTRIBUTES = 0x00040072
const AK_ATTRIBUTES = 0x00050072
const METERING_WORDS = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'

const hex = (handle: number) => `0x${handle.toString(16)}`
const text = (octets: Buffer) => octets.toString('base64url')

function sized(octets: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(octets.length)
  return Buffer.concat([length, octets])
}

/** The public area at a handle (TPM2B_PUBLIC), undefined where there is nothing. */
async function publicAt(tools: TpmTools, handle: number): Promise<Buffer | undefined> {
  const file = tools.path('public')
  const isThere = await tools.works('readpublic', '-c', hex(handle), '-f', 'tss', '-o', file)
  return isThere ? tools.read('public') : undefined
}

/** Attributes stand behind length, type and nameAlg (TPM 2.0 Part 2 §12.2.4). */
function mustBeOurs(area: Buffer, handle: number, attributes: number): Buffer {
  if (area.length >= 10 && area.readUInt32BE(6) === attributes) return area
  const problem = `the TPM's handle ${hex(handle)} holds a key of another program`
  throw new DeviceError('exists', problem)
}

async function makeEndorsement(
  tools: TpmTools,
  kind: 'rsa' | 'ecc',
  ...more: string[]
): Promise<string> {
  const ek = tools.path('ek')
  await tools.run('createek', '-G', kind, '-c', ek, ...more)
  // A TPM without a resource manager keeps what a tool has loaded, and has room for three.
  await tools.run('flushcontext', '-t')
  return ek
}

async function makeAttestationKey(tools: TpmTools, kind: 'rsa' | 'ecc'): Promise<void> {
  const ek = await makeEndorsement(tools, kind)
  const ak = tools.path('ak')
  const algorithms = ['-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa']
  await tools.run('createak', '-C', ek, '-c', ak, ...algorithms)
  await tools.run('evictcontrol', '-C', 'o', '-c', ak, hex(AK))
  await tools.run('flushcontext', '-t')
}

async function makeMeteringKey(tools: TpmTools): Promise<void> {
  const [parent, key] = [tools.path('parent'), tools.path('metering')]
  await tools.run('createprimary', '-C', 'o', '-G', 'ecc', '-g', 'sha256', '-c', parent)
  await tools.run('flushcontext', '-t')
  const kind = ['-G', 'ecc256:ecdsa-sha256', '-g', 'sha256', '-a', METERING_WORDS]
  const files = ['-u', tools.path('metering.pub'), '-r', tools.path('metering.priv')]
  await tools.run('create', '-C', parent, ...kind, ...files, '-c', key)
  await tools.run('evictcontrol', '-C', 'o', '-c', key, hex(METERING))
  await tools.run('flushcontext', '-t')
}

async function keyAt(
  tools: TpmTools,
  o: { handle: number; attributes: number; make: () => Promise<void> },
): Promise<Buffer> {
  const there = await publicAt(tools, o.handle)
  if (there !== undefined) return mustBeOurs(there, o.handle, o.attributes)
  await o.make()
  const made = await publicAt(tools, o.handle)
  if (made === undefined) throw new DeviceError('unavailable', 'the TPM has not kept its new key')
  return mustBeOurs(made, o.handle, o.attributes)
}

/** What shows whose TPM it is: certificates where it holds them, else the endorsement key. */
async function endorsementOf(tools: TpmTools, { endorsement, ekCertificates }: TpmPlace) {
  const ders = ekCertificates ?? (await ownCertificates(tools, endorsement))
  if (ders !== undefined) return { ekCertificates: ders.map(text) }
  await makeEndorsement(tools, endorsement, '-u', tools.path('ek.pub'), '-f', 'tss')
  return { ekPublic: text(await tools.read('ek.pub')) }
}

/** TPM2_ActivateCredential; the key's policy asks for its hierarchy's password, which is empty. */
async function activate(
  tools: TpmTools,
  kind: 'rsa' | 'ecc',
  credential: { readonly idObject: string; readonly encryptedSecret: string },
): Promise<Buffer> {
  const ek = await makeEndorsement(tools, kind)
  // The tool's file: a magic number, version 1, then the two structures.
  const head = Buffer.from('badcc0de00000001', 'hex')
  const parts = [credential.idObject, credential.encryptedSecret]
  const octets = parts.map((part) => Buffer.from(part, 'base64url'))
  const input = await tools.write('credential', Buffer.concat([head, ...octets]))
  const [session, opened] = [tools.path('session'), tools.path('opened')]
  await tools.run('startauthsession', '--policy-session', '-S', session)
  try {
    await tools.run('policysecret', '-S', session, '-c', 'e')
    const keys = ['-c', hex(AK), '-C', ek, '-P', `session:${session}`]
    await tools.run('activatecredential', ...keys, '-i', input, '-o', opened)
  } finally {
    await tools.works('flushcontext', session)
    await tools.works('flushcontext', '-t')
  }
  return tools.read('opened')
}

function word(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(value)
  return octets
}

/** TPM2_Certify (Part 3 §18.2), both keys by the empty password (Part 1 §19.4). */
function certifyCommand(challenge: Buffer): Buffer {
  const password = Buffer.concat([word(0x40000009), Buffer.alloc(2 + 1 + 2)])
  const authorizations = Buffer.concat([password, password])
  const rest = Buffer.concat([
    word(0x00000148),
    word(METERING),
    word(AK),
    word(authorizations.length),
    authorizations,
    sized(challenge),
    // The key's own scheme: TPM_ALG_NULL here.
    Buffer.of(0x00, 0x10),
  ])
  return Buffer.concat([Buffer.of(0x80, 0x02), word(6 + rest.length), rest])
}

/**
 * tpm2_certify has no way to say what is to be qualified (tpm2-tools issue 3489: fixed octets), so
 * the command is made here and sent as it is.
 */
async function certify(tools: TpmTools, challenge: Buffer): Promise<TpmSigned> {
  const command = await tools.write('command', certifyCommand(challenge))
  await tools.run('send', '-o', tools.path('response'), command)
  const response = await tools.read('response')
  // Tag, length, response code; where that is 0, the length of the parameters and they.
  const code = response.length >= 10 ? response.readUInt32BE(6) : -1
  if (code !== 0 || response.length < 14) {
    throw new DeviceError('unavailable', `TPM2_Certify failed: ${hex(code >>> 0)}`)
  }
  const parameters = response.subarray(14, 14 + response.readUInt32BE(10))
  const end = 2 + parameters.readUInt16BE(0)
  return { attest: text(parameters.subarray(2, end)), signature: text(parameters.subarray(end)) }
}

async function quote(
  tools: TpmTools,
  challenge: Buffer,
  registers: readonly number[],
): Promise<TpmSigned> {
  const what = ['-l', `sha256:${registers.join(',')}`, '-q', challenge.toString('hex')]
  const files = ['-m', tools.path('quote'), '-s', tools.path('signature'), '-f', 'tss']
  await tools.run('quote', '-c', hex(AK), '-g', 'sha256', ...what, ...files)
  return {
    attest: text(await tools.read('quote')),
    signature: text(await tools.read('signature')),
  }
}

/** r ‖ s of a TPMT_SIGNATURE: algorithm, hash, then two numbers with their lengths. */
function numbersOf(signature: Buffer): Buffer {
  const rEnd = signature.length < 6 ? 0 : 6 + signature.readUInt16BE(4)
  const r = signature.subarray(6, rEnd)
  const s = signature.subarray(rEnd + 2)
  if (r.length === 0 || r.length > 32 || s.length === 0 || s.length > 32) {
    throw new DeviceError('unavailable', 'the TPM made no P-256 signature')
  }
  const numbers = Buffer.alloc(64)
  r.copy(numbers, 32 - r.length)
  s.copy(numbers, 64 - s.length)
  return numbers
}

async function signDigest(tools: TpmTools, digest: Buffer): Promise<Buffer> {
  const input = await tools.write('digest', digest)
  const output = ['-f', 'tss', '-o', tools.path('signed')]
  await tools.run('sign', '-c', hex(METERING), '-g', 'sha256', '-d', ...output, input)
  return numbersOf(await tools.read('signed'))
}

/** The key whose public area it is; the area of a P-256 key ends in x and y, each with a length. */
function keyIn(area: Buffer, use: TpmUse): Pick<DeviceTpm, 'meteringKey' | 'sign'> {
  const [x, y] = [area.subarray(-66, -34), area.subarray(-32)]
  return {
    meteringKey: Buffer.concat([Buffer.of(4), x, y]),
    async sign(digest) {
      must32(digest, 'digest')
      return use((tools) => signDigest(tools, digest))
    },
  }
}

type TpmUse = <T>(work: (tools: TpmTools) => Promise<T>) => Promise<T>

/**
 * The metering key in a TPM where one was made, without making any; undefined where there is none.
 * Throws as openTpm.
 */
export async function findMeteringKey(
  tcti: string,
): Promise<Pick<DeviceTpm, 'meteringKey' | 'sign'> | undefined> {
  const use: TpmUse = (work) => useTpm(tcti, work)
  const area = await use((tools) => publicAt(tools, METERING))
  if (area === undefined) return undefined
  return keyIn(mustBeOurs(area, METERING, METERING_ATTRIBUTES), use)
}

const must32 = (octets: Buffer, what: string): void => {
  if (octets.length !== 32) throw new RangeError(`a ${what} has 32 octets`)
}

/**
 * The TPM at `place` with its attestation key and its metering key, which are made where they are
 * not there yet. Throws DeviceError 'unavailable' where there is no TPM or no tpm2-tools, 'exists'
 * where another program keeps its keys at our handles.
 */
export async function openTpm(place: TpmPlace): Promise<DeviceTpm> {
  const { tcti, endorsement } = place
  // One after the other: a TPM without a resource manager talks to one program at a time.
  let last: Promise<unknown> = Promise.resolve()
  const use: TpmUse = (work) => {
    const done = last.then(() => useTpm(tcti, work))
    last = done.catch(() => undefined)
    return done
  }
  const [ak, metering] = await use(async (tools) => {
    const makeAk = () => makeAttestationKey(tools, endorsement)
    const makeMetering = () => makeMeteringKey(tools)
    const a = await keyAt(tools, { handle: AK, attributes: AK_ATTRIBUTES, make: makeAk })
    const o = { handle: METERING, attributes: METERING_ATTRIBUTES, make: makeMetering }
    return [a, await keyAt(tools, o)] as const
  })
  return {
    ...keyIn(metering, use),
    async firstStep() {
      return { ...(await use((tools) => endorsementOf(tools, place))), akPublic: text(ak) }
    },
    async secondStep(credential, challenge, registers) {
      must32(challenge, 'challenge')
      return use(async (tools) => {
        const secret = text(await activate(tools, endorsement, credential))
        const certified = await certify(tools, challenge)
        const made = { secret, meteringPublic: text(metering), certify: certified }
        if (registers === undefined) return made
        return { ...made, quote: await quote(tools, challenge, registers) }
      })
    },
  }
}

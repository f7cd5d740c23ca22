// What a new DIR holds, for each kind of key, read back with the server's own certificate reader.

import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import t from 'tap'
import { identityDomain, isRefused, readIdentity } from '../../certs/identity.ts'
import { openChain, readChain } from '../../device/chain.ts'
import { type Enrolment, enrolDevice, newAccountKey } from '../../device/enrol.ts'
import { openAccount } from '../../device/keystore.ts'
import { askOperator, proveOperator } from '../../device/operator.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { bytesOf, startDouble } from '../device/operator-double.ts'

const nowSeconds = Math.floor(Date.now() / 1000)
let base: Enrolment
t.before(async () => {
  const { url } = await startDouble(t)
  const answer = await askOperator(url)
  const chain = readChain(openChain(answer.rpc).rpc, answer.contract)
  base = {
    name: 'alice',
    kind: 'bound',
    operator: await proveOperator(url, answer, chain, nowSeconds),
    directory: '/home/a b/alice',
    accountKey: bytesOf('account'),
    password: 'pass',
    nowSeconds,
    random: (length) => bytesOf('random', length),
    scryptCost: 1024,
  }
})

const namesOf = (files: readonly { name: string }[]): string[] =>
  files.map(({ name }) => name).sort()

async function enrol(more: Partial<Enrolment>) {
  const enrolled = await enrolDevice({ ...base, ...more })
  const file = (name: string): string => {
    const found = enrolled.files.find((one) => one.name === name)
    if (found === undefined) throw new Error(`${name} is not written`)
    return found.content.toString()
  }
  const certificate = new X509Certificate(file('cert.pem'))
  const { chainId, contract } = base.operator
  const identity = readIdentity(certificate.raw, identityDomain(BigInt(chainId), contract))
  if (isRefused(identity)) throw new Error(identity.refusal)
  return { ...enrolled, file, certificate, identity }
}

t.test('a bound device: its files, its certificate, its keystore', async (t) => {
  const { files, file, identity, certificate, device } = await enrol({})
  t.same(namesOf(files), [
    '.gitignore',
    'alice-passpoint.config',
    'alice-windows.xml',
    'alice.mobileconfig',
    'alice.p12',
    'cert.pem',
    'device.json',
    'key.pem',
    'operator-ca.pem',
    'wallet.json',
    'wpa_supplicant.conf',
  ])
  t.equal(identity.kind, 'bound')
  t.equal(identity.account, accountOf(base.accountKey))
  t.equal(identity.notBefore, nowSeconds - 600)
  t.equal(identity.notAfter - identity.notBefore, 30 * 86_400)
  t.ok(certificate.checkPrivateKey(createPrivateKey(file('key.pem'))))
  t.same(await openAccount(file('wallet.json'), 'pass'), base.accountKey)
  t.equal(device.privateKey, 'key.pem')
  t.match(file('wpa_supplicant.conf'), 'ca_cert="/home/a b/alice/operator-ca.pem"')
  t.match(file('wpa_supplicant.conf'), 'domain_match="radius.corner-wi-fi.datanet.invalid"')
  t.notMatch(file('wpa_supplicant.conf'), 'ssid=')
  for (const { name, content } of files) {
    t.notMatch(
      Buffer.from(content as string).toString('utf8'),
      base.accountKey.toString('hex'),
      `${name} holds no account key`,
    )
  }
})

t.test('the same wallet and name give the same TLS key', async (t) => {
  const first = await enrol({})
  t.equal((await enrol({ nowSeconds: nowSeconds + 5 })).file('key.pem'), first.file('key.pem'))
  t.not((await enrol({ name: 'bob' })).file('key.pem'), first.file('key.pem'))
})

t.test('a direct device: the account key is the TLS key, and no file for phones', async (t) => {
  const { files, identity, file } = await enrol({ kind: 'direct' })
  t.same(namesOf(files), [
    '.gitignore',
    'alice-windows.xml',
    'cert.pem',
    'device.json',
    'key.pem',
    'openssl.cnf',
    'operator-ca.pem',
    'wallet.json',
    'wpa_supplicant.conf',
  ])
  t.equal(identity.kind, 'direct')
  t.equal(identity.account, accountOf(base.accountKey))
  t.match(file('wpa_supplicant.conf'), 'tls_disable_tlsv1_3=1')
})

t.test('a key that lives elsewhere is bound, never copied', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const held = await enrol({ key: { path: '/etc/keys/tls.pem', pem: privatePem } })
  t.ok(held.certificate.checkPrivateKey(privateKey))
  t.match(held.file('wpa_supplicant.conf'), 'private_key="/etc/keys/tls.pem"')
  const away = await enrol({ key: { path: '/etc/keys/public.pem', pem: publicPem } })
  t.ok(away.certificate.checkPrivateKey(privateKey))
  t.match(away.file('wpa_supplicant.conf'), 'private_key="/home/a b/alice/key.pem"')
  for (const { files } of [held, away]) {
    t.notOk(files.some(({ name }) => /key\.pem|p12|mobileconfig|passpoint/.test(name)))
    t.notOk(files.some(({ content }) => content.toString().includes('PRIVATE KEY')))
  }
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const wrong = [p384.export({ type: 'spki', format: 'pem' }).toString(), 'x', '']
  for (const pem of wrong) {
    const message = /k\.pem is not a P-256 private key/
    await t.rejects(enrol({ key: { path: '/k.pem', pem } }), { code: 'usage', message })
  }
})

t.test('the network of the profiles', async (t) => {
  t.equal((await enrol({})).ssid, 'Corner Wi-Fi')
  const named = await enrol({ ssid: 'Lobby' })
  t.match(named.file('wpa_supplicant.conf'), 'ssid="Lobby"')
  t.match(named.file('alice-windows.xml'), '<name>Lobby</name>')
  await t.rejects(enrol({ ssid: 'é'.repeat(17) }), { code: 'usage', message: /at most 32 bytes/ })
  const operator = { ...base.operator, name: 'é'.repeat(20) }
  t.equal((await enrol({ operator })).ssid, 'é'.repeat(16), 'never half a character')
})

t.test('a server certificate without a root: each file pins it, or is left out', async (t) => {
  const [leafPem] = base.operator.certificates
  const operator = { ...base.operator, certificates: [leafPem] as [string] }
  const { file, files, leftOut } = await enrol({ operator })
  t.same(namesOf(files), [
    '.gitignore',
    'alice.mobileconfig',
    'alice.p12',
    'cert.pem',
    'device.json',
    'key.pem',
    'wallet.json',
    'wpa_supplicant.conf',
  ])
  const leaf = new X509Certificate(leafPem)
  const sha256 = leaf.fingerprint256.replaceAll(':', '').toLowerCase()
  t.match(file('wpa_supplicant.conf'), `\tca_cert="hash://server/sha256/${sha256}"\n`)
  t.notMatch(file('wpa_supplicant.conf'), 'domain_match')
  t.match(leftOut ?? '', /Windows and Android get no profile/)
  t.match(file('alice.mobileconfig'), '<string>com.apple.security.pkcs1</string>')
  t.notMatch(file('alice.mobileconfig'), 'com.apple.security.root')
  const [anchor] = /<data>([^<]+)<\/data>/.exec(file('alice.mobileconfig'))?.slice(1) ?? []
  t.same(Buffer.from(anchor ?? '', 'base64'), leaf.raw)
  const withRoot = await enrol({})
  t.equal(withRoot.leftOut, undefined)
  t.match(withRoot.file('alice.mobileconfig'), '<string>com.apple.security.root</string>')
})

t.test('an account key is drawn again until it is one', async (t) => {
  const draws = [Buffer.alloc(32), Buffer.alloc(32, 0xff), bytesOf('good')]
  const random = (): Buffer => draws.shift() ?? Buffer.alloc(32, 1)
  t.same(newAccountKey(random), bytesOf('good'))
})

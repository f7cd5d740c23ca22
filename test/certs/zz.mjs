import { createHash, randomBytes, X509Certificate, createPublicKey, createPrivateKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { deriveDeviceKey, makeBoundCertificate, makeDirectCertificate } from '../../certs/device.ts'
import { identityDomain, identityReader, readIdentity } from '../../certs/identity.ts'
import { makeOperatorCertificates, verifyServerCertificate, spkiSha256Of, renewOperatorCertificate, slugOf } from '../../certs/operator.ts'
const accountKey = createHash('sha256').update('a').digest()
const contract = '0x5fbdb2315678afecb367f032d93f642f64180aa3'
const now = 1790000000
const key = deriveDeviceKey({accountKey, chainId: 31337n, contract, name:'alice'})
const publicKey = createPublicKey(createPrivateKey(key)).export({type:'spki',format:'pem'})
const make=()=> makeBoundCertificate({accountKey, chainId:31337n, contract, name:'alice', publicKey, signingKeyPem:key, notBefore: now-600, notAfter: now+30*86400, serial: randomBytes(16)})
const pem = make()
const elsewhere = makeBoundCertificate({accountKey, chainId:31337n, contract, name:'alice', publicKey, notBefore: now-600, notAfter: now+30*86400, serial: randomBytes(16)})
const der = new X509Certificate(pem).raw
const d = identityDomain(31337n, contract)
console.log(der.length, readIdentity(der,d))
const direct = makeDirectCertificate({accountKey, name:'k1', notBefore: now-600, notAfter: now+86400, serial: randomBytes(16)})
console.log(readIdentity(new X509Certificate(direct.certificatePem).raw, d))
const op = makeOperatorCertificates({operatorName:'Corner Wi-Fi', nowSeconds: now, random: randomBytes})
console.log(op.serverName, verifyServerCertificate({leafPem: op.certificatePem, caPem: op.caCertificatePem, serverName: op.serverName, nowSeconds: now}), slugOf('咖啡'), slugOf('Café '+'x'.repeat(60)))
const re=renewOperatorCertificate({...op, nowSeconds: now+1e7, random: randomBytes})
console.log(spkiSha256Of(re)===spkiSha256Of(op.certificatePem))
for (const [n,c] of [['bound',pem],['elsewhere',elsewhere],['direct',direct.certificatePem],['ca',op.caCertificatePem],['leaf',op.certificatePem],['re',re]]) writeFileSync('/tmp/certsx/'+n+'.pem',c)
const ders=[];for(let i=0;i<300;i++)ders.push(new X509Certificate(make()).raw)
for (const x of ders) readIdentity(x,d)
let t0=performance.now(); for (const x of ders) readIdentity(x,d); console.log('cold us',(performance.now()-t0)/ders.length*1000)
const r=identityReader(d,4096); for (const x of ders) r(x); 
for(let k=0;k<20;k++)for (const x of ders) r(x)
t0=performance.now(); for(let k=0;k<100;k++)for (const x of ders) r(x); console.log('cached us',(performance.now()-t0)/ders.length*10)
const {readCertificate}=await import('../../certs/x509.ts')
t0=performance.now(); for(let k=0;k<10;k++)for (const x of ders) readCertificate(x); console.log('parse us',(performance.now()-t0)/ders.length*100)

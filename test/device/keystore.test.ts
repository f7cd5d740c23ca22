// The encrypted keystore: opens with its password and no other. Cheap scrypt, to stay fast.

import t from 'tap'
import { openAccount, sealAccount } from '../../device/keystore.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { bytesOf } from './operator-double.ts'

const accountKey = bytesOf('account')
const CHEAP = 1024

t.test('what is sealed opens with the same password, and only that', async (t) => {
  const keystore = await sealAccount(accountKey, 'correct horse', CHEAP)
  t.same(await openAccount(keystore, 'correct horse'), accountKey)
  t.equal(`0x${JSON.parse(keystore).address}`, accountOf(accountKey))
  t.notMatch(keystore, accountKey.toString('hex'))
  for (const wrong of ['', 'Correct horse', 'correct horse ']) {
    await t.rejects(openAccount(keystore, wrong), { code: 'permission', message: /wrong password/ })
  }
})

t.test('one password in two Unicode spellings is one password', async (t) => {
  const keystore = await sealAccount(accountKey, 'Zo\u00eb', CHEAP)
  t.same(await openAccount(keystore, 'Zoe\u0308'), accountKey)
})

t.test('an empty password is refused', async (t) => {
  await t.rejects(sealAccount(accountKey, '', CHEAP), { code: 'permission' })
})

t.test('what is no keystore is called damaged', async (t) => {
  const good = await sealAccount(accountKey, 'p', CHEAP)
  const broken = JSON.stringify({ ...JSON.parse(good), Crypto: { kdf: 'none' } })
  for (const text of ['', '{}', 'null', 'secret', broken]) {
    await t.rejects(openAccount(text, 'p'), { code: 'damaged' }, JSON.stringify(text.slice(0, 20)))
  }
})

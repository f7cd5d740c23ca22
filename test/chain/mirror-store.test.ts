// The mirror's tables in SQLite: what was saved is what is loaded, for the same chain and contract
// only.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import type { Change } from '../../chain/mirror-state.ts'
import { openMirrorStore } from '../../chain/mirror-store.ts'
import { account, CONTRACT } from './fakechain.ts'

const directory = mkdtempSync(join(tmpdir(), 'datanet-store-'))
t.teardown(() => rmSync(directory, { recursive: true }))
const path = join(directory, 'datanet.sqlite')
const identity = { chainId: 31_337n, contract: CONTRACT, deployBlock: 2, deployHash: '0x22' }
const largest = 2n ** 96n - 1n
const channel: Change = {
  kind: 'channel',
  operatorId: 1,
  account: account(1),
  value: {
    ...{ deposit: largest, reserved: 1n, highestVoucher: 2n, withdrawn: 3n },
    pendingShift: 4n,
  },
}
const operator: Change = {
  kind: 'operator',
  operatorId: 1,
  value: {
    account: account(9),
    serverSpkiSha256: 'ab',
    nextServerSpkiSha256: 'cd',
    spkiChangesAt: 5,
    active: true,
    metadataUri: 'http://a',
  },
}
const deviceKey: Change = {
  kind: 'device-key',
  account: account(1),
  spkiSha256: 'ef',
  value: 'disabled',
}

t.test('saved entries come back after a reopening, removed ones do not', (t) => {
  const first = openMirrorStore(path)
  t.equal(first.load(identity), undefined)
  first.replace(identity, { number: 3, hash: '0x3' }, [channel])
  first.save({ number: 4, hash: '0x4' }, [operator, deviceKey])
  first.close()
  const second = openMirrorStore(path)
  t.strictSame(second.load(identity)?.head, { number: 4, hash: '0x4' })
  t.strictSame([...(second.load(identity)?.entries ?? [])], [channel, deviceKey, operator])
  second.save({ number: 5, hash: '0x5' }, [{ ...channel, value: undefined }])
  t.strictSame([...(second.load(identity)?.entries ?? [])], [deviceKey, operator])
  second.replace(identity, undefined, [channel])
  t.equal(second.load(identity), undefined, 'no head: nothing to resume from')
  second.replace(identity, { number: 5, hash: '0x5' }, [channel])
  t.strictSame([...(second.load(identity)?.entries ?? [])], [channel])
  second.close()
  t.end()
})

t.test('another chain, contract or deployment has nothing stored', (t) => {
  const store = openMirrorStore(path)
  store.replace(identity, { number: 5, hash: '0x5' }, [channel])
  const others = [
    { ...identity, chainId: 1n },
    { ...identity, contract: account(5) },
    { ...identity, deployBlock: 3 },
    { ...identity, deployHash: '0x23' },
  ]
  for (const other of others) t.equal(store.load(other), undefined)
  t.ok(store.load(identity))
  store.close()
  t.end()
})

t.test('rows of an older layout are not taken for ours: the chain is read again', (t) => {
  const store = openMirrorStore(path)
  store.replace(identity, { number: 5, hash: '0x5' }, [channel])
  store.close()
  const database = new DatabaseSync(path)
  database.exec("UPDATE mirror_head SET identity = '1' || substr(identity, 2)")
  database.close()
  const again = openMirrorStore(path)
  t.equal(again.load(identity), undefined)
  again.close()
  t.end()
})

t.test('a failed save changes nothing and leaves the store usable', (t) => {
  const store = openMirrorStore(path)
  store.replace(identity, { number: 5, hash: '0x5' }, [channel])
  function* failing(): Generator<Change> {
    yield deviceKey
    throw new Error('no space left on device')
  }
  t.throws(() => store.save({ number: 6, hash: '0x6' }, failing()))
  t.equal(store.load(identity)?.head.number, 5)
  t.strictSame([...(store.load(identity)?.entries ?? [])], [channel])
  store.save({ number: 6, hash: '0x6' }, [deviceKey])
  t.equal(store.load(identity)?.head.number, 6)
  store.close()
  t.end()
})

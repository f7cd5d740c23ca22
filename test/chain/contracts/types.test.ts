// The signed types of the contract, read from its source: each type string is the one that wallets,
// servers and agents hash, and names the fields of its struct in their order with their types.

import { readFileSync } from 'node:fs'
import t from 'tap'

const TYPES = [
  'Voucher(address consumer,uint32 operator,uint96 amount)',
  'Block(uint32 operator,uint64 k,uint64 period,bytes32 prevRoot,bytes32 root,uint64 tau)',
  'MerchantApproval(uint32 operator,address account,bytes32 pkHash,uint64 validUntil)',
  'ShiftRequest(address consumer,uint32 from,uint32 to,uint96 amount,uint256 nonce,' +
    'uint64 deadline)',
  'DeviceKey(address consumer,bytes32 spkiHash,bool enabled,uint256 nonce,uint64 deadline)',
  'Activity(address consumer,uint32 operator,uint64 start,uint64 end,uint64 bytesUp,' +
    'uint64 bytesDown,uint32 sessions,uint96 paid,uint8 verifier,bytes32 evidenceHash,' +
    'uint256 nonce)',
]

const path = new URL('../../../chain/contracts/Types.sol', import.meta.url)
const source = readFileSync(path, 'utf8')
/** Solidity joins neighbouring literals; formatting puts long ones on lines of their own. */
const joined = source.replaceAll(/"\s+"/g, '').replaceAll(/\(\s+"/g, '("')

/** `Name(type field,…)` of a struct as it is declared. */
function typeOfStruct(name: string): string | undefined {
  const body = new RegExp(`struct ${name} \\{([^}]*)\\}`).exec(source)?.[1]
  const fields = body?.matchAll(/^\s+(\w+ \w+);$/gm)
  return fields && `${name}(${[...fields].map((field) => field[1]).join(',')})`
}

t.test('EIP-712: every type has its hash and its struct', async (t) => {
  for (const type of TYPES) {
    const name = type.slice(0, type.indexOf('('))
    t.ok(joined.includes(`keccak256("${type}"`), `${name} is hashed`)
    t.equal(typeOfStruct(name), type, `${name} is declared`)
  }
})

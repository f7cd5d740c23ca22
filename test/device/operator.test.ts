// An operator's answer against its registry entry: the honest one passes, each liar is refused by
// name.

import t from 'tap'
import { openChain, readChain } from '../../device/chain.ts'
import { DeviceError } from '../../device/error.ts'
import { askOperator, proveOperator, readOperatorAnswer } from '../../device/operator.ts'
import {
  CONTRACT,
  certificatesOf,
  genuine,
  goodAnswer,
  type Lies,
  OPERATOR_ACCOUNT,
  startDouble,
} from './operator-double.ts'

const now = Math.floor(Date.now() / 1000)

async function prove(url: string, nowSeconds = now) {
  const answer = await askOperator(url)
  const { rpc } = openChain(answer.rpc)
  return proveOperator(url, answer, readChain(rpc, answer.contract), nowSeconds)
}

t.test('an honest operator is proven, addresses come out lowercase', async (t) => {
  const double = await startDouble(t)
  const operator = await prove(double.url)
  t.equal(operator.url, double.url)
  t.equal(operator.contract, CONTRACT)
  t.equal(operator.certificates[1], genuine.caCertificatePem)
})

t.test('an operator that runs a newer server with more to say is taken', async (t) => {
  const double = await startDouble(t, { answer: { blsKey: '0x00', tariffs: 'other' } })
  t.equal((await prove(double.url)).operatorId, 1)
})

t.test('a server certificate without a CA is taken for its key', async (t) => {
  const double = await startDouble(t, { answer: { certificates: [genuine.certificatePem] } })
  t.same((await prove(double.url)).certificates, [genuine.certificatePem])
  double.lies = { ...double.lies, serverKey: '00'.repeat(32) }
  await t.rejects(prove(double.url), { code: 'refused', message: /not the one in the contract/ })
})

const other = certificatesOf('somebody else')
const lies: [string, Lies, RegExp][] = [
  [
    'a leaf with another key',
    { answer: { certificates: [other.certificatePem, other.caCertificatePem] } },
    /certificate has another key than it says/,
  ],
  [
    'another operator altogether, whose key is not in the contract',
    {
      answer: {
        certificates: [other.certificatePem, other.caCertificatePem],
        serverSpkiSha256: other.spkiSha256,
      },
    },
    /not the one in the contract/,
  ],
  [
    'a key the contract does not know',
    { serverKey: '00'.repeat(32) },
    /not the one in the contract/,
  ],
  [
    'another CA',
    { answer: { certificates: [genuine.certificatePem, other.caCertificatePem] } },
    /not signed by the CA/,
  ],
  [
    'a CA that is not over its intermediate',
    {
      answer: {
        certificates: [genuine.certificatePem, other.caCertificatePem, genuine.caCertificatePem],
      },
    },
    /intermediate certificate 1 is not signed by the CA/,
  ],
  [
    'another server name',
    { answer: { serverName: 'radius.b.invalid' } },
    /not for radius\.b\.invalid/,
  ],
  [
    'a contract that is none',
    { answer: { contract: `0x${'11'.repeat(20)}` } },
    /knows no operator 1/,
  ],
  ['an id that is not registered', { registered: 'unknown' }, /knows no operator 1/],
  ['another account', { registered: { account: CONTRACT } }, /not the registered one/],
  ['an operator that has retired', { registered: { active: false } }, /has retired/],
  ['another token', { tokenOnChain: OPERATOR_ACCOUNT }, /holds another token/],
  ['another chain', { chainId: 1 }, /its chain is 31337, the node at .* has 1/],
]

for (const [what, lie, message] of lies) {
  t.test(`refused: ${what}`, async (t) => {
    const double = await startDouble(t, lie)
    await t.rejects(prove(double.url), { name: 'DeviceError', code: 'refused', message })
  })
}

t.test('refused: a server certificate past its time', async (t) => {
  const double = await startDouble(t)
  await t.rejects(prove(double.url, now + 3000 * 86_400), {
    code: 'refused',
    message: /has expired/,
  })
})

t.test('every field of the answer is held to its form', async (t) => {
  const url = 'http://127.0.0.1:8080'
  const { token, ...rest } = goodAnswer(url)
  t.ok(readOperatorAnswer({ ...rest, token }))
  const wrong: [string, unknown][] = [
    ['name', ''],
    ['name', 'a\u001b[2Jb'],
    ['name', 'x'.repeat(129)],
    ['operatorId', 0],
    ['operatorId', '1'],
    ['operatorId', 2 ** 32],
    ['account', '0x12'],
    ['contract', null],
    ['chainId', 1.5],
    ['chainId', -1],
    ['rpc', 'file:///etc/passwd'],
    ['rpc', 'not a url'],
    ['token', { ...token, decimals: 37 }],
    ['token', { ...token, decimals: '18' }],
    ['token', { ...token, symbol: 'D\nT' }],
    ['radius', { auth: 0, accounting: 1813 }],
    ['serverSpkiSha256', genuine.spkiSha256.toUpperCase()],
    ['serverName', 'radius.x.invalid"\n\tca_cert="/evil'],
    ['certificates', []],
    ['certificates', Array(7).fill(genuine.certificatePem)],
    ['certificates', [genuine.certificatePem, '']],
    [
      'certificates',
      [`${genuine.certificatePem}${genuine.certificatePem}`, genuine.caCertificatePem],
    ],
  ]
  for (const [field, value] of wrong) {
    const message = new RegExp(`no Datanet operator: ${field}`)
    t.throws(() => readOperatorAnswer({ ...rest, token, [field]: value }), {
      code: 'refused',
      message,
    })
  }
  for (const field of Object.keys(goodAnswer(url)).filter((name) => name !== 'tariffs')) {
    const { [field]: _gone, ...without } = goodAnswer(url) as Record<string, unknown>
    t.throws(() => readOperatorAnswer(without), { code: 'refused' }, `without ${field}`)
  }
  for (const body of [null, [], 'text', 7]) {
    t.throws(() => readOperatorAnswer(body), DeviceError)
  }
})

t.test('no operator: the exact words, and what other answers lead to', async (t) => {
  await t.rejects(askOperator('http://127.0.0.1:1'), {
    code: 'unavailable',
    message:
      'no operator answers at http://127.0.0.1:1; start one with `npm start` or name one with --operator',
  })
  const double = await startDouble(t)
  for (const [status, code] of [
    [404, 'refused'],
    [503, 'unavailable'],
  ] as const) {
    double.lies = { status }
    await t.rejects(askOperator(double.url), { code, message: new RegExp(`status ${status}`) })
  }
  double.lies = { answer: '<html>' }
  await t.rejects(askOperator(double.url), { code: 'refused', message: /something else than JSON/ })
  double.lies = { answer: `"${'x'.repeat(300_000)}"` }
  await t.rejects(askOperator(double.url), { code: 'refused', message: /more than 262144 bytes/ })
})

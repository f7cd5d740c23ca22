import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { openRequest, sealReply } from '../../radius/authenticator.ts'
import { splitEapMessage } from '../../radius/eap-message.ts'
import { RadiusError } from '../../radius/error.ts'
import type { Attribute } from '../../radius/packet.ts'

// FreeRADIUS's radclient writes requests and judges replies: it drops a reply whose authenticator
// or Message-Authenticator is not as it computes them. (Debian package freeradius-utils.)

const secret = Buffer.from('a secret of some length')
const policy = { requireMessageAuthenticator: true, limitProxyState: true }

/** Runs radclient against a server of one reply; its exit code, output, and what we refused. */
async function exchange(
  command: string,
  input: string,
  code: number,
  attributes: Attribute[] = [],
) {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  let refused: string | undefined
  socket.on('message', (datagram, source) => {
    try {
      const reply = sealReply(openRequest(datagram, secret, policy), code, attributes, secret)
      socket.send(reply, source.port, source.address)
    } catch (error) {
      if (!(error instanceof RadiusError)) throw error
      refused = error.code
    }
  })
  const target = `127.0.0.1:${socket.address().port}`
  const child = spawn('radclient', ['-x', '-r', '1', '-t', '2', target, command, secret.toString()])
  let output = ''
  child.stdout.on('data', (text) => (output += text))
  child.stderr.on('data', (text) => (output += text))
  child.stdin.end(input)
  const [exit] = await once(child, 'close')
  socket.close()
  return { exit, output, refused }
}

const session = 'User-Name="nemo"\nAcct-Session-Id="1"\nNAS-IP-Address=192.0.2.1\n'
const proxied = 'Proxy-State=0x01\nProxy-State=0x02\n'
const signed = 'Message-Authenticator=0x00\n'

const cases: [string, string, string, number, string][] = [
  ['Access-Accept', 'auth', session + proxied + signed, 2, 'Access-Accept'],
  [
    'Access-Challenge',
    'auth',
    `${session}EAP-Message=0x0201000401\n${signed}`,
    11,
    'Access-Challenge',
  ],
  ['Status-Server on the auth port', 'status', signed, 2, 'Access-Accept'],
  ['Status-Server on the acct port', 'status', signed, 5, 'Accounting-Response'],
  ['Accounting', 'acct', `Acct-Status-Type=Start\n${session}${proxied}`, 5, 'Accounting-Response'],
  [
    'Accounting, signed',
    'acct',
    `Acct-Status-Type=Stop\n${session}${signed}`,
    5,
    'Accounting-Response',
  ],
  ['Disconnect-ACK', 'disconnect', session + signed, 41, 'Disconnect-ACK'],
  ['CoA-ACK', 'coa', session + proxied, 44, 'CoA-ACK'],
]
for (const [name, command, input, code, word] of cases) {
  t.test(name, async (t) => {
    const { exit, output, refused } = await exchange(command, input, code)
    t.equal(refused, undefined)
    // It holds anything but an acceptance for a failure of the user, having checked the reply.
    t.equal(exit, code === 11 ? 1 : 0, output)
    t.match(output, `Received ${word}`)
    for (const state of input.match(/Proxy-State=0x0[12]/g) ?? []) {
      const echoed = output.slice(output.indexOf('Received'))
      t.match(echoed, state.replace('=', ' = '), 'B6 echoed')
    }
  })
}

t.test('an EAP packet of several attributes arrives whole', async (t) => {
  // Its line for one attribute ends after 1,005 digits.
  const eap = Buffer.alloc(400, 7)
  const { exit, output } = await exchange('auth', session + signed, 2, splitEapMessage(eap))
  t.equal(exit, 0, output)
  // It prints each attribute by itself, or their sum, by its version.
  const parts = output.match(/(?<=EAP-Message = 0x)[0-9a-f]+/g) ?? []
  t.equal(parts.join('').length, 2 * eap.length)
})

t.test('X2 an Access-Request without Message-Authenticator is refused', async (t) => {
  const { exit, refused } = await exchange('auth', session, 2)
  t.equal(refused, 'message-authenticator-missing')
  t.not(exit, 0)
})

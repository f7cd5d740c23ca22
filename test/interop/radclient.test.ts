// FreeRADIUS's own client against our ports: what it must get, and what must stay unanswered.

import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import {
  type RunningServer,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const radclient = (port: number, kind: string, secret: string, attributes: string) =>
  run('radclient', ['-x', '-r', '1', '-t', '1', `127.0.0.1:${port}`, kind, secret], {
    input: attributes,
  })

async function dropped(server: RunningServer, reason: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const line = new RegExp(`^datanet_radius_dropped_total\\{reason="${reason}"\\} (\\d+)$`, 'm')
  return Number(line.exec(text)?.[1] ?? 0)
}

t.test('radclient against a running server', async (t) => {
  const directory = temporaryDirectory(t)
  const server = await startServer(t, { directory, config: testConfig() })

  for (const port of [server.authPort, server.accountingPort]) {
    const status = await radclient(port, 'status', SECRET, 'Message-Authenticator = 0x00\n')
    t.equal(status.code, 0, `S1 Status-Server on ${port}`)
    const want =
      port === server.authPort ? /Received Access-Accept/ : /Received Accounting-Response/
    t.match(status.out, want)
    t.match(
      status.out,
      /Received[^\n]*\n\tMessage-Authenticator = 0x/,
      'signed, and nothing else in it',
    )
  }

  const unsigned = await radclient(
    server.authPort,
    'auth',
    SECRET,
    'User-Name = "bob"\nUser-Password = "x"\n',
  )
  t.not(unsigned.code, 0)
  t.match(unsigned.out + unsigned.errors, /No reply from server/)
  t.equal(await dropped(server, 'message-authenticator-missing'), 1, 'X2: dropped and counted')

  const wrong = await radclient(
    server.authPort,
    'auth',
    'not-the-secret',
    'User-Name = "bob"\nEAP-Message = 0x0201000801626f62\nMessage-Authenticator = 0x00\n',
  )
  t.match(wrong.out + wrong.errors, /No reply from server/)
  t.equal(await dropped(server, 'message-authenticator-wrong'), 1, 'X4: dropped and counted')

  const eap = await radclient(
    server.authPort,
    'auth',
    SECRET,
    'User-Name = "bob"\nEAP-Message = 0x0201000801626f62\nMessage-Authenticator = 0x00\nProxy-State = 0x0102\nProxy-State = 0x03\n',
  )
  t.match(eap.out, /Received Access-Challenge/)
  t.match(eap.out, /EAP-Message = 0x01..00060d20/, 'L1: EAP-TLS Start, no length field')
  t.match(eap.out, /Proxy-State = 0x0102[\s\S]*Proxy-State = 0x03\s*$/, 'B6: echoed, in order')

  const pap = 'User-Name = "bob"\nUser-Password = "x"\nMessage-Authenticator = 0x00\n'
  t.match(
    (await radclient(server.authPort, 'auth', SECRET, pap)).out,
    /Received Access-Reject/,
    'not EAP',
  )

  const start = 'Acct-Status-Type = Start\nAcct-Session-Id = "1"\nNAS-Identifier = "x"\n'
  const accounting = await radclient(server.accountingPort, 'acct', SECRET, start)
  t.match(accounting.out, /Received Accounting-Response/)
  t.equal(await server.stop(), 0, 'a clean stop')
  const store = new DatabaseSync(join(directory, 'data', 'datanet.sqlite'), { readOnly: true })
  const records = store.prepare('SELECT acct_session_id, attribution FROM records').all()
  store.close()
  t.match(records, [{ acct_session_id: '1', attribution: 'unattributed' }], 'B10: it was stored')
})

// The radacct view, asked as FreeRADIUS's own tools and web front ends ask it, on each store.

import type { Test } from 'tap'
import type { StoreBed } from './store-bed.ts'
import * as f from './store-fixtures.ts'

/** The columns of radacct in FreeRADIUS 3's schema, in its order. */
export const RADACCT_COLUMNS = [
  ...['radacctid', 'acctsessionid', 'acctuniqueid', 'username', 'realm', 'nasipaddress'],
  ...['nasportid', 'nasporttype', 'acctstarttime', 'acctupdatetime', 'acctstoptime'],
  ...['acctinterval', 'acctsessiontime', 'acctauthentic', 'connectinfo_start'],
  ...['connectinfo_stop', 'acctinputoctets', 'acctoutputoctets', 'calledstationid'],
  ...['callingstationid', 'acctterminatecause', 'servicetype', 'framedprotocol'],
  ...['framedipaddress', 'framedipv6address', 'framedipv6prefix', 'framedinterfaceid'],
  ...['delegatedipv6prefix', 'class'],
]

const counter = (total: bigint) => ({ raw: total, total, wide: true })

/** Fills a store and asks. */
export async function radacct(t: Test, { open, sql }: StoreBed): Promise<void> {
  const store = await open()
  const user = f.addressOf(1)
  const used = { input: counter(5_000_000_000n), output: counter(7n), sessionTimeSeconds: 120 }
  const sessions = [
    f.sessionNumber(1, { account: user, ...used }),
    f.closedNumber(2, 5, { account: user, ...used, terminateCause: 2 }),
    f.closedNumber(3, 5, { account: user, endedBy: 'nas-restarted', terminateCause: undefined }),
    f.sessionNumber(4, { account: f.addressOf(4), input: counter(2n ** 64n) }),
    f.sessionNumber(5, { account: user, state: 'reserved' }),
    f.closedNumber(6, 0, { account: user, endedBy: 'abandoned', terminateCause: undefined }),
    f.sessionNumber(7, {
      ...{ account: undefined, kind: 'unattributed' },
      place: { ...f.PLACE, nasIpAddress: '', address: '10.9.9.9', nasPort: undefined },
    }),
  ]
  await store.commit({ ...f.EMPTY, sessions })
  const rows = await sql('SELECT * FROM radacct ORDER BY radacctid')
  t.same(Object.keys(rows[0] ?? {}), RADACCT_COLUMNS, 'every column, in their order')
  t.equal(rows.length, 5, 'what never began is not there')

  const stopped = await sql(`SELECT * FROM radacct WHERE AcctUniqueId = '${f.sessionId(2)}'`)
  t.match(stopped[0], {
    ...{ acctsessionid: f.PLACE.acctSessionId, username: user, nasportid: '4' },
    ...{ calledstationid: f.PLACE.calledStationId, callingstationid: '02-00-00-00-01-00' },
    ...{ acctterminatecause: 'Lost-Carrier', acctauthentic: 'RADIUS' },
    class: `ai:${f.sessionId(2)}`,
  })
  const second = Math.floor((f.NOON + 2) / 1_000) * 1_000
  // One database gives a Date, the other the text of one in UTC.
  const moment = (value: unknown) =>
    value instanceof Date ? value.getTime() : Date.parse(`${String(value).replace(' ', 'T')}Z`)
  t.equal(Math.floor(moment(stopped[0]?.['acctstarttime']) / 1_000) * 1_000, second)
  t.equal(Math.floor(moment(stopped[0]?.['acctstoptime']) / 1_000) * 1_000, second + 300_000)

  // The simultaneous-use check of FreeRADIUS's queries.conf, and a front end's "online users".
  const online = await sql(
    `SELECT RadAcctId, AcctSessionId, UserName, NASIPAddress, NASPortId, FramedIPAddress,
      CallingStationId, FramedProtocol FROM radacct
      WHERE UserName = '${user}' AND AcctStopTime IS NULL`,
  )
  t.equal(online.length, 1)
  t.match(online[0], { nasipaddress: '10.0.0.17', callingstationid: '02-00-00-00-01-00' })
  const who = await sql(
    `SELECT username, framedipaddress, callingstationid, acctstarttime, acctsessiontime,
      nasipaddress, calledstationid FROM radacct
      WHERE acctstoptime IS NULL ORDER BY acctstarttime DESC, radacctid LIMIT 25`,
  )
  t.equal(who.length, 3)
  t.same(who.map((row) => row['nasipaddress']).sort(), ['10.0.0.17', '10.0.0.17', '10.9.9.9'])

  const totals = await sql(
    `SELECT UserName, COUNT(*) AS logins, SUM(AcctSessionTime) AS seconds,
      SUM(AcctInputOctets) AS up, SUM(AcctOutputOctets) AS down FROM radacct
      WHERE UserName = '${user}' GROUP BY UserName`,
  )
  const { logins, seconds, up, down } = totals[0] ?? {}
  t.same([logins, seconds, up, down].map(Number), [3, 240, 10_000_000_000, 14])
  const causes = await sql(
    `SELECT AcctTerminateCause, COUNT(*) AS n FROM radacct WHERE AcctStopTime IS NOT NULL
      GROUP BY AcctTerminateCause ORDER BY 1`,
  )
  t.same(
    causes.map((row) => [row['acctterminatecause'] ?? row['AcctTerminateCause'], Number(row['n'])]),
    [
      ['Lost-Carrier', 1],
      ['NAS-Reboot', 1],
    ],
  )
  const day = await sql(`SELECT max(acctinputoctets) AS most FROM radacct WHERE username <> ''`)
  t.equal(`${day[0]?.['most']}`.slice(0, 4), '9223', 'what 64 bits do not hold is the most they do')
  await store.close()
}

// FreeRADIUS as an accounting server on a free loopback port: with its `detail` file and with its
// SQL module over SQLite (Debian's own schema and queries), each in the leanest configuration there
// can be, and with the accounting of the site that Debian ships. Installs nothing; a missing module
// is an error with its name. Called by accounting.ts.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freeUdpPort, type RunningServer, startServer } from './peers.ts'

/** How FreeRADIUS keeps what it acknowledges; `shipped` is a detail file too. */
export type Keeping = 'detail' | 'sqlite' | 'shipped'

export interface AccountingPeerOptions {
  readonly directory: string
  readonly secret: string
  readonly keeping: Keeping
  readonly cpu?: number
}

/** Where Debian's freeradius-config has the schema, the queries and acct_unique. */
const CONFIG = '/etc/freeradius/3.0'
/** As much as ours asks for. */
const RECEIVE_BUFFER = 4 * 1024 * 1024

/** Starts it; `port` of what comes back is the accounting port. */
export async function startFreeRadiusAccounting(
  options: AccountingPeerOptions,
): Promise<RunningServer> {
  const { directory, keeping } = options
  const port = await freeUdpPort()
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, 'radiusd.conf'), configText(options, port))
  const log = join(directory, 'radius.log')
  return startServer({
    ...options,
    name: `FreeRADIUS ${keeping}`,
    command: ['freeradius', '-f', '-l', log, '-d', directory, '-n', 'radiusd'],
    port,
    cpu: options.cpu,
  })
}

const detailModule = (directory: string): string => `detail {
    filename = ${directory}/detail
    header = "%t"
    permissions = 0600
  }`

const sqliteModule = (directory: string): string => `expr {
  }
  sql {
    dialect = "sqlite"
    driver = "rlm_sql_sqlite"
    sqlite {
      filename = "${directory}/radius.db"
      busy_timeout = 5000
      bootstrap = "${CONFIG}/mods-config/sql/main/sqlite/schema.sql"
    }
    radius_db = "radius"
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    groupcheck_table = "radgroupcheck"
    authreply_table = "radreply"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    client_table = "nas"
    group_attribute = "SQL-Group"
    read_clients = no
    pool {
      start = 2
      min = 2
      max = 2
      spare = 1
      uses = 0
      lifetime = 0
      idle_timeout = 0
    }
    $INCLUDE ${CONFIG}/mods-config/sql/main/sqlite/queries.conf
  }`

/** What differs: the modules, and which of them a request goes through. */
interface Sections {
  readonly modules: string
  readonly preacct: string
  readonly accounting: string
}

const SHIPPED = ['preprocess', 'expr', 'realm', 'files', 'detail', 'unix', 'exec', 'attr_filter']

const sections: Readonly<Record<Keeping, (directory: string) => Sections>> = {
  detail: (directory) => ({ modules: detailModule(directory), preacct: '', accounting: 'detail' }),
  sqlite: (directory) => ({
    ...{ modules: sqliteModule(directory), preacct: 'acct_unique', accounting: 'sql' },
  }),
  shipped: () => ({
    modules: SHIPPED.map((name) => `$INCLUDE ${CONFIG}/mods-available/${name}`).join('\n  '),
    preacct: ['preprocess', 'acct_unique', 'suffix', 'files'].join('\n    '),
    accounting: ['detail', 'unix', 'exec', 'attr_filter.accounting_response'].join('\n    '),
  }),
}

/** The main file, without what does nothing for accounting. */
function configText({ directory, secret, keeping }: AccountingPeerOptions, port: number): string {
  const { modules, preacct, accounting } = sections[keeping](directory)
  return `prefix = /usr
raddbdir = ${directory}
confdir = ${directory}
modconfdir = ${CONFIG}/mods-config
logdir = ${directory}
radacctdir = ${directory}/radacct
run_dir = ${directory}
libdir = /usr/lib/freeradius
pidfile = ${directory}/radiusd.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
log {
  destination = files
  file = ${directory}/radius.log
  auth = no
}
security {
  allow_core_dumps = no
  max_attributes = 200
  status_server = yes
}
thread pool {
  start_servers = 2
  max_servers = 2
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
  max_queue_size = 65536
}
client loopback {
  ipaddr = 127.0.0.1
  secret = "${secret}"
}
modules {
  ${modules}
}
policy {
  $INCLUDE ${CONFIG}/policy.d/accounting
}
server default {
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = ${port}
    recv_buff = ${RECEIVE_BUFFER}
  }
  preacct {
    ${preacct}
  }
  accounting {
    ${accounting}
  }
}
`
}

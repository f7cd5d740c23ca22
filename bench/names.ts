// What the servers of bench/eap.ts are called, on its command line and in its report. Pure. Called
// by eap.ts, entrants.ts and report.ts.

/** Words of --servers, and the names in the report. */
export const SERVERS = {
  datanet: 'Datanet',
  'datanet-node': 'Datanet (node)',
  freeradius: 'FreeRADIUS',
  hostapd: 'hostapd',
} as const
export type ServerKey = keyof typeof SERVERS

/** Servers that have a second one beside them, with resumption, in the phase "resumed". */
export const RESUMING: readonly ServerKey[] = ['datanet', 'freeradius', 'hostapd']

/** What the second one is called. */
export const resumedName = (server: string): string => `${server} resumed`

/** True for each of our own servers. */
export const isOurs = (server: string): boolean => server.startsWith(SERVERS.datanet)

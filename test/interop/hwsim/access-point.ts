// A WPA-Enterprise access point and a station inside the guest: hostapd on the first radio,
// wpa_supplicant with a device's own profile on the second. Owns their configuration files.
// Called by hwsim.test.ts.

import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { GUEST_ADDRESS, type Guest, HOST_ADDRESS } from './guest.ts'

export const SSID = 'hwsim-eap'
export const AP_ADDRESS = '192.168.77.1'
export const STATION_ADDRESS = '192.168.77.2'
export const NAS_IDENTIFIER = 'hwsim-ap'
export const COA_SECRET = 'hwsim-coa-secret-of-24-chars'
const RELAY_PORT = 8080
export const HOSTAPD_LOG = '/run/hostapd.log'
export const STATION_LOG = '/run/wpa.log'
/** hostapd names the radios' addresses so in Called-Station-Id and Calling-Station-Id. */
export const STATION_MAC = '02-00-00-00-01-00'

/**
 * WPA2-Enterprise: any key derivation, frames of management unprotected. WPA3-Enterprise (Wi-Fi
 * Alliance WPA3 Specification §3): SHA-256 and protected management frames.
 */
export type Security = 'wpa2' | 'wpa3'

const SECURITY: Readonly<Record<Security, readonly string[]>> = {
  wpa2: ['wpa_key_mgmt=WPA-EAP', 'ieee80211w=0'],
  wpa3: ['wpa_key_mgmt=WPA-EAP-SHA256', 'ieee80211w=2', 'group_mgmt_cipher=AES-128-CMAC'],
}

/** What the access point is told of its RADIUS server. */
export interface Radius {
  readonly authPort: number
  readonly accountingPort: number
  readonly secret: string
  /** Seconds between Interim-Updates; hostapd takes its own value before the server's. */
  readonly interimSeconds: number
}

function hostapdConf(security: Security, radius: Radius): string {
  const servers = (['auth', 'acct'] as const).flatMap((kind) => [
    `${kind}_server_addr=${HOST_ADDRESS}`,
    `${kind}_server_port=${kind === 'auth' ? radius.authPort : radius.accountingPort}`,
    `${kind}_server_shared_secret=${radius.secret}`,
  ])
  return [
    ...['interface=wlan0', 'driver=nl80211', 'ctrl_interface=/run/hostapd', `ssid=${SSID}`],
    ...['hw_mode=g', 'channel=1', 'ieee80211n=1', 'logger_stdout=-1', 'logger_stdout_level=0'],
    ...['ieee8021x=1', 'auth_algs=1', 'wpa=2', 'rsn_pairwise=CCMP', 'eap_server=0'],
    ...SECURITY[security],
    ...[`own_ip_addr=${GUEST_ADDRESS}`, `nas_identifier=${NAS_IDENTIFIER}`, ...servers],
    `radius_acct_interim_interval=${radius.interimSeconds}`,
    ...['radius_das_port=3799', `radius_das_client=${HOST_ADDRESS} ${COA_SECRET}`],
    ...['radius_das_time_window=300', 'radius_das_require_event_timestamp=1'],
    ...['radius_das_require_message_authenticator=1', ''],
  ].join('\n')
}

/** Ends a program in the guest and waits until it is gone. */
async function end(guest: Guest, program: string): Promise<void> {
  await guest.ap(`killall ${program}; while pidof ${program}; do sleep 0.1; done`)
}

/** (Re)starts hostapd; resolves when the network is on the air. */
export async function startAccessPoint(
  guest: Guest,
  security: Security,
  radius: Radius,
): Promise<void> {
  // A station that is still there would join the new one in its own time, in between.
  await end(guest, 'wpa_supplicant')
  await end(guest, 'hostapd')
  await guest.write('/scenario/hostapd.conf', hostapdConf(security, radius))
  const from = await guest.length(HOSTAPD_LOG)
  await guest.ap(`hostapd -t /scenario/hostapd.conf >> ${HOSTAPD_LOG} 2>&1 &`)
  await guest.logged(HOSTAPD_LOG, 'AP-ENABLED', { from })
  await guest.ap(`ip addr add ${AP_ADDRESS}/24 dev wlan0`)
}

/**
 * (Re)starts wpa_supplicant with the profile that `datanet device create` wrote: only the paths
 * change, and what `edit` does. Does not wait for the connection.
 */
export async function startStation(
  guest: Guest,
  deviceDirectory: string,
  edit: (conf: string) => string = (conf) => conf,
): Promise<void> {
  await end(guest, 'wpa_supplicant')
  const profile = readFileSync(join(deviceDirectory, 'wpa_supplicant.conf'), 'utf8')
  const moved = new Map<string, string>()
  const network = profile.replace(/"(\/[^"]+)"/g, (_, path: string) => {
    moved.set(path, `/scenario/${basename(path)}`)
    return `"/scenario/${basename(path)}"`
  })
  for (const [from, to] of moved) await guest.write(to, readFileSync(from, 'utf8'))
  // The one channel that is in use: a whole scan takes seconds.
  const head = 'ctrl_interface=/run/wpa\np2p_disabled=1\nfreq_list=2412\n'
  await guest.write('/scenario/wpa.conf', head + edit(network))
  const start = 'wpa_supplicant -t -i wlan1 -D nl80211 -c /scenario/wpa.conf'
  await guest.station(`${start} >> ${STATION_LOG} 2>&1 &`)
  await guest.station(`ip addr add ${STATION_ADDRESS}/24 dev wlan1`)
}

/**
 * Lets the station reach a TCP port of this machine's loopback, the server's HTTP side: the access
 * point passes its connections on, since it routes nothing. The URL the station uses.
 */
export async function relay(guest: Guest, port: number): Promise<string> {
  const each = `nc ${HOST_ADDRESS} ${port}`
  await guest.ap(`nc -ll -p ${RELAY_PORT} -e ${each} < /dev/null > /dev/null 2>&1 &`)
  return `http://${AP_ADDRESS}:${RELAY_PORT}`
}

/** Octets of the station's interface so far, as the device's own meter reads them. */
export async function stationMeter(guest: Guest): Promise<number> {
  const { out } = await guest.station("sed -n 's/^ *wlan1: *//p' /proc/net/dev")
  const fields = out.trim().split(/\s+/)
  // Received octets come first, sent ones after eight columns.
  return Number(fields[0]) + Number(fields[8])
}

/** Packets of an echo through the air that came back, of `count`. */
export async function ping(guest: Guest, count = 3): Promise<number> {
  const { out } = await guest.station(`ping -A -c ${count} -w 10 ${AP_ADDRESS}`)
  return Number(/(\d+) packets received/.exec(out)?.[1] ?? 0)
}

// The configuration a first start writes: valid as it stands, short enough to read whole, and
// commented so that the next step (an access point) is found in it. Text only; the caller writes
// the file.

/**
 * The datanet.yaml of a first start: this machine as the only NAS, one tariff, the embedded chain.
 */
export function defaultConfigText(o: {
  readonly secret: string
  readonly operatorName?: string
}): string {
  const operatorName = o.operatorName ?? 'Corner Wi-Fi'
  return `# Datanet's configuration. Every key, its default and its range: config/example.yaml
# After a change: npx datanet check --config THIS_FILE, then: npx datanet reload

operator:
  name: ${JSON.stringify(operatorName)}

# Who may ask. Add an access point with: npx datanet client add NAME IP
clients:
  - name: loopback
    ipaddr: 127.0.0.1/32
    secret: ${JSON.stringify(o.secret)}
    nas_type: hostapd
    tariff: standard

# Prices in whole tokens, in quotes.
tariffs:
  standard:
    per_minute: "0.001"
    per_megabyte: "0.004"
    interval: 60s
    interval_megabytes: 10
    missed_max: 2
    grace: 0s

chain: { rpc: embedded, contract: auto }

# Devices behind access points pay over HTTP: give them an address they can reach.
http: { listen: 127.0.0.1:8080, public_url: null }
`
}

// hostapd and wpa_supplicant once more, over node:tls: what is asked of one TLS engine is asked of
// both.

import process from 'node:process'

process.argv[2] = 'node'
await import('./wired.test.ts')

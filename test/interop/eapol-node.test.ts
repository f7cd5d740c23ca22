// The README's path once more, over node:tls: what is asked of one TLS engine is asked of both.

import process from 'node:process'

process.argv[2] = 'node'
await import('./eapol.test.ts')

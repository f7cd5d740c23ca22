// Every way to be refused once more, over node:tls: what is asked of one TLS engine is asked of
// both.

import process from 'node:process'

process.argv[2] = 'node'
await import('./refusals.test.ts')

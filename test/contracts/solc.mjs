#!/usr/bin/env node
// forge's compiler: answers --version and --standard-json with the solc-js of node_modules, so that
// no second compiler is installed and none is downloaded.

import { createRequire } from 'node:module'

const solc = createRequire(import.meta.url)('solc')

if (process.argv.includes('--version')) {
  process.stdout.write(
    `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`,
  )
} else {
  let input = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) input += chunk
  process.stdout.write(solc.compile(input))
}

// `datanet device add-operator`: lets a device use one more operator. The operator proves itself as
// it does for `device create`; the folder gets one network block and one entry more.

import { resolve } from 'node:path'
import { addOperator } from '../device/add-operator.ts'
import { openChain, readChain } from '../device/chain.ts'
import { readDevice } from '../device/folder.ts'
import { parseOperatorUrl } from '../device/http.ts'
import { askOperator, proveOperator } from '../device/operator.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { readArguments } from './arguments.ts'
import { Exit } from './exit.ts'
import { near } from './next.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet device add-operator DIR URL [--ssid SSID] [--json]

Enrols the device of DIR with a further operator of the same contract: its CA and a network block
are added to DIR, and device run pays it for its connections. It needs a deposit of its own: escrow
lies with one operator each. An operator that DIR has already is asked at URL from then on.

  --ssid SSID  the network the block is for (default: any network of this operator)
  --json       {"operatorId", "operatorName", "operatorUrl", "operatorAccount", "directory"}

Exit codes: 64 usage, 69 no operator or not to be trusted, or it uses another contract; 73 the
device has it at that URL already, 78 DIR is damaged.
`

/** Adds the operator. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, {
    verb: 'device add-operator',
    positionals: ['DIR', 'URL'],
    options: { ssid: { type: 'string' }, json: { type: 'boolean' } },
  })
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const url = parseOperatorUrl(words.URL)
  const answer = await askOperator(url)
  const link = openChain(answer.rpc)
  try {
    const nowSeconds = Math.floor(terminal.now() / 1000)
    const chain = readChain(link.rpc, answer.contract)
    const operator = await proveOperator(url, answer, chain, nowSeconds)
    const isNew = (await addOperator(directory, device, operator, flags.ssid)) === 'added'
    const { operatorId, name } = operator
    if (flags.json === true) {
      const operatorAccount = checksumAddress(operator.account)
      const facts = { operatorId, operatorName: name, operatorUrl: url, operatorAccount, directory }
      terminal.out(JSON.stringify(facts))
    } else {
      terminal.out(`operator  "${name}" at ${url} is number ${operatorId}`)
      const conf = `${near(directory)}/wpa_supplicant.conf`
      if (isNew) terminal.out(`profiles  one more network block in ${conf}`)
    }
    if (isNew)
      terminal.err('a running wpa_supplicant reads the profile again after: wpa_cli reconfigure')
    return Exit.ok
  } finally {
    link.close()
  }
}

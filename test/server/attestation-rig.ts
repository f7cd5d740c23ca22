// A folder with a configuration in it and the files that its section `attestation` names, read as
// the server reads them. Called by the tests of what evidence the server takes.

import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Policies } from '../../server/attestation.ts'
import { checkConfig } from '../../server/config-source.ts'

export function attestationFolder(t: { teardown(f: () => void): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-attestation-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const at = (name: string): string => join(directory, name)

  /** `part` is a line or more of the section, which begins at line 5. */
  const read = (part: string, nowSeconds?: number) =>
    checkConfig(
      `operator: { name: Corner Wi-Fi }
tariffs: { standard: { per_minute: "1", per_megabyte: "1" } }
clients: [{ name: lobby, ipaddr: 127.0.0.1, secret: k7mw4xq2np9rt3vy }]
attestation:
  ${part}
`,
      at('datanet.yaml'),
      {},
      nowSeconds,
    )

  return {
    ...{ at, read },
    /** With the time at which it was changed, Unix seconds. */
    write(name: string, content: string | Uint8Array, seconds?: number): void {
      writeFileSync(at(name), content)
      if (seconds !== undefined) utimesSync(at(name), seconds, seconds)
    },
    policiesOf(part: string): Policies {
      const result = read(part)
      if ('problems' in result) throw new Error(JSON.stringify(result.problems))
      return result.policies
    },
    /** The only one. */
    problemOf(part: string) {
      const result = read(part)
      const [problem, ...others] = 'problems' in result ? result.problems : []
      if (problem === undefined || others.length > 0) throw new Error(JSON.stringify(result))
      return problem
    },
  }
}

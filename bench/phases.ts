// What is measured beside CPU (cpu.ts) and memory (memory.ts): throughput, and eapol_test one by
// one. A run that fails is noted and the next goes on. Prints nothing but progress. Called by
// eap.ts.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsVersion } from '../test/peer/tls.ts'
import { type Bench, type Contestant, load } from './contestants.ts'
import { type CpuSample, readCpu, TLS_VERSIONS } from './cpu.ts'
import { runCommand } from './generator.ts'
import type { LoadCredential, LoadResult } from './load.ts'
import type { RunningServer } from './peers.ts'

/** One step that may fail without ending the benchmark. */
export async function attempt<Value>(
  bench: Bench,
  what: string,
  step: () => Promise<Value>,
): Promise<Value | undefined> {
  try {
    return await step()
  } catch (error) {
    bench.say(`  ${what}: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}

/** One throughput run: the generator has the other CPU. */
export interface ThroughputSample extends LoadResult {
  readonly server: string
  readonly inFlight: number
  readonly count: number
}

/** Many conversations at once; a server with a capacity gets at most that many. */
export async function measureThroughput(
  bench: Bench,
  contestants: readonly Contestant[],
  loads: readonly { readonly inFlight: number; readonly count: number }[],
): Promise<ThroughputSample[]> {
  const samples: ThroughputSample[] = []
  for (const { inFlight, count } of loads) {
    for (const contestant of contestants) {
      const what = `${inFlight} in flight ${contestant.name}`
      const sample = await attempt(bench, what, async () => {
        const most = Math.min(count, contestant.room)
        const server = await contestant.ready(most)
        const run = { tls: '1.3' as const, count: most, inFlight: Math.min(inFlight, most) }
        const result = await load(bench, server, run, bench.generatorCpu)
        return { ...result, server: contestant.name, inFlight: run.inFlight, count: most }
      })
      if (sample === undefined) continue
      samples.push(sample)
      const lost = `${sample.failed} lost ${JSON.stringify(sample.failures)}`
      bench.say(`  ${what}: ${sample.authPerSecond.toFixed(0)}/s, ${lost}`)
    }
  }
  return samples
}

/** What devices trust, for eapol_test's configuration. */
export interface EapolTrust {
  readonly caPem: string
  readonly serverName: string
}

/**
 * eapol_test, one authentication after another: the figure others can repeat without our generator.
 */
export async function measureEapolTest(
  bench: Bench,
  contestants: readonly Contestant[],
  trust: EapolTrust,
  repeats: number,
): Promise<CpuSample[]> {
  const samples: CpuSample[] = []
  const [credential] = bench.credentials
  if (credential === undefined) return samples
  for (const tls of TLS_VERSIONS) {
    for (const contestant of contestants) {
      const sample = await attempt(bench, `eapol_test ${contestant.name}`, async () => {
        const server = await contestant.ready(repeats)
        const before = readCpu(server)
        const done = await eapolTest(bench, server, { tls, credential, trust, repeats })
        const after = readCpu(server)
        if (done === 0) throw new Error('no success')
        return {
          server: contestant.name,
          tls,
          round: 0,
          us: (after.own - before.own) / (done * 1000),
          betweenUs: 0,
          childrenUs: (after.children - before.children) / (done * 1000),
          rounds: Number.NaN,
          done,
          failed: repeats - done,
          resumed: 0,
        }
      })
      if (sample !== undefined) samples.push(sample)
    }
  }
  return samples
}

async function eapolTest(
  bench: Bench,
  server: RunningServer,
  run: {
    readonly tls: TlsVersion
    readonly credential: LoadCredential
    readonly trust: EapolTrust
    readonly repeats: number
  },
): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-eapol-'))
  const put = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  try {
    const config = put(
      'eapol.conf',
      `network={
  key_mgmt=IEEE8021X
  eap=TLS
  eapol_flags=0
  identity="${run.credential.identity}"
  ca_cert="${put('ca.pem', run.trust.caPem)}"
  domain_match="${run.trust.serverName}"
  client_cert="${put('cert.pem', run.credential.certificatePem)}"
  private_key="${put('key.pem', run.credential.keyPem)}"
  phase1="tls_disable_tlsv1_3=${run.tls === '1.2' ? 1 : 0}"
}
`,
    )
    const where = ['-a', '127.0.0.1', '-p', String(server.port), '-s', server.secret]
    const repeat = ['-t', '60', '-r', String(run.repeats - 1)]
    const pinned = ['taskset', '-c', String(bench.serverCpu), 'eapol_test', '-c', config]
    const output = await runCommand([...pinned, ...where, ...repeat], 120_000)
    // Its last lines count the rounds in which both sides derived the same keys.
    return Number(/MPPE keys OK: (\d+)/.exec(output)?.[1] ?? 0)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

// What goes with the TLS engine in use, at start and whenever a reload has put another in its
// place: its name for monitoring, why it is not the faster one, the OCSP response that it staples.
// Chooses nothing: runtime.ts does. Called by main.ts.

import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Runtime } from './runtime.ts'
import { createStapling, type StaplingDeps } from './stapling.ts'

/** Tells which TLS engine is in use, and why it is the slower one where a faster was allowed. */
function showEngine(runtime: Runtime, metrics: Metrics, log: Log): void {
  const { config, rules, engineFallback } = runtime
  metrics.tlsEngine.reset()
  metrics.tlsEngine.set({ engine: rules.engine.name }, 1)
  if (config.eap.resumption && rules.engine.setTicketKeys === undefined) {
    log.warn('eap.resumption needs the native TLS engine: each login takes a full handshake')
  }
  if (engineFallback === undefined) return
  log.warn({ reason: engineFallback }, 'the native TLS engine is not there: node:tls is used')
}

/** Tends the engine of the runtime; `changed` is to be called where there is a new one. */
export function tendEngine(deps: StaplingDeps & { readonly metrics: Metrics }): {
  readonly changed: () => void
  readonly stop: () => void
} {
  const show = (): void => showEngine(deps.runtime(), deps.metrics, deps.log)
  show()
  const stapling = createStapling(deps)
  return {
    changed() {
      show()
      stapling.refresh()
    },
    stop: () => stapling.stop(),
  }
}

// Runs one task over and over: when woken, at the latest every so often, sooner after a failure,
// and never twice at once. The embedded chain's snapshots and the mirror's catching up both run
// this way.

/** The handle of one repeated task. */
export interface Runner {
  /** Something changed: run now, or once more after the run that is under way. */
  wake(): void
  /** The outcome of a run that begins after this call; rejects with what that run threw. */
  next(): Promise<void>
  /** No further run is begun; resolves when the one under way is finished. */
  end(): Promise<void>
}

/** How a Runner behaves between runs. */
export interface RunnerOptions {
  /** The pause after a run that succeeded, ms. */
  readonly everyMs: number
  /** The pause after the n-th failure in a row (n >= 1), ms. */
  readonly retryMs: (failures: number) => number
  /** Called after each failed run; never throws. */
  readonly failed: (error: unknown, failures: number) => void
  /** Called after the first success that follows `failures` failures. */
  readonly recovered: (failures: number) => void
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Makes a runner at rest: its first run begins with wake() or next(). */
export function startRunner(task: () => Promise<void>, options: RunnerOptions): Runner {
  let running: Promise<void> | undefined
  let wanted = false
  let ended = false
  let failures = 0
  let timer: NodeJS.Timeout | undefined
  // Those who wait for the next run: bounded by the requests under way in the server.
  let waiting: Waiter[] = []

  async function run(): Promise<void> {
    wanted = false
    const served = waiting
    waiting = []
    try {
      await task()
      if (failures > 0) options.recovered(failures)
      failures = 0
      for (const waiter of served) waiter.resolve()
    } catch (error) {
      failures += 1
      if (!ended) options.failed(error, failures)
      for (const waiter of served) waiter.reject(error)
    }
  }

  function begin(): void {
    if (running !== undefined) return
    clearTimeout(timer)
    running = run().then(() => {
      running = undefined
      if (ended) return
      // After a failure even a wake-up waits: a dead node must not be asked in a tight loop.
      if (waiting.length > 0 || (wanted && failures === 0)) begin()
      else timer = setTimeout(begin, failures > 0 ? options.retryMs(failures) : options.everyMs)
    })
  }

  return {
    wake() {
      wanted = true
      if (!ended && failures === 0) begin()
    },
    next() {
      if (ended) return Promise.reject(new Error('ended'))
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      waiting.push({ resolve, reject })
      begin()
      return promise
    },
    async end() {
      ended = true
      clearTimeout(timer)
      await running
      for (const waiter of waiting) waiter.reject(new Error('ended'))
    },
  }
}

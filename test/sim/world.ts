// The simulated world around one server: stations behind access points, a network that loses,
// doubles, delays and reorders datagrams, a chain on which deposits come and go. One queue of
// events in simulated time; the same seed gives the same order. What must hold is in invariants.ts.

import { createInvariants, type Invariants } from './invariants.ts'
import { type Random, seeded } from './random.ts'
import { createRig, type Rig, type Source } from './rig.ts'

/** What the network does to a datagram; probabilities from 0 to 1, times in milliseconds. */
export interface NetworkOptions {
  readonly loss: number
  readonly duplication: number
  readonly delayMinMs: number
  readonly delayMaxMs: number
  /** Datagrams handed to the server before it has answered the last one. */
  readonly overlap: number
}

export interface WorldOptions {
  readonly seed: string
  readonly network: NetworkOptions
  readonly conversationsMax: number
  readonly idleMs: number
}

/** More than the promises between a decision in the server and its answer here. */
const PROMISES_IN_ANSWER = 20

type Deed = () => Promise<void> | void

/** One step: what happens, and when. */
interface Happening {
  readonly atMs: number
  readonly order: number
  readonly deed: Deed
}

export interface World {
  readonly rig: Rig
  readonly random: Random
  readonly invariants: Invariants
  after(delayMs: number, deed: Deed): void
  /** Sends to the authentication port; replies arrive at `receive`, late, twice or never. */
  send(datagram: Buffer, source: Source, receive: (reply: Buffer) => Promise<void> | void): void
  sendAccounting(datagram: Buffer, source: Source): void
  /** Lives until `endMs` after the start. */
  run(endMs: number): Promise<void>
  readonly counts: { steps: number; delivered: number; replied: number; lost: number }
}

export async function createWorld({
  seed,
  network,
  conversationsMax,
  idleMs,
}: WorldOptions): Promise<World> {
  const limits = { conversationsMax, duplicatesMax: 100_000, idleMs }
  const rig = await createRig({ seed, ...limits, fragmentSize: 1300 })
  const random = seeded(`${seed} world`)
  const invariants = createInvariants(rig)
  const queue: Happening[] = []
  const inWork = new Set<Promise<void>>()
  const counts = { steps: 0, delivered: 0, replied: 0, lost: 0 }
  let made = 0
  /** What an answer nobody waits for had to say; the next step throws it. */
  let failure: Error | undefined

  const after = (delayMs: number, deed: Deed): void => {
    queue.push({ atMs: rig.clock.nowMs + delayMs, order: made++, deed })
  }
  const carry = (deliver: Deed): void => {
    const copies = random.chance(network.loss) ? 0 : random.chance(network.duplication) ? 2 : 1
    if (copies === 0) counts.lost += 1
    for (let copy = 0; copy < copies; copy++) {
      const spread = network.delayMaxMs - network.delayMinMs
      after(network.delayMinMs + random.below(spread + 1), deliver)
    }
  }
  const next = (): Happening | undefined => {
    let best = 0
    for (const [at, happening] of queue.entries()) {
      const first = queue[best]
      if (first === undefined) break
      const sooner = happening.atMs - first.atMs || happening.order - first.order
      if (sooner < 0) best = at
    }
    return queue.splice(best, 1)[0]
  }
  const sweep = (): void => {
    rig.sweep()
    after(1_000, sweep)
  }
  after(1_000, sweep)

  return {
    ...{ rig, random, invariants, after, counts },
    send(datagram, source, receive) {
      carry(async () => {
        counts.delivered += 1
        const arrivedMs = rig.clock.nowMs
        const answered = rig.auth(Buffer.from(datagram), source).then((reply) => {
          invariants.onAnswer({ datagram, source, arrivedMs }, reply)
          if (reply === undefined) return
          counts.replied += 1
          carry(() => receive(reply))
        })
        inWork.add(answered)
        const done = (): boolean => inWork.delete(answered)
        answered.then(done, (error: Error) => {
          failure ??= error
          done()
        })
        if (!random.chance(network.overlap)) await answered
      })
    },
    sendAccounting(datagram, source) {
      carry(async () => {
        counts.delivered += 1
        const reply = await rig.accounting(Buffer.from(datagram), source)
        if (reply !== undefined) counts.replied += 1
      })
    },
    async run(endMs) {
      const end = rig.clock.nowMs + endMs
      for (let now = next(); now !== undefined && now.atMs <= end; now = next()) {
        rig.clock.nowMs = now.atMs
        await now.deed()
        counts.steps += 1
        // What an answer at work has begun it finishes, up to where it waits for TLS or the chain.
        for (let n = 0; n < PROMISES_IN_ANSWER && inWork.size > 0; n++) await undefined
        if (failure !== undefined) throw failure
        invariants.check()
      }
      await Promise.all(inWork)
      rig.clock.nowMs = end
      invariants.check()
    },
  }
}

// Changes networks: asks the device's operators for their access points, lets wpa_supplicant scan,
// joins the one that networks.ts picks with the block of its operator, and gives the choice back
// when that one is gone. Only where a control socket is there to be told. Called by run.ts.

import { requestJson } from './http.ts'
import { linkOperator } from './network-block.ts'
import { type AccessPoint, betterThan, type Choice, ranked, readAccessPoints } from './networks.ts'
import type { Link, WpaControl } from './wpa-control.ts'

/** The choice of networks of one run. */
export interface Roaming {
  /** Once in a while: refreshes what is known, and moves to a clearly better network. */
  consider(link: Link | undefined): Promise<void>
  /** Leaves for the best other network; false where none is known here. */
  escape(link: Link | undefined): Promise<boolean>
  /** Where the network it chose stays away: wpa_supplicant may take any of the profile again. */
  recover(link: Link | undefined): Promise<void>
}

/** What a choice is made of; `now` in Unix ms. */
export interface RoamingDeps {
  readonly control: Pick<WpaControl, 'scan' | 'heard' | 'blocks' | 'join' | 'restore'>
  /** Where each operator's access points are asked for, the device's first operator first. */
  readonly operators: readonly { readonly operatorId: number; readonly operatorUrl: string }[]
  readonly now: () => number
  readonly pause: (ms: number) => Promise<void>
}

/** A scan takes the radio away from the connection for seconds. */
const CONSIDER_MS = 300_000
const SCAN_WAIT_MS = 5_000
/** A network that was bad is worth another try after a while. */
const AVOID_MS = 600_000
const AVOID_MAX = 100
const TIMEOUT_MS = 10_000
/** A join takes a few seconds; a network out of reach never comes. */
const GONE_MS = 20_000

const isOurs = (link: Link | undefined): link is Link =>
  link?.isEap === true && link.isWifi && link.bssid !== ''

export function createRoaming(o: RoamingDeps): Roaming {
  const known = new Map<number, readonly AccessPoint[]>()
  const avoided = new Map<string, number>()
  let consideredAtMs: number | undefined
  /** Since when the network it joined is away; undefined: it is there, or none was joined. */
  let goneAtMs: number | undefined
  let hasJoined = false

  const isNothingKnown = (): boolean => [...known.values()].every((list) => list.length === 0)

  const learn = async (): Promise<void> => {
    for (const { operatorId, operatorUrl } of o.operators) {
      const url = `${operatorUrl}/v1/access-points`
      // One that is down, or publishes none, leaves the others.
      const answer = await requestJson(url, { timeoutMs: TIMEOUT_MS }).catch(() => undefined)
      if (answer?.status === 200) known.set(operatorId, readAccessPoints(answer.body, operatorId))
    }
  }

  const choices = async (): Promise<Choice[]> => {
    await o.control.scan()
    await o.pause(SCAN_WAIT_MS)
    const nowMs = o.now()
    for (const [bssid, untilMs] of avoided) if (untilMs <= nowMs) avoided.delete(bssid)
    return ranked([...known.values()].flat(), await o.control.heard(), new Set(avoided.keys()))
  }

  const join = async (choice: Choice): Promise<boolean> => {
    const blocks = await o.control.blocks()
    const [first] = o.operators
    const block = blocks.find(
      ({ idText }) => (linkOperator(idText) ?? first?.operatorId) === choice.operatorId,
    )
    if (block === undefined) return false
    hasJoined = true
    goneAtMs = undefined
    await o.control.join(block.networkId, choice)
    return true
  }

  return {
    async consider(link) {
      const nowMs = o.now()
      if (!isOurs(link) || !link.isUp) return
      if (consideredAtMs !== undefined && nowMs - consideredAtMs < CONSIDER_MS) return
      consideredAtMs = nowMs
      try {
        await learn()
        if (isNothingKnown()) return
        const better = betterThan(link.bssid, await choices())
        if (better !== undefined) await join(better)
      } catch {
        // Better networks are a wish: what is joined goes on.
      }
    },
    async escape(link) {
      if (!isOurs(link) || isNothingKnown()) return false
      if (avoided.size >= AVOID_MAX) avoided.clear()
      avoided.set(link.bssid, o.now() + AVOID_MS)
      try {
        const [best] = await choices()
        return best !== undefined && (await join(best))
      } catch {
        return false
      }
    },
    async recover(link) {
      if (!hasJoined) return
      const nowMs = o.now()
      goneAtMs = link?.isUp === true ? undefined : (goneAtMs ?? nowMs)
      if (goneAtMs === undefined || nowMs - goneAtMs < GONE_MS) return
      hasJoined = false
      goneAtMs = undefined
      await o.control.restore()
    },
  }
}

// Counters that are counted up several times a packet. prom-client joins the labels into a new text
// for every one of them, which was 4 % of an accounting record; these count by themselves and hand
// the sums over when somebody reads the metrics. Called by metrics.ts.

import { Counter, type Registry } from 'prom-client'

/** A counter with labels, as prom-client has it. */
export interface CounterOf<Labels> {
  inc(labels: Labels): void
}

/** Labels of the same beginning; the last one's node has the count. */
interface Node<Labels> {
  readonly next: Map<string, Node<Labels>>
  labels: Labels | undefined
  count: number
}

const newNode = <Labels>(): Node<Labels> => ({ next: new Map(), labels: undefined, count: 0 })

/** Registers a counter. Its labels are from closed sets, as those of every metric are. */
export function tallied<Name extends string>(config: {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly Name[]
  readonly registers: Registry[]
}): CounterOf<Readonly<Record<Name, string>>> {
  type Labels = Readonly<Record<Name, string>>
  const root = newNode<Labels>()
  const handOver = (counter: Counter<Name>, node: Node<Labels>): void => {
    if (node.labels !== undefined && node.count > 0) counter.inc({ ...node.labels }, node.count)
    node.count = 0
    for (const next of node.next.values()) handOver(counter, next)
  }
  new Counter<Name>({
    ...config,
    collect() {
      handOver(this, root)
    },
  })
  return {
    inc(labels) {
      let node = root
      for (const name of config.labelNames) {
        let next = node.next.get(labels[name])
        if (next === undefined) {
          next = newNode()
          node.next.set(labels[name], next)
        }
        node = next
      }
      node.labels ??= labels
      node.count += 1
    },
  }
}

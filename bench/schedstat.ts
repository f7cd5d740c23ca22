// What a process has used, read from /proc: CPU in nanoseconds over all its threads, and resident
// memory. Linux only. Never signals a process. Called by the benchmark.

import { readdirSync, readFileSync } from 'node:fs'

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // a thread or process may end between listing and reading
  }
}

/** CPU time of all living threads, in nanoseconds; 0 for a process that has ended. */
export function cpuNanoseconds(pid: number): number {
  let tasks: string[] = []
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch {
    return 0
  }
  let sum = 0
  for (const task of tasks) {
    const text = read(`/proc/${pid}/task/${task}/schedstat`)
    sum += Number(text.split(' ')[0] ?? 0)
  }
  return sum
}

/** Resident memory in bytes; 0 for a process that has ended. */
export function residentBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))
  return found ? Number(found[1]) * 1024 : 0
}

/** Ids of all living descendants: the embedded chain's node runs below a watching shell. */
export function descendantsOf(pid: number): number[] {
  const text = read(`/proc/${pid}/task/${pid}/children`)
  const children = text.split(' ').filter(Boolean).map(Number)
  return children.flatMap((child) => [child, ...descendantsOf(child)])
}

/** True when some process on this machine has the UDP port open (any address). */
export function udpPortOpen(port: number): boolean {
  const needle = `:${port.toString(16).toUpperCase().padStart(4, '0')} `
  return ['/proc/net/udp', '/proc/net/udp6'].some((table) => read(table).includes(needle))
}

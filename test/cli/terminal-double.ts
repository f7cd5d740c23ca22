// A terminal that remembers: verbs run in the test's own process, their lines are looked at
// afterwards.

import { runCommand } from '../../cli/dispatch.ts'
import type { Terminal } from '../../cli/terminal.ts'

/** What a command said and how it ended. */
export interface Spoken {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Surroundings of a command; `answers` make it a terminal with a person at it. */
export interface Surroundings {
  readonly env?: Record<string, string>
  readonly answers?: readonly string[]
  readonly nowMs?: number
}

/** A terminal and what was written to it. */
export function fakeTerminal(o: Surroundings = {}) {
  const out: string[] = []
  const err: string[] = []
  const answers = o.answers === undefined ? undefined : [...o.answers]
  const terminal: Terminal = {
    env: o.env ?? {},
    now: () => o.nowMs ?? Date.now(),
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    askHidden:
      answers === undefined
        ? undefined
        : async (question) => {
            err.push(question)
            const answer = answers.shift()
            if (answer === undefined) throw new Error('asked once too often')
            return answer
          },
  }
  return { terminal, out, err }
}

/** Runs one command line as `datanet` would. */
export async function datanet(args: readonly string[], o: Surroundings = {}): Promise<Spoken> {
  const { terminal, out, err } = fakeTerminal(o)
  const code = await runCommand(args, terminal)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

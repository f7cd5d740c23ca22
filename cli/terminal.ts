// The edge of a command: where its lines go, what it is told by the environment, and how it asks
// for a password. Verbs write only through this, so a test can run one without a process.

import { CommandError, Exit, exitOf } from './exit.ts'

/** What a verb sees of the world outside its arguments. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly now: () => number
  /** One line for whoever called: answers, JSON. */
  readonly out: (line: string) => void
  /** One line for whoever watches: progress, warnings, errors. */
  readonly err: (line: string) => void
  /** Asks without echo; undefined where no person is there to answer. */
  readonly askHidden: ((question: string) => Promise<string>) | undefined
}

/** The terminal of this process; `now` in milliseconds since 1970. */
export function processTerminal(): Terminal {
  process.stdout.on('error', unwritten)
  process.stderr.on('error', () => undefined) // there is nowhere left to say it
  const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true
  return {
    env: process.env,
    now: Date.now,
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
    askHidden: interactive ? askHidden : undefined,
  }
}

/**
 * Output that nobody takes any more (`datanet ledger | head -3`) is dropped, and the work goes on:
 * what pays, moves money or serves must not stop halfway for want of a reader. So a command always
 * comes to its end, and ends with its own exit code, not with 141 as one that SIGPIPE has killed.
 * A disk that is full is a failure: what was asked for is not all there.
 */
function unwritten(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return
  const { code, message } = exitOf(error)
  if (process.exitCode === undefined || process.exitCode === 0) {
    process.stderr.write(`datanet: ${message}\n`)
  }
  process.exitCode = code
}

// Longer than any pass phrase a person types; a pasted file stops here instead of filling memory.
const ANSWER_LENGTH_MAX = 1024
const INTERRUPT = '\u0003'
const END_OF_INPUT = '\u0004'

function askHidden(question: string): Promise<string> {
  const { stdin, stderr } = process
  stdin.setRawMode(true) // before the question: what is typed at once must not be echoed
  stderr.write(question)
  stdin.setEncoding('utf8')
  stdin.resume()
  return new Promise((resolve, reject) => {
    let answer = ''
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
      settle()
    }
    const onData = (text: string): void => {
      for (const character of text) {
        if (character === '\r' || character === '\n') {
          finish(() => resolve(answer))
          return
        }
        if (character === INTERRUPT || character === END_OF_INPUT) {
          finish(() => reject(new CommandError(Exit.usage, 'no password typed')))
          return
        }
        if (character === '\u007f' || character === '\b') answer = [...answer].slice(0, -1).join('')
        else if (answer.length < ANSWER_LENGTH_MAX && character >= ' ') answer += character
      }
    }
    stdin.on('data', onData)
  })
}

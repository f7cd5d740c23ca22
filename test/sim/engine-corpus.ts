// The committed flights of test/vectors/tls/, said by real peers or written by hand, for the tests
// that put the native TLS engine through them, whole and bent. It reads the files and judges
// nothing.
//
// Format: `conversation NAME` begins one; `flight WORDS` begins a flight of the peer, WORDS what it
// led to when it was recorded; `hex` lines are its octets; `count N` ends the file, N its flights.

import { readdirSync, readFileSync } from 'node:fs'

export interface Flight {
  readonly bytes: Buffer
  /** `continue`, `established`, or `failed` and the reason. */
  readonly led: string
}

export interface RecordedConversation {
  /** The file and the name in it. */
  readonly name: string
  readonly flights: readonly Flight[]
}

const FOLDER = new URL('../vectors/tls/', import.meta.url)

/** Every recorded conversation; throws where a file is not as long as it says. */
export function readCorpus(): RecordedConversation[] {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))
  return files.sort().flatMap((file) => {
    const conversations: { name: string; flights: { bytes: Buffer; led: string }[] }[] = []
    let count = -1
    for (const line of readFileSync(new URL(file, FOLDER), 'utf8').split('\n')) {
      const [, word = '', text = ''] = /^(\S+) ?(.*)$/.exec(line) ?? []
      const flights = conversations.at(-1)?.flights ?? []
      const flight = flights.at(-1)
      if (word === '' || word === '#') continue
      else if (word === 'conversation')
        conversations.push({ name: `${file}: ${text}`, flights: [] })
      else if (word === 'flight') flights.push({ bytes: Buffer.alloc(0), led: text })
      else if (word === 'hex' && flight !== undefined) {
        flight.bytes = Buffer.concat([flight.bytes, Buffer.from(text, 'hex')])
      } else if (word === 'count') count = Number(text)
      else throw new Error(`${file}: ${line}`)
    }
    const flights = conversations.reduce((sum, { flights }) => sum + flights.length, 0)
    if (flights !== count) throw new Error(`${file}: ${flights} flights of ${count}`)
    return conversations
  })
}

/** Every recorded flight, whatever it led to. */
export const readFlights = (): Buffer[] =>
  readCorpus().flatMap(({ flights }) => flights.map(({ bytes }) => bytes))

// The one error of this room: a code from a closed union for programs and metrics, a sentence that
// says what to do for people. Texts never carry a key, nor an RPC url beyond its host (urls hold
// API keys).

/** Why something about the chain failed; the code is stable, the message is for people. */
export type ChainErrorCode =
  | 'chain-unreachable'
  | 'rpc-error'
  | 'answer-too-large'
  | 'wrong-chain-id'
  | 'node-behind'
  | 'contract-missing'
  | 'contract-mismatch'
  | 'contract-not-set'
  | 'deployment-unreadable'
  | 'dev-key-on-public-chain'
  | 'insufficient-funds'
  | 'transaction-failed'
  | 'transaction-timeout'
  | 'operator-retired'
  | 'anvil-missing'
  | 'anvil-failed'
  | 'chain-directory-in-use'
  | 'snapshot-unreadable'
  | 'snapshot-failed'
  | 'account-refused'
  | 'stopped'

export class ChainError extends Error {
  readonly code: ChainErrorCode
  constructor(code: ChainErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'ChainError'
    this.code = code
  }
}

/** The text of anything thrown, for a log line. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  // fetch hides the useful part (ECONNREFUSED and the like) in `cause`.
  const cause = thrown.cause instanceof Error ? `: ${thrown.cause.message}` : ''
  return `${thrown.message}${thrown instanceof ChainError ? '' : cause}`
}

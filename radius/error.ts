// The one error of this room. Every refusal of outside bytes, and of values that cannot be written,
// has a code from the closed list below; callers count packets by it and say nothing on the wire.

/** Why a packet, an attribute or a value was refused; also the label of the drop counters. */
export type RadiusErrorCode =
  | 'packet-too-short'
  | 'packet-too-long'
  | 'length-too-small'
  | 'length-too-large'
  | 'length-beyond-packet'
  | 'code-unknown'
  | 'code-unexpected'
  | 'identifier-mismatch'
  | 'attribute-truncated'
  | 'attribute-too-short'
  | 'attribute-past-end'
  | 'attribute-type-zero'
  | 'attribute-type-invalid'
  | 'attributes-too-many'
  | 'message-authenticator-length'
  | 'message-authenticator-repeated'
  | 'message-authenticator-missing'
  | 'message-authenticator-wrong'
  | 'proxy-state-unprotected'
  | 'authenticator-wrong'
  | 'authenticator-length'
  | 'secret-length'
  | 'eap-message-scattered'
  | 'eap-with-password'
  | 'hidden-malformed'
  | 'value-malformed'
  | 'value-too-long'
  | 'name-unknown'
  | 'dictionary-malformed'

/**
 * A refusal: `code` says which rule, the message adds the numbers that disagree, never a secret.
 */
export class RadiusError extends Error {
  override readonly name = 'RadiusError'
  readonly code: RadiusErrorCode

  constructor(code: RadiusErrorCode, detail: string) {
    super(`${code}: ${detail}`)
    this.code = code
  }
}

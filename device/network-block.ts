// How a network block of wpa_supplicant.conf tells its operator: by id_str, which wpa_supplicant
// gives back with every connection. Pure text. Called by enrolment, renewal and run.

/** The CA of the operator a device was made with; others are `operator-ID-ca.pem`. */
export const CA_FILE = 'operator-ca.pem'

const MARK = /^\s*id_str="datanet:([1-9]\d{0,9})"\s*$/m

/** The block with its operator's mark. */
export const blockText = (block: string, operatorId: number): string =>
  block.replace(/\n\}\s*$/, `\n\tid_str="datanet:${operatorId}"\n}\n`)

/**
 * The operator a block is for; undefined for one without a mark (the first, or the person's own).
 */
export function blockOperator(block: string): number | undefined {
  const id = MARK.exec(block)?.[1]
  return id === undefined ? undefined : Number(id)
}

/** The operator of a connection, by the id_str that wpa_supplicant reports. */
export function linkOperator(idText: string): number | undefined {
  const id = /^datanet:([1-9]\d{0,9})$/.exec(idText)?.[1]
  return id === undefined ? undefined : Number(id)
}

/** The CA file of a further operator. */
export const operatorCaFile = (operatorId: number): string => `operator-${operatorId}-ca.pem`

/** The CA file a block refers to. */
export function caFileOf(block: string): string {
  const operatorId = blockOperator(block)
  return operatorId === undefined ? CA_FILE : operatorCaFile(operatorId)
}

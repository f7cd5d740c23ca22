// Types of the one file of node-forge that is loaded for DER: the whole package costs 9 MB and 40 ms,
// lib/asn1.js a tenth of that, and @types/node-forge describes only the whole package.

declare module 'node-forge/lib/asn1.js' {
  /** One DER value; `value` holds bytes as a latin1 string, or the children of a constructed value. */
  export interface Asn1 {
    readonly tagClass: number
    readonly type: number
    readonly constructed: boolean
    readonly value: string | readonly Asn1[]
  }
  interface Bytes {
    getBytes(): string
  }
  interface FromDerOptions {
    readonly strict: boolean
    readonly parseAllBytes: boolean
    readonly decodeBitStrings: boolean
    readonly maxDepth: number
  }
  const asn1: {
    create(tagClass: number, type: number, constructed: boolean, value: string | Asn1[]): Asn1
    fromDer(bytes: string, options: FromDerOptions): Asn1
    toDer(node: Asn1): Bytes
    oidToDer(dotted: string): Bytes
  }
  export default asn1
}

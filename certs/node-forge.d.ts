// Types of the files of node-forge that are loaded by themselves: the whole package costs 9 MB and
// 40 ms, lib/asn1.js a tenth of that, and @types/node-forge describes only the whole.

declare module 'node-forge/lib/asn1.js' {
  /**
   * One DER value; `value` holds bytes as a latin1 string, or the children of a constructed value.
   */
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

declare module 'node-forge/lib/util.js' {
  export interface ByteBuffer {
    getBytes(): string
  }
  const util: {
    /** A buffer of bytes given as a latin1 string. */
    createBuffer(bytes: string): ByteBuffer
  }
  export default util
}

declare module 'node-forge/lib/pbe.js' {
  import type { ByteBuffer } from 'node-forge/lib/util.js'

  const pbe: {
    /** RFC 7292 appendix B.2 with SHA-1; `purpose` is 1 key, 2 IV, 3 MAC. */
    generatePkcs12Key(
      password: string,
      salt: ByteBuffer,
      purpose: number,
      iterations: number,
      length: number,
    ): ByteBuffer
  }
  export default pbe
}

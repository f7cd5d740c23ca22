// What attributes are called and how their values are typed, from FreeRADIUS v3 dictionary files
// read unchanged. Loads files through the function it is given, so it does no I/O of its own; the
// grammar of a line is dictionary-parse.ts's. attributes.ts decodes and encodes with the result.

import type { DataType } from './data-type.ts'
import { createBuilder, finishBuilder, parseLine } from './dictionary-parse.ts'
import { RadiusError } from './error.ts'

/** A vendor and how its sub-attributes are framed (`format=typeLength,lengthLength[,c]`). */
export interface Vendor {
  readonly name: string
  readonly number: number
  readonly typeLength: 1 | 2 | 4
  readonly lengthLength: 0 | 1 | 2
  /** WiMAX: an octet behind the length whose top bit says that the next attribute goes on. */
  readonly continuation: boolean
}

/**
 * One attribute. `path` is its OID on the wire: 1, 26.311.16, 241.7, 245.26.11344.3, 26.24757.1.2.
 */
export interface Definition {
  readonly name: string
  readonly path: readonly number[]
  readonly type: DataType
  /** Octets of `octets[n]`. */
  readonly length: number | undefined
  /** RFC 2868: a tag octet comes first. */
  readonly tagged: boolean
  /** encrypt=1 User-Password, 2 Tunnel-Password, 3 Ascend; 0 in the clear. */
  readonly hidden: 0 | 1 | 2 | 3
  /** RFC 8044 §3.6: one value over several attributes. */
  readonly concat: boolean
  readonly values: ReadonlyMap<string, number>
  readonly valueNames: ReadonlyMap<number, string>
}

/** All loaded definitions. Names are found in any letter case; later definitions win. */
export interface Dictionary {
  readonly byName: ReadonlyMap<string, Definition>
  readonly byPath: ReadonlyMap<string, Definition>
  readonly vendors: ReadonlyMap<number, Vendor>
}

/** Reads a file as text; throws an error with `code` ENOENT where there is none. */
export type ReadFile = (path: string) => string

/** Includes inside includes; FreeRADIUS's own files need two levels. */
const includeDepthMax = 16

/** An unknown vendor is framed as RFC 2865 §5.26 suggests. */
export const standardVendor: Omit<Vendor, 'name' | 'number'> = {
  typeLength: 1,
  lengthLength: 1,
  continuation: false,
}

/**
 * Loads `root` and all it includes. Throws RadiusError `dictionary-malformed` with file and line
 * where a line cannot be understood, and whatever `readFile` throws for a file that must exist.
 */
export function loadDictionary(readFile: ReadFile, root: string): Dictionary {
  return loadDictionaries(readFile, [root])
}

/** Loads several roots into one dictionary, later ones on top. */
export function loadDictionaries(readFile: ReadFile, roots: readonly string[]): Dictionary {
  const builder = createBuilder()
  const load = (path: string, content: string, open: readonly string[]): void => {
    for (const [i, line] of content.split('\n').entries()) {
      const where = `${path}:${i + 1}`
      const include = parseLine(builder, line, where)
      if (include === undefined) continue
      const target = include.path.startsWith('/')
        ? include.path
        : path.slice(0, path.lastIndexOf('/') + 1) + include.path
      if (open.includes(target) || open.length >= includeDepthMax) {
        throw new RadiusError('dictionary-malformed', `${where}: ${target} includes itself`)
      }
      const included = readIncluded(readFile, target, include.optional)
      if (included !== undefined) load(target, included, [...open, target])
    }
  }
  for (const root of roots) load(root, readFile(root), [root])
  return finishBuilder(builder)
}

function readIncluded(readFile: ReadFile, path: string, optional: boolean): string | undefined {
  try {
    return readFile(path)
  } catch (error) {
    if (optional && error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return undefined
    }
    throw error
  }
}

/** The definition of this name, in any letter case. */
export function findByName(dictionary: Dictionary, name: string): Definition | undefined {
  return dictionary.byName.get(name.toLowerCase())
}

/** The definition at this OID. */
export function findByPath(
  dictionary: Dictionary,
  path: readonly number[],
): Definition | undefined {
  return dictionary.byPath.get(path.join('.'))
}

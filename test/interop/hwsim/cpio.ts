// Writes a cpio archive in the "newc" form, which the kernel unpacks as its first root
// (Documentation/driver-api/early-userspace/buffer-format.rst). Owns the byte layout; knows nothing
// of what is in it. Called by image.ts.

/** One entry; the path has no leading slash. Folders come before what is in them. */
export type Entry =
  | { readonly path: string; readonly kind: 'folder' }
  | {
      readonly path: string
      readonly kind: 'file'
      readonly bytes: Uint8Array
      readonly executable: boolean
    }

const MODE = { folder: 0o040755, program: 0o100755, data: 0o100644 }
const TRAILER = 'TRAILER!!!'

const padding = (length: number) => Buffer.alloc((4 - (length % 4)) % 4)
const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')

function record(inode: number, path: string, mode: number, bytes: Uint8Array): Buffer {
  const name = Buffer.from(`${path}\0`)
  const links = mode === MODE.folder ? 2 : 1
  // c_ino, mode, uid, gid, nlink, mtime, filesize, four device numbers, namesize, check.
  const fields = [inode, mode, 0, 0, links, 0, bytes.length, 0, 0, 0, 0, name.length, 0]
  const header = Buffer.from(`070701${fields.map(hex).join('')}`)
  const head = Buffer.concat([header, name])
  return Buffer.concat([head, padding(head.length), bytes, padding(bytes.length)])
}

/** The whole archive; everything in it belongs to root and has no time. */
export function cpio(entries: readonly Entry[]): Buffer {
  const nothing = Buffer.alloc(0)
  const records = entries.map((entry, index) => {
    if (entry.kind === 'folder') return record(index + 1, entry.path, MODE.folder, nothing)
    return record(index + 1, entry.path, entry.executable ? MODE.program : MODE.data, entry.bytes)
  })
  return Buffer.concat([...records, record(0, TRAILER, 0, nothing)])
}

// Rows of text as lines with columns, for the verbs that list something. Prints nothing itself.

/** Without control characters: what others chose (names, symbols) must not steer a terminal. */
export const printable = (text: string): string => text.replace(/\p{C}+/gu, ' ')

/** One line a row; each column as wide as its widest cell. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(printable))
  const widths = (cells[0] ?? []).map((_, i) =>
    Math.max(...cells.map((row) => row[i]?.length ?? 0)),
  )
  return cells.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

// Numbers for people: medians, percentiles, ratios with their verdict, and tables of aligned
// columns. Pure. Called by the benchmarks.

/** The value below which `part` (0..1) of the sorted values lie; NaN of nothing. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const index = Math.min(sorted.length - 1, Math.floor(part * sorted.length))
  return sorted[index] ?? Number.NaN
}

/** Median; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/**
 * `0.72`, or `0.95 (draw)` where the difference is under 10 %: less is not resolvable by this
 * method.
 */
export function ratio(ours: number, theirs: number): string {
  const value = ours / theirs
  if (!Number.isFinite(value)) return '-'
  return Math.abs(value - 1) < 0.1 ? `${value.toFixed(2)} (draw)` : value.toFixed(2)
}

/** A number with the given decimals, `-` where there is none. */
export function figure(value: number | undefined, decimals = 0): string {
  return value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(decimals)
}

/** Rows of text as aligned columns under a title; the first row is the heading. */
export function table(title: string, rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length)
    })
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  const [heading = [], ...body] = rows
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return [title, line(heading), rule, ...body.map(line), ''].join('\n')
}

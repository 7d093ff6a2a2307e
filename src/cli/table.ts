/** Rows as text, each column as wide as its widest cell. Characters that would steer a terminal are shown as `?`. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const clean = rows.map(row => row.map(cell => cell.replace(/\p{Cc}/gu, '?')))
  const widths = clean.reduce<number[]>(
    (most, row) => row.map((cell, at) => Math.max(cell.length, most[at] ?? 0)).concat(most.slice(row.length)),
    [],
  )
  return clean
    .map(
      row =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

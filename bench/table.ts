/** One line of the table: a figure against its limit in the same run, and against its goal. */
export interface Row {
  readonly figure: string
  readonly measured: string
  /** The best possible value, as measured in this run; empty if there is none. */
  readonly limit: string
  /** Measured to limit. */
  readonly ratio: string
  readonly goal: string
  /** Whether the goal is reached; null where there is none. */
  readonly ok: boolean | null
}

const columns = ['figure', 'measured', 'limit', 'ratio', 'goal', 'ok'] as const

/**
 * The rows as a Markdown table, padded so that a terminal shows it as well.
 * @param before rows of another version, for columns beside those of this one
 */
export function renderTable (rows: readonly Row[], before?: readonly Row[]): string {
  const own = rows.map(row => columns.map(column => column === 'ok' ? okText(row.ok) : row[column]))
  if (before === undefined) return render(columns, own)
  const beside = rows.map(({ figure }) => {
    const row = before.find(row => row.figure === figure)
    return [row?.measured ?? '', row?.ratio ?? '']
  })
  const cells = own.map(([figure = '', ...others], index) => [figure, ...beside[index] ?? [], ...others])
  return render(['figure', 'before', 'its ratio', ...columns.slice(1)], cells)
}

function render (columns: readonly string[], cells: ReadonlyArray<readonly string[]>): string {
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map(row => row[index]?.length ?? 0)))
  const line = (texts: readonly string[]) =>
    `| ${texts.map((text, index) => text.padEnd(widths[index] ?? 0)).join(' | ')} |\n`
  return line(columns) + line(widths.map(width => '-'.repeat(width))) + cells.map(line).join('')
}

function okText (ok: boolean | null): string {
  return ok === null ? '' : ok ? 'yes' : 'NO'
}

/** The output of commands on stdout: JSON for programs, tables for people. */

/** A column of a table: the heading, and a function that returns the cell of a row. */
export type Column<R> = readonly [heading: string, cell: (row: R) => unknown]

/** Prints a command's result: as JSON with `--json`, otherwise by `forPeople`. */
export function printResult<T>({ json }: { json?: boolean }, result: T, forPeople: (result: T) => void): void {
  if (json) printJson(result)
  else forPeople(result)
}

/** Prints one line of JSON. Unset fields are null, times are ISO 8601. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, (_key, field: unknown) => (field === undefined ? null : field)))
}

/** Prints a line. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Prints a line on stderr, beside a result that is worth a second look. */
export function printWarning(line: string): void {
  process.stderr.write(`warning: ${line}\n`)
}

/** Prints rows under headings, or `empty` without any row. */
export function printTable<R>(rows: readonly R[], columns: readonly Column<R>[], empty: string): void {
  if (rows.length === 0) {
    print(empty)
    return
  }
  const lines = [
    columns.map(([heading]) => heading),
    ...rows.map(row => columns.map(([, cell]) => cellText(cell(row)))),
  ]
  const widths = columns.map((_, index) => Math.max(...lines.map(line => line[index]?.length ?? 0)))
  for (const line of lines)
    print(
      line
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

/** Prints one line for each field, with the name and the value. */
export function printFields(fields: Readonly<Record<string, unknown>>): void {
  const width = Math.max(...Object.keys(fields).map(name => name.length))
  for (const [name, value] of Object.entries(fields)) print(`${name.padEnd(width)}  ${cellText(value)}`)
}

/** Returns a value as one line; `-` stands for no value. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (value instanceof Date) return value.toISOString()
  return visible(typeof value === 'string' ? value : JSON.stringify(value))
}

/**
 * Returns the text with visible control characters: the words of clients and models must not steer the operator's
 * terminal.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, escapeOf)
}

function escapeOf(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Comma-separated values (RFC 4180), which spreadsheets read as values and never as formulas. */

/** Returns one line, with its end. */
export function csvLine(cells: readonly unknown[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`
}

/**
 * Returns a cell. A text that a spreadsheet would take for a formula, in any of the ways that it may begin, begins with
 * an apostrophe; a number is no text.
 */
export function csvCell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  if (value instanceof Date) return value.toISOString()
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const safe = formula.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** Blanks and quotes before the sign do not stop every program; full-width signs count in some. */
const formula = /^[\s"']*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20|%]/u

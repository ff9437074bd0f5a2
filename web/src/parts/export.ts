/** Rows as files. */

type Value = string | number | bigint | null | undefined

/** Returns rows as CSV (RFC 4180) with a first line of names. */
export function toCsv(names: readonly string[], rows: readonly Readonly<Record<string, Value>>[]): string {
  const lines = rows.map(row => names.map(name => csvField(row[name])).join(','))
  return `${[names.join(','), ...lines].join('\r\n')}\r\n`
}

/** A text that begins as a formula would is led by an apostrophe: spreadsheets would run it. */
function csvField(value: Value): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Returns rows as JSON Lines. */
export function toJsonLines(rows: readonly object[]): string {
  return rows
    .map(row => `${JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? String(value) : value))}\n`)
    .join('')
}

/** Lets the browser save a text as a file. */
export function saveFile(name: string, type: string, text: string | Blob): void {
  const url = URL.createObjectURL(typeof text === 'string' ? new Blob([text], { type }) : text)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

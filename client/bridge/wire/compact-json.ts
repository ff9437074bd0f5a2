/**
 * Removes the white space between the tokens of JSON text. Everything else stays as it was written: numbers are not
 * rounded, keys not reordered. Text that is not JSON is returned as it is.
 */
export function compactJson(text: string): string {
  try {
    JSON.parse(text)
  } catch {
    return text // a tool's input may be cut short, and is then recorded as it was received
  }
  return text.replace(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, (_, quoted: string | undefined) => quoted ?? '')
}

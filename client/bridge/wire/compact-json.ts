/**
 * JSON without the whitespace between its tokens, everything else as it was written (numbers are not rounded, keys not reordered).
 * Text that is no JSON comes back as it is.
 */
export function compactJson(text: string): string {
  try {
    JSON.parse(text)
  } catch {
    return text // a tool's input may be cut short; it is recorded as it came
  }
  return text.replace(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, (_, quoted: string | undefined) => quoted ?? '')
}

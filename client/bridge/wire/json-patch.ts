/** Changes one member of a JSON object in its text. Every other byte stays as it was written. */
import type { JsonValue } from '../../../shared/values/text.js'

const bytesOf = (text: string) => new Set(Buffer.from(text))
const [quote = 0, backslash = 0, comma = 0, openBrace = 0, closeBrace = 0] = Buffer.from('"\\,{}')
const openers = bytesOf('[{')
const closers = bytesOf(']}')
const spaces = bytesOf(' \t\n\r')
const scalarEnds = bytesOf(' \t\n\r,]}')

/**
 * Returns the body with one member set, in pieces: those of the body share its memory, so that nothing is copied.
 * Objects on the path are made where they are missing or where another value stands. Of several members with one name
 * the last counts, as for `JSON.parse`.
 * @param body JSON text of an object, which `JSON.parse` has accepted
 * @param path names of members, from the outermost object inwards
 */
export function setMember(body: Buffer, path: readonly [string, ...string[]], value: JsonValue): Buffer[] {
  let [name, ...rest] = path
  let object = skipSpaces(body, 0)
  for (;;) {
    const found = findMember(body, object, name)
    const [next, ...deeper] = rest
    if (next === undefined || !found.value || body[found.value.start] !== openBrace) {
      const text = JSON.stringify(rest.reduceRight<JsonValue>((inner, key) => ({ [key]: inner }), value))
      if (found.value) return splice(body, found.value.start, found.value.end, text)
      return splice(body, found.end, found.end, `${found.isEmpty ? '' : ','}${JSON.stringify(name)}:${text}`)
    }
    object = found.value.start
    name = next
    rest = deeper
  }
}

interface Found {
  /** range of the value of the last member with the name */
  value: { start: number; end: number } | undefined
  /** position behind the last member, or behind the opening brace */
  end: number
  isEmpty: boolean
}

function findMember(body: Buffer, object: number, name: string): Found {
  const found: Found = { value: undefined, end: object + 1, isEmpty: true }
  for (let at = skipSpaces(body, object + 1); at < body.length && body[at] !== closeBrace; ) {
    if (body[at] === comma) at = skipSpaces(body, at + 1)
    const keyEnd = endOfString(body, at)
    const key = body.toString('utf8', at + 1, keyEnd - 1)
    const isNamed = key === name || (key.includes('\\') && JSON.parse(`"${key}"`) === name)
    const start = skipSpaces(body, skipSpaces(body, keyEnd) + 1) // behind the colon
    const end = endOfValue(body, start)
    if (isNamed) found.value = { start, end }
    found.end = end
    found.isEmpty = false
    at = skipSpaces(body, end)
  }
  return found
}

function skipSpaces(body: Buffer, at: number): number {
  while (spaces.has(body[at] ?? quote)) at++
  return at
}

/** @param start position of the opening quote */
function endOfString(body: Buffer, start: number): number {
  for (let at = start + 1; ; at++) {
    at = body.indexOf(quote, at)
    let escapes = 0
    while (body[at - 1 - escapes] === backslash) escapes++
    if (escapes % 2 === 0) return at + 1
  }
}

function endOfValue(body: Buffer, start: number): number {
  const first = body[start] ?? 0
  if (first === quote) return endOfString(body, start)
  let at = start + 1
  if (!openers.has(first)) {
    // A number or a word.
    while (at < body.length && !scalarEnds.has(body[at] ?? 0)) at++
    return at
  }
  for (let depth = 1; depth > 0; ) {
    const byte = body[at] ?? 0
    if (byte === quote) at = endOfString(body, at)
    else {
      if (openers.has(byte)) depth++
      else if (closers.has(byte)) depth--
      at++
    }
  }
  return at
}

function splice(body: Buffer, start: number, end: number, text: string): Buffer[] {
  return [body.subarray(0, start), Buffer.from(text), body.subarray(end)]
}

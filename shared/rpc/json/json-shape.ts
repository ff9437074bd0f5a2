/**
 * The shape of JSON text, found without a parser: a few bytes of text can stand for a hundred times as many bytes of
 * memory, or for more levels than any recursion survives.
 */
import { maxContainers, maxDepth } from '../limits.js'

/** Numbers of a JSON text, and the fault that makes it unfit for a parser. */
export interface JsonShape {
  /** objects and arrays */
  readonly containers: number
  /** commas and colons outside of strings: about the number of values and keys */
  readonly separators: number
  readonly fault: string | undefined
}

/** Text up to this length has no fault: a level takes two characters. */
const shapelessLength = 2 * maxDepth

/** The fault of a value with more than {@link maxDepth} levels; the same words on every link. */
export const nestedTooDeeply = `it is nested deeper than ${maxDepth.toLocaleString('en')} levels`

/** The fault of a message of more than {@link maxContainers}. */
export const tooManyContainers = `it has more than ${maxContainers.toLocaleString('en')} objects and arrays`

const quote = 0x22
const backslash = 0x5c
/** `[` and `{` differ in this bit only, and so do `]` and `}`. */
const braceBit = 0x20
const openBrace = 0x7b
const closeBrace = 0x7d
const comma = 0x2c
const colon = 0x3a

/**
 * Counts the parts of a JSON text, and stops at the first fault. Faults of syntax are left to the parser.
 * @param onItem gets the place of each item of the outermost array
 */
export function jsonShape(text: string, onItem?: (start: number, end: number) => void): JsonShape {
  let depth = 0
  let containers = 0
  let separators = 0
  let itemStart = 0
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index)
    if (char === quote) index = endOfString(text, index)
    else if (char === comma || char === colon) {
      separators++
      if (onItem && depth === 1 && char === comma) {
        onItem(itemStart, index)
        itemStart = index + 1
      }
    } else if ((char | braceBit) === openBrace) {
      containers++
      if (++depth === 1) itemStart = index + 1
      if (depth > maxDepth) return { containers, separators, fault: nestedTooDeeply }
      if (containers > maxContainers) return { containers, separators, fault: tooManyContainers }
    } else if ((char | braceBit) === closeBrace && --depth === 0) onItem?.(itemStart, index)
  }
  return { containers, separators, fault: undefined }
}

/** Returns the fault of a JSON text. Most texts are short, or have too few objects and arrays for a fault. */
export function shapeFault(text: string): string | undefined {
  return text.length <= shapelessLength || hasFewContainers(text) ? undefined : jsonShape(text).fault
}

/** A search for one character takes a tenth of the time of {@link jsonShape}. */
function hasFewContainers(text: string): boolean {
  let left = maxDepth
  for (const open of ['{', '[']) {
    for (let index = text.indexOf(open); index >= 0; index = text.indexOf(open, index + 1))
      if (left-- === 0) return false
  }
  return true
}

/** Longest string that is read character by character: a search has a price of its own. */
const shortString = 32

/** Returns the place of the closing quote, or the end of an unfinished text. */
function endOfString(text: string, start: number): number {
  const stop = start + shortString
  let index = start + 1
  for (; index < stop; index++) {
    const char = text.charCodeAt(index)
    if (char === quote) return index
    if (char === backslash) index++
  }
  for (;;) {
    index = text.indexOf('"', index)
    if (index < 0) return text.length
    let before = index - 1
    while (text.charCodeAt(before) === backslash) before--
    // After an even number of backslashes the quote is no part of the string.
    if ((index - before) % 2 === 1) return index
    index++
  }
}

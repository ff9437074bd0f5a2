/** Leaves tools out of lists: of a JSON response, and of the events of a stream. Every other byte passes unchanged. */
import { isPlainObject } from '../../../shared/values/text.js'
import { EventSplitter } from '../wire/event-splitter.js'
import { arrayText, JsonEdits } from '../wire/json-edit.js'
import { JsonNode } from '../wire/json-node.js'
import type { ToolFilter } from './tool-filter.js'

/** Edits the body of a response on its way. */
export interface BodyEdit {
  /**
   * Takes a chunk and returns the bytes to pass on now.
   * @throws TooLarge if more would have to be held than the bound; Unreadable
   */
  push(chunk: Buffer): Buffer
  /** Returns the bytes to pass on behind the last chunk. @throws Unreadable */
  end(): Buffer
}

/** A message that has to be read is larger than the bound. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge'
}

/** A message that may hold a list is no JSON: a lenient client might find tools in it. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable'
}

/**
 * Returns a JSON text of one or more messages without the tools that are not offered, and without a byte order mark,
 * which clients skip and `JSON.parse` does not.
 * @throws Unreadable if the text is no JSON
 */
export function filterTools(whole: Buffer, offers: ToolFilter): Buffer {
  const text = whole.subarray(0, byteOrderMark.length).equals(byteOrderMark)
    ? whole.subarray(byteOrderMark.length)
    : whole
  const json = parsed(text)
  const root = JsonNode.of(text)
  const edits = new JsonEdits(root)
  let isChanged = false
  const messages: unknown[] = Array.isArray(json) ? json : [json]
  for (const [index, message] of messages.entries()) {
    const result = isPlainObject(message) ? message.result : undefined
    const tools: unknown = isPlainObject(result) ? result.tools : undefined
    const node = (Array.isArray(json) ? root.elements[index] : root)?.at('result', 'tools')
    if (!Array.isArray(tools) || !node) continue
    const kept = node.elements.filter((_, place) => isOffered(tools[place], offers))
    if (kept.length === tools.length) continue
    edits.replace(node, arrayText(kept.map(({ bytes }) => bytes)))
    isChanged = true
  }
  if (isChanged) return Buffer.concat(edits.pieces())
  return text.length === whole.length ? whole : text
}

function isOffered(tool: unknown, offers: ToolFilter): boolean {
  return !isPlainObject(tool) || typeof tool.name !== 'string' || offers(tool.name)
}

function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString())
  } catch {
    throw new Unreadable(`a message of ${text.length.toLocaleString('en')} bytes is not JSON`)
  }
}

/** Leaves tools out of a JSON body, which is held until its end. An empty body is no list. */
export class JsonListEdit implements BodyEdit {
  readonly #offers: ToolFilter
  readonly #maxBytes: number
  readonly #chunks: Buffer[] = []
  #bytes = 0

  constructor(offers: ToolFilter, maxBytes: number) {
    this.#offers = offers
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): Buffer {
    this.#bytes += chunk.length
    checkSize(this.#bytes, this.#maxBytes)
    this.#chunks.push(chunk)
    return nothing
  }

  end(): Buffer {
    const body = Buffer.concat(this.#chunks.splice(0))
    return body.length === 0 ? body : filterTools(body, this.#offers)
  }
}

/** Leaves tools out of the events of a stream. Each event passes as soon as its blank line is received. */
export class StreamListEdit implements BodyEdit {
  readonly #offers: ToolFilter
  readonly #maxBytes: number
  readonly #splitter = new EventSplitter()
  #held: Buffer[] = []
  #heldBytes = 0

  constructor(offers: ToolFilter, maxBytes: number) {
    this.#offers = offers
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): Buffer {
    const passed: Buffer[] = []
    let start = 0
    for (const { type, beginsLine, end } of this.#splitter.split(chunk)) {
      // A comment between events, such as a sign of life, and the second half of a CRLF belong to no event.
      const isFree = this.#heldBytes === 0 && (type === 'lineFeed' || (type === 'line' && beginsLine))
      const isComment = chunk[start] === colon || type === 'lineFeed'
      if (type !== 'blank' && !(isFree && isComment)) {
        if (type === 'line' || type === 'lineFeed') {
          this.#hold(chunk.subarray(start, end))
          start = end
        }
        continue
      }
      const event = chunk.subarray(start, end)
      passed.push(type === 'blank' ? this.#edited(this.#take(event)) : event)
      start = end
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start))
    return passed.length === 1 ? (passed[0] ?? nothing) : Buffer.concat(passed)
  }

  end(): Buffer {
    return this.#edited(this.#take(nothing))
  }

  #hold(bytes: Buffer): void {
    this.#heldBytes += bytes.length
    checkSize(this.#heldBytes, this.#maxBytes)
    this.#held.push(bytes)
  }

  #take(rest: Buffer): Buffer {
    const event = this.#held.length === 0 ? rest : Buffer.concat([...this.#held, rest])
    this.#held = []
    this.#heldBytes = 0
    return event
  }

  #edited(event: Buffer): Buffer {
    // A name may be written with escapes.
    if (!event.includes('"tools"') && !event.includes('\\u')) return event
    const lines = linesOf(event)
    const data = lines.flatMap(line => dataOf(line) ?? [])
    const before = Buffer.from(data.join('\n'))
    const after = filterTools(before, this.#offers)
    if (after === before) return event
    const first = lines.findIndex(line => dataOf(line) !== undefined)
    const kept = lines.map((line, place) => {
      if (place === first) return dataLines(after.toString())
      return dataOf(line) === undefined ? line : ''
    })
    return Buffer.from(kept.join(''))
  }
}

const nothing = Buffer.alloc(0)
const byteOrderMark = Buffer.from('\ufeff')
const [colon = 0] = Buffer.from(':')

function checkSize(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return
  throw new TooLarge(`a message of the MCP server is larger than mcpMaxMessageBytes ${maxBytes.toLocaleString('en')}`)
}

/** Returns the lines of an event with their line ends. */
function linesOf(event: Buffer): string[] {
  return event.toString().match(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g) ?? []
}

function dataLines(text: string): string {
  return text
    .split('\n')
    .map(line => `data: ${line}\n`)
    .join('')
}

/** Returns the value of a line `data: …`; undefined for any other line. */
function dataOf(line: string): string | undefined {
  return /^\uFEFF?data(?::|(?=[\r\n]|$)) ?([^\r\n]*)/.exec(line)?.[1]
}

/** The result of a tool, which may hold anything, as parts for a model. */
import { toolLimits as limits } from '../../../shared/contract/limits.js'
import { cleanText, cutToBytes, isPlainObject, utf8Bytes } from '../../../shared/values/text.js'
import type { ToolResult, ToolResultPart } from './injected-tool.js'

/** The images that all APIs take, and how their bytes begin, as Latin-1. */
const imageTypes: Readonly<Record<string, RegExp>> = {
  'image/png': /^\x89PNG/,
  'image/jpeg': /^\xff\xd8\xff/,
  'image/gif': /^GIF8/,
  'image/webp': /^RIFF.{4}WEBP/s,
}

/** Bytes of a tool's error text that are recorded. */
const maxErrorBytes = 4_096

/**
 * Reads a result of `tools/call`. Text is cut at 256 KiB, images above their bound and content that models do not take
 * become notes, and a result without content is a note. Never throws.
 */
export function readToolResult(result: unknown): Omit<ToolResult, 'durationMs'> {
  const { content, structuredContent, isError } = isPlainObject(result) ? result : {}
  const parts = new Parts()
  for (const block of Array.isArray(content) ? content : []) addBlock(parts, block)
  if (!parts.hasText && structuredContent !== undefined) parts.addText(JSON.stringify(structuredContent) ?? 'null')
  const read = parts.finish()
  if (isError !== true) return { isError: false, parts: read }
  const error = read.map(part => (part.type === 'text' ? part.text : `[${part.mimeType}]`)).join('\n')
  return { isError: true, parts: read, error: cutToBytes(error, maxErrorBytes) }
}

function addBlock(parts: Parts, block: unknown): void {
  const { type, text, data, mimeType, resource, uri, name } = isPlainObject(block) ? block : {}
  if (type === 'text' && typeof text === 'string') parts.addText(text)
  else if (type === 'image') parts.addImage(data, mimeType)
  else if (type === 'audio') parts.addNote(`audio${kindOf(mimeType)} cannot be shown`)
  else if (type === 'resource') addResource(parts, resource)
  else if (type === 'resource_link' && typeof uri === 'string') {
    parts.addText(typeof name === 'string' && name !== '' ? `${name}: ${uri}` : uri)
  } else parts.addNote('content of an unknown kind cannot be shown')
}

function addResource(parts: Parts, resource: unknown): void {
  const { text, blob, mimeType, uri } = isPlainObject(resource) ? resource : {}
  if (typeof text === 'string') return parts.addText(text)
  const place = typeof uri === 'string' ? ` ${uri}` : ''
  if (typeof blob !== 'string') return parts.addNote(`resource${place} has no content`)
  if (imageTypeOf(blob) !== undefined) return parts.addImage(blob, mimeType)
  parts.addNote(`binary resource${place}${kindOf(mimeType)} cannot be shown`)
}

function kindOf(mimeType: unknown): string {
  return typeof mimeType === 'string' && /^[\w.+/-]{1,100}$/.test(mimeType) ? ` of type ${mimeType}` : ''
}

/** Parts within the bounds of a result. */
class Parts {
  readonly #parts: ToolResultPart[] = []
  #textBytes = 0
  #cutBytes = 0
  #imageBytes = 0
  #leftOut = 0
  /** whether the tool itself gave text */
  hasText = false

  addText(text: string): void {
    if (text !== '') this.hasText = true
    this.#push(text)
  }

  addNote(note: string): void {
    this.#push(`[${note}]`)
  }

  addImage(data: unknown, mimeType: unknown): void {
    const base64 = typeof data === 'string' ? data.replace(/\s+/g, '') : ''
    // A label that lies would fail the whole request at the provider.
    const realType = imageTypeOf(base64)
    if (realType === undefined) return this.addNote(`an image${kindOf(mimeType)} cannot be shown`)
    if (this.#imageBytes + base64.length > limits.maxImageBytes) {
      const [size, most] = [base64.length, limits.maxImageBytes].map(bytes => bytes.toLocaleString('en'))
      return this.addNote(`an image of ${size} bytes is left out; the images of a result may have ${most} bytes`)
    }
    if (!this.#hasRoom()) return
    this.#imageBytes += base64.length
    this.#parts.push({ type: 'image', mimeType: realType, base64 })
  }

  finish(): ToolResultPart[] {
    const notes: string[] = []
    if (this.#cutBytes > 0) notes.push(`the result is cut: ${this.#cutBytes.toLocaleString('en')} bytes more`)
    if (this.#leftOut > 0) notes.push(`the result is cut: ${this.#leftOut.toLocaleString('en')} parts more`)
    if (this.#parts.length === 0 && notes.length === 0) notes.push('the tool returned no content')
    for (const note of notes) this.#parts.push({ type: 'text', text: `[${note}]` })
    return this.#parts
  }

  #push(text: string): void {
    if (text === '' || !this.#hasRoom()) return
    const clean = cleanText(text)
    // Behind a cut nothing follows, so that the text is one beginning.
    const short = this.#cutBytes > 0 ? '' : cutToBytes(clean, limits.maxResultBytes - this.#textBytes)
    const bytes = utf8Bytes(short)
    if (short.length < clean.length) this.#cutBytes += utf8Bytes(clean) - bytes
    if (short === '') return
    this.#textBytes += bytes
    this.#parts.push({ type: 'text', text: short })
  }

  #hasRoom(): boolean {
    if (this.#parts.length < limits.maxParts) return true
    this.#leftOut++
    return false
  }
}

/** Returns the type of an image by its first bytes; undefined for any other data. */
function imageTypeOf(base64: string): string | undefined {
  if (base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined
  const begin = Buffer.from(base64.slice(0, 24), 'base64').toString('latin1')
  return Object.keys(imageTypes).find(type => imageTypes[type]?.test(begin))
}

/** The parts of a response while it streams. */
import type { LivePart, StoredPart } from '../../server/services/chats/model.js'
import { chatLimits } from '../../shared/contract/limits.js'
import { ModelError } from '../../shared/contract/model-error.js'
import { cleanText, utf8Bytes } from '../../shared/values/text.js'

/** parts of one response; a part takes some hundred bytes, whatever its content */
const maxParts = 1_000
/** JSON around the content of a part */
const partBytes = 100

/** A part whose content may still come. */
interface Slot {
  index: number
  /** text of a part that grows */
  text: string
  /** a half of a character, whose other half comes with the next piece */
  held: string
  part: StoredPart | undefined
  internal: string | undefined
}

/**
 * Collects the parts of one response in the order of their beginnings, and passes each piece on. Keys are the
 * provider's names of places. A response above `maxStoredMessageBytes` or 1,000 parts fails.
 */
export class ResponseParts {
  readonly #onPart: (part: LivePart) => void
  readonly #slots = new Map<string, Slot>()
  readonly #callIds = new Set<string>()
  readonly #urls = new Set<string>()
  #bytes = 0
  #pendingLength = 0

  constructor(onPart: (part: LivePart) => void) {
    this.#onPart = onPart
  }

  /** whether the response has a call of a tool */
  get hasCalls(): boolean {
    return this.#callIds.size > 0
  }

  /** Returns whether a key has a part, or a place kept for one. */
  has(key: string): boolean {
    return this.#slots.has(key)
  }

  /** Returns whether a key has a text that is not empty. */
  hasText(key: string): boolean {
    return (this.#slots.get(key)?.text ?? '') !== ''
  }

  /** Keeps the place of a part, whose content comes behind that of later parts. */
  reserve(key: string): void {
    this.#slot(key)
  }

  /** Adds a piece to a text. */
  append(key: string, type: 'text' | 'reasoning', piece: string): void {
    const slot = this.#slot(key)
    slot.part ??= { type, text: '' }
    const whole = slot.held + piece
    slot.held = /[\uD800-\uDBFF]$/.test(whole) ? whole.slice(-1) : ''
    this.#grow(slot, slot.held === '' ? whole : whole.slice(0, -1))
  }

  /** Sets the text of the provider that goes back to it with the part; a part without text may have one. */
  setInternal(key: string, type: 'text' | 'reasoning', internal: string): void {
    const slot = this.#slot(key)
    slot.part ??= { type, text: '' }
    this.#count(internal)
    slot.internal = internal
  }

  /** Adds a whole call of a tool. A second call with an id is dropped: a call runs once. */
  call(key: string, call: { id: string; name: string; input: string }, internal?: string): void {
    const toolCallId = cleanText(call.id)
    if (this.#callIds.has(toolCallId)) return
    const slot = this.#slot(key)
    for (const text of [call.id, call.name, call.input, internal ?? '']) this.#count(text)
    this.#callIds.add(toolCallId)
    slot.part = { type: 'tool-call', toolCallId, toolName: cleanText(call.name), input: cleanText(call.input) }
    slot.internal = internal
    this.#onPart({ role: 'assistant', index: slot.index, part: slot.part })
  }

  /** Adds a page that the model has cited; a repeated one is dropped. */
  source(url: string, title: string | undefined): void {
    const clean = cleanText(url)
    if (this.#urls.has(clean)) return
    this.#urls.add(clean)
    const slot = this.#slot(`source ${this.#urls.size}`)
    this.#count(url)
    this.#count(title ?? '')
    slot.part = { type: 'source', url: clean, ...(title !== undefined && { title: cleanText(title) }) }
    this.#onPart({ role: 'assistant', index: slot.index, part: slot.part })
  }

  /** Counts a piece of a text that is added when it is whole. All such pieces together have the bound of a response. */
  pending(piece: string): void {
    this.#pendingLength += piece.length
    if (this.#pendingLength > chatLimits.maxStoredMessageBytes)
      throw tooLarge(`${chatLimits.maxStoredMessageBytes} bytes`)
  }

  /** Returns the parts with a content. Nothing is added afterwards. */
  finish(): StoredPart[] {
    return [...this.#slots.values()].flatMap(slot => {
      const { part, internal } = slot
      if (!part) return []
      if (slot.held !== '') this.#grow(slot, slot.held)
      const whole = part.type === 'text' || part.type === 'reasoning' ? { ...part, text: slot.text } : part
      if ('text' in whole && whole.text === '' && internal === undefined) return []
      return [internal === undefined ? whole : { ...whole, internal }]
    })
  }

  #grow(slot: Slot, piece: string): void {
    const { part } = slot
    if (piece === '' || (part?.type !== 'text' && part?.type !== 'reasoning')) return
    const text = cleanText(piece)
    this.#count(text)
    slot.text += text
    this.#onPart({ role: 'assistant', index: slot.index, part: { type: part.type, text } })
  }

  #slot(key: string): Slot {
    const known = this.#slots.get(key)
    if (known) return known
    if (this.#slots.size >= maxParts) throw tooLarge(`${maxParts} parts`)
    this.#bytes += partBytes
    const slot: Slot = { index: this.#slots.size, text: '', held: '', part: undefined, internal: undefined }
    this.#slots.set(key, slot)
    return slot
  }

  #count(text: string): void {
    this.#bytes += utf8Bytes(JSON.stringify(text))
    if (this.#bytes > chatLimits.maxStoredMessageBytes) throw tooLarge(`${chatLimits.maxStoredMessageBytes} bytes`)
  }
}

function tooLarge(limit: string): ModelError {
  return new ModelError(`the response of the model has more than ${limit}`, { kind: 'final', reason: 'rejected' })
}

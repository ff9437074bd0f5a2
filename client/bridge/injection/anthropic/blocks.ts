/** Blocks of a response: their anchors, hidden calls, and the JSON text that goes back to the provider. */
import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../../shared/values/text.js'
import { jsonTextOf, parsed, textOf } from '../../providers/reading.js'
import { JsonEdits, setMember } from '../../wire/json-edit.js'
import { JsonNode } from '../../wire/json-node.js'
import { idAnchor, textAnchor } from '../anchors.js'
import type { HiddenNames } from '../hidden-names.js'
import type { HiddenCall } from '../injection-api.js'

/** A whole block of a response. */
export interface Block {
  /** `''` for a block without one */
  anchor: string
  /** JSON text as it goes back to the provider; undefined for a block that the provider rejects in a request */
  text: Buffer | undefined
  /** set for a call of an injected tool, which the client does not see */
  call: HiddenCall | undefined
  /** the text of a text block; empty for other blocks */
  words: string
  /** whether the client has to run a tool */
  isClientCall: boolean
}

/** Returns whether a block is a call that the client must not see. */
export function isHidden({ type, name }: JsonObject, names: HiddenNames): boolean {
  return type === 'tool_use' && typeof name === 'string' && names.has(name)
}

/** Returns the anchor of a block of a response or of a history; `''` for a block without one. */
export function anchorOf(block: JsonObject): string {
  const type = textOf(block.type) ?? ''
  if (type === 'text') return textAnchor(textOf(block.text) ?? '') ?? ''
  const unique = textOf(block.id) ?? textOf(block.tool_use_id) ?? textOf(block.signature) ?? textOf(block.data)
  if (unique !== undefined) return idAnchor(type, unique)
  const { cache_control: _, ...rest } = block
  return textAnchor(type === 'thinking' ? (textOf(block.thinking) ?? '') : jsonTextOf(rest)) ?? ''
}

/** Reads a block of a response that is no stream; its text is as the provider wrote it. */
export function wholeBlock(node: JsonNode, names: HiddenNames): Block {
  const json = parsed(node.bytes.toString())
  const block = isPlainObject(json) ? (json as JsonObject) : {} // came out of JSON.parse
  return blockOf(block, node.bytes, node.member('input')?.bytes.toString() ?? '{}', names)
}

/** A block of a stream, until it is whole. */
export class GrowingBlock {
  readonly #text: Buffer
  readonly #block: JsonObject
  readonly #names: HiddenNames
  /** fields that deltas have changed */
  readonly #changed: JsonObject = {}
  /** the parts of a call's input */
  #input = ''

  /**
   * @param start the block of `content_block_start`
   * @param text its JSON text
   */
  constructor(start: JsonObject, text: Buffer, names: HiddenNames) {
    this.#block = start
    this.#text = text
    this.#names = names
  }

  /** Adds a delta. Of a delta of an unknown type texts are added to the fields of the same names. */
  add(delta: JsonObject): void {
    for (const [key, value] of Object.entries(delta)) {
      const before = this.#changed[key] ?? this.#block[key]
      if (key === 'type') continue
      if (key === 'partial_json' && typeof value === 'string') this.#input += value
      else if (key === 'citation') {
        const { citations = this.#block.citations } = this.#changed
        this.#changed.citations = [...(Array.isArray(citations) ? citations : []), value]
      }
      // The official SDK keeps the last signature too.
      else if (key !== 'signature' && typeof value === 'string' && typeof before === 'string')
        setOwn(this.#changed, key, before + value)
      else setOwn(this.#changed, key, value)
    }
  }

  /** Returns the block as it is now; what no delta has changed is as the provider wrote it. */
  whole(): Block {
    const edits = new JsonEdits(JsonNode.of(this.#text))
    for (const [key, value] of Object.entries(this.#changed)) edits.set([key], jsonTextOf(value) || 'null')
    const input = this.#input.trim() === '' ? jsonTextOf(this.#block.input ?? {}) : this.#input
    if (this.#input !== '' && objectOf(input)) edits.set(['input'], input)
    const block = { ...this.#block, ...this.#changed }
    return blockOf(block, Buffer.concat(edits.pieces()), input, this.#names)
  }
}

/**
 * The member that holds input which is no JSON
 * (https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming).
 */
const invalidJson = 'INVALID_JSON'

function blockOf(block: JsonObject, text: Buffer, input: string, names: HiddenNames): Block {
  const call = isHidden(block, names)
    ? names.callOf(textOf(block.id) ?? '', textOf(block.name) ?? '', input)
    : undefined
  const whole = call && !call.arguments ? setMember(text, ['input'], { [invalidJson]: input }) : [text]
  // The API returns texts of blanks, and rejects them in requests.
  const words = block.type === 'text' ? (textOf(block.text) ?? '') : ''
  const isBlank = block.type === 'text' && words.trim() === ''
  return {
    anchor: anchorOf(block),
    words,
    text: isBlank ? undefined : Buffer.concat(whole),
    call,
    isClientCall: call === undefined && block.type === 'tool_use',
  }
}

function objectOf(text: string): JsonObject | undefined {
  const value = parsed(text)
  return isPlainObject(value) ? (value as Record<string, JsonValue>) : undefined // came out of JSON.parse
}

/** Merges the events of one streamed round into the client's stream. */
import { bridgeLimits } from '../../../../shared/contract/limits.js'
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { parsed, textOf } from '../../providers/reading.js'
import { withData } from '../../wire/event-data.js'
import type { EventFrame } from '../../wire/event-frames.js'
import { JsonEdits } from '../../wire/json-edit.js'
import { JsonNode } from '../../wire/json-node.js'
import { type ClientBytes, finalRound, type StreamRound, type Verdict } from '../round-bytes.js'
import { newestUsage } from '../usage-sums.js'
import { GrowingBlock, isHidden } from './blocks.js'
import type { ClientMessage } from './client-message.js'
import { type Round, verdictOf } from './round.js'

/** The largest stream of one round: its blocks are kept for the next one. No model writes nearly as much. */
const maxStreamBytes = 2 * bridgeLimits.maxBodyBytes

const blankLine = Buffer.from('\n\n')
const lineEnds = new Set<number | undefined>(Buffer.from('\r\n'))

/** A block of the provider's stream. */
interface StreamBlock {
  growing: GrowingBlock
  /** the client's index; undefined for a hidden block */
  index: number | undefined
}

/** Reads the events of a round in order, and writes the client's. */
export class MessageStream implements StreamRound {
  readonly #response: ClientMessage
  readonly #round: Round
  readonly #out: ClientBytes
  readonly #isFirst: boolean
  readonly #blocks: StreamBlock[] = []
  /** the newest block with each index of the provider */
  readonly #byIndex = new Map<JsonValue | undefined, StreamBlock>()
  /** events at the end of a round with hidden calls, which wait for the decision about them */
  #held: Buffer[] = []
  #hasHidden = false
  #bytes = 0

  constructor(response: ClientMessage, out: ClientBytes) {
    this.#response = response
    this.#round = response.round
    this.#out = out
    this.#isFirst = response.earlier.length === 0
  }

  frame(frame: EventFrame): void {
    if (this.#response.hasEnded) return
    this.#bytes += frame.bytes.length
    if (this.#bytes > maxStreamBytes || (!frame.event && frame.bytes.length >= bridgeLimits.maxBodyBytes)) {
      this.#out.end(this.#response.error('stream', 'the response of the provider is too large'))
      return
    }
    const bytes = this.#take(frame)
    if (!bytes) return
    if (this.#response.hasEnded) this.#out.end(bytes)
    else this.#out.write(bytes)
  }

  end(): Verdict {
    this.settle()
    if (this.#response.hasEnded) return finalRound
    const verdict = verdictOf(this.#round)
    if (!verdict.isFinal) return verdict
    this.#response.hasEnded = true
    this.#out.end(Buffer.concat(this.#held))
    return verdict
  }

  /** Brings the blocks of the round up to date. */
  settle(): void {
    this.#round.blocks = this.#blocks.map(({ growing }) => growing.whole())
  }

  /** Returns the bytes for the client; undefined for a hidden event. */
  #take(received: EventFrame): Buffer | undefined {
    const { event } = received
    const isWhole = endsEvent(received.bytes)
    // The stream ended in a comment or in a field.
    if (!event) return lineEnds.has(received.bytes.at(-1)) ? received.bytes : undefined
    const bytes = isWhole ? received.bytes : Buffer.concat([received.bytes, blankLine])
    const frame = { bytes, event }
    const json = parsed(event.data) as JsonValue | undefined // what JSON.parse returns
    const type = (isPlainObject(json) ? textOf(json.type) : undefined) ?? event.event
    if (event.event === 'error' || type === 'error') {
      this.#response.hasEnded = true
      return bytes
    }
    // The beginning of an event may hold the name of a hidden call.
    if (!isPlainObject(json)) return isWhole ? bytes : undefined
    switch (type) {
      case 'message_start':
        return this.#messageStart(frame, json)
      case 'content_block_start':
        return this.#blockStart(frame, event.data, json)
      case 'message_delta':
        return this.#messageDelta(frame, json)
      case 'message_stop':
        return this.#messageStop(frame)
      default:
        if (isPlainObject(json.delta)) this.#byIndex.get(json.index)?.growing.add(json.delta)
        return this.#inBlock(frame, json.index)
    }
  }

  #messageStart({ bytes }: EventFrame, { message }: JsonObject): Buffer | undefined {
    if (isPlainObject(message)) {
      if (isPlainObject(message.usage)) this.#round.usage = newestUsage(this.#round.usage, message.usage)
      this.#response.id ??= textOf(message.id)
    }
    if (this.#response.isStarted) return undefined
    this.#response.isStarted = true
    return bytes
  }

  #blockStart(frame: EventFrame, data: string, { index, content_block: start }: JsonObject): Buffer | undefined {
    if (!isPlainObject(start)) return this.#inBlock(frame, index)
    const response = this.#response
    const text = JsonNode.of(Buffer.from(data)).member('content_block')?.bytes ?? Buffer.from('{}')
    const block: StreamBlock = { growing: new GrowingBlock(start, text, response.names), index: undefined }
    this.#byIndex.set(index, block)
    this.#blocks.push(block)
    if (isHidden(start, response.names)) {
      this.#hasHidden = true
      response.isShifted = true
      return undefined
    }
    block.index = response.isShifted || typeof index !== 'number' ? response.nextIndex : index
    response.nextIndex = Math.max(response.nextIndex, block.index + 1)
    return this.#inBlock(frame, index)
  }

  /** Returns an event with the client's index of its block. */
  #inBlock(frame: EventFrame, index: JsonValue | undefined): Buffer | undefined {
    const block = this.#byIndex.get(index)
    // The index of an unknown block may be the client's index of another one.
    if (!block) return this.#response.isShifted && typeof index === 'number' ? undefined : frame.bytes
    if (block.index === undefined) return undefined
    return block.index === index ? frame.bytes : changed(frame, 'index', String(block.index))
  }

  #messageDelta(frame: EventFrame, { delta, usage }: JsonObject): Buffer | undefined {
    if (isPlainObject(usage)) this.#round.usage = newestUsage(this.#round.usage, usage)
    const stopReason = isPlainObject(delta) ? textOf(delta.stop_reason) : undefined
    const isRepeated = this.#round.stopReason !== undefined
    if (stopReason !== undefined) this.#round.stopReason = stopReason
    // Without the end of the round it would replace the usage of all rounds by less.
    if (!this.#isFirst && (isRepeated || stopReason === undefined)) return undefined
    const bytes = this.#isFirst ? frame.bytes : changed(frame, 'usage', JSON.stringify(this.#response.usage))
    if (!this.#hasHidden || stopReason === undefined) return bytes
    this.#held = [bytes]
    return undefined
  }

  #messageStop({ bytes }: EventFrame): Buffer | undefined {
    if (this.#hasHidden) {
      this.#held.push(bytes)
      return undefined
    }
    this.#response.hasEnded = true
    return bytes
  }
}

/** Returns an event with one member of its data changed. */
function changed(frame: EventFrame, name: string, value: string): Buffer {
  const edits = new JsonEdits(JsonNode.of(Buffer.from(frame.event?.data ?? '{}')))
  edits.set([name], value)
  return withData(frame, edits.pieces())
}

/** Returns whether the bytes end with a blank line. */
function endsEvent(bytes: Buffer): boolean {
  const end = bytes.toString('latin1', Math.max(0, bytes.length - 4))
  return /[\r\n]$/.test(end.replace(/(\r\n|\r|\n)$/, ''))
}

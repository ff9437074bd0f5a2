import { conversationLimits } from '../../../shared/contract/limits.js'
import { cutToBytes } from '../../../shared/values/text.js'
import type { ToolResult, ToolResultPart } from '../mcp/injected-tool.js'

/** For calls, anchors and the frame of a turn. */
const reservedBytes = 512 * 1024

/** Stands in place of what has no room. */
const note = '[left out: the results of this turn are too large together]'

/**
 * The room for the results of one turn. All of them are stored and sent again with every later request, so a turn has a
 * bound: what is above it does not reach the model either, since both have to see the same history.
 */
export class ResultRoom {
  #left = conversationLimits.maxTurnBytes - reservedBytes

  /** Returns a result, cut to the room that is left: images go first, then the end of the text. */
  fitted(result: ToolResult): ToolResult {
    const parts = this.#fit(result.parts)
    this.#left -= storedBytes(parts)
    return parts === result.parts ? result : { ...result, parts }
  }

  #fit(parts: ToolResultPart[]): ToolResultPart[] {
    if (storedBytes(parts) <= this.#left) return parts
    const texts = parts.filter(part => part.type === 'text')
    const withoutImages: ToolResultPart[] = [...texts, { type: 'text', text: note }]
    if (texts.length < parts.length && storedBytes(withoutImages) <= this.#left) return withoutImages
    const whole = texts.map(({ text }) => text).join('\n')
    for (let bytes = Math.floor(this.#left / 2); bytes > note.length; bytes = Math.floor(bytes / 2)) {
      const cut: ToolResultPart[] = [{ type: 'text', text: `${cutToBytes(whole, bytes)}\n${note}` }]
      if (storedBytes(cut) <= this.#left) return cut
    }
    return [{ type: 'text', text: note }]
  }
}

/** Returns the bytes of parts in a stored turn, which holds results as JSON text inside of JSON. */
function storedBytes(parts: readonly ToolResultPart[]): number {
  return Buffer.byteLength(JSON.stringify(JSON.stringify(parts)))
}

import { recordLimits } from '../../../../shared/contract/limits.js'
import type { KeptText } from '../provider-api.js'

/**
 * Text that grows with a stream in bounded memory: the part that a record can hold is kept, the rest is only counted.
 */
export class GrowingText {
  #text = ''
  #bytes = 0

  /** Adds text at the end. */
  append(text: string): void {
    this.#bytes += Buffer.byteLength(text)
    // A code unit takes at least one byte, so this many always fill a record.
    const room = recordLimits.maxContentBytes - this.#text.length
    if (room > 0) this.#text += text.length <= room ? text : text.slice(0, room)
  }

  /** whether no text was appended */
  get empty(): boolean {
    return this.#bytes === 0
  }

  /** Returns the part that was kept, and the size of the whole text. */
  kept(): KeptText {
    return { text: this.#text, bytes: this.#bytes }
  }
}

import { recordLimits } from '../../../shared/contract/limits.js'
import type { KeptText } from './provider-api.js'

/**
 * Text that grows with a stream while its memory does not: as much is kept as a record can hold, the rest only counted.
 */
export class GrowingText {
  #text = ''
  #bytes = 0

  append(text: string): void {
    this.#bytes += Buffer.byteLength(text)
    // A code unit is at least one byte, so this many are always enough for a record.
    const room = recordLimits.maxContentBytes - this.#text.length
    if (room > 0) this.#text += text.length <= room ? text : text.slice(0, room)
  }

  get empty(): boolean {
    return this.#bytes === 0
  }

  kept(): KeptText {
    return { text: this.#text, bytes: this.#bytes }
  }
}

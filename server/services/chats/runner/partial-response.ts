import type { LivePart, StoredPart } from '../model.js'

/** Collects the parts of a response that may be cut by an interrupt. */
export class PartialResponse {
  readonly #parts = new Map<number, StoredPart>()

  /** Adds a piece; pieces of text with one index make a part. */
  add({ index, part }: LivePart): void {
    const known = this.#parts.get(index)
    if (known && 'text' in known && 'text' in part) known.text += part.text
    else this.#parts.set(index, { ...part })
  }

  /** Returns the parts so far, without empty ones. */
  parts(): StoredPart[] {
    const ordered = [...this.#parts].sort(([one], [other]) => one - other).map(([, part]) => part)
    return ordered.filter(part => !('text' in part) || part.text !== '')
  }
}

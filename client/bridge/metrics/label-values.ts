import { cutToLength } from '../../../shared/values/text.js'

/**
 * Bounds the values of one label whose values come from outside. Each value costs memory for the life of the process,
 * here and in every reader of the metrics. The first `maxValues` are kept, cut to `maxLength` UTF-16 code units;
 * further ones become `other`.
 */
export class LabelValues {
  readonly #known = new Set<string>()
  readonly #maxValues: number
  readonly #maxLength: number

  constructor({ maxValues = 100, maxLength = 100 } = {}) {
    this.#maxValues = maxValues
    this.#maxLength = maxLength
  }

  /**
   * Returns the label value for a text.
   * @param mayAdd false: a new value is not kept, and becomes `other`
   */
  of(text: string, mayAdd = true): string {
    const value = cutToLength(text, this.#maxLength)
    if (this.#known.has(value)) return value
    if (!mayAdd || this.#known.size >= this.#maxValues) return 'other'
    this.#known.add(value)
    return value
  }
}

import { cutToLength } from '../../../shared/values/text.js'

/**
 * The values of one label, when they come from outside: each costs memory for as long as the process lives, here and in whatever reads the
 * metrics. The first `maxValues` are kept, cut to `maxLength` UTF-16 code units; any further is `other`.
 */
export class LabelValues {
  readonly #known = new Set<string>()
  readonly #maxValues: number
  readonly #maxLength: number

  constructor({ maxValues = 100, maxLength = 100 } = {}) {
    this.#maxValues = maxValues
    this.#maxLength = maxLength
  }

  /** @param mayAdd false: a value that is not known yet does not become so */
  of(text: string, mayAdd = true): string {
    const value = cutToLength(text, this.#maxLength)
    if (this.#known.has(value)) return value
    if (!mayAdd || this.#known.size >= this.#maxValues) return 'other'
    this.#known.add(value)
    return value
  }
}

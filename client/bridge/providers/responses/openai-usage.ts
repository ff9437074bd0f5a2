import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../../shared/values/text.js'
import type { TokenCounts } from '../provider-api.js'
import { cacheReadOf, cacheWriteOf, inputOf, outputOf, reasoningOf, totalOf } from './token-names.js'

/** The fields that {@link TokenCounts} has apart from its details. */
const counted = new Set(['prompt_tokens', 'completion_tokens', 'input_tokens', 'output_tokens'])

/**
 * The usage of one response of an API that counts as OpenAI does: cached tokens and cache writes are a part of the
 * input, reasoning is a part of the output. A stream may send the usage several times: the newest value of each field
 * counts, unless it is absent or null.
 */
export class OpenaiUsage {
  readonly #fields: JsonObject = {}
  /** the total beside the newest counts */
  #total: number | undefined

  /** Adds a usage object; any other value is ignored. */
  add(usage: unknown): void {
    if (!isPlainObject(usage)) return
    if (inputOf(usage) !== undefined || outputOf(usage) !== undefined) this.#total = totalOf(usage)
    merge(this.#fields, usage)
  }

  /** Adds a fact that a provider reports beside the usage. */
  addDetail(name: string, value: unknown): void {
    if (isPlainObject(value) && Object.keys(value).length > 0) setOwn(this.#fields, name, value as JsonValue) // came out of JSON.parse
  }

  /** Returns the counts; undefined without any. */
  counts(): TokenCounts | undefined {
    const fields = this.#fields
    const [input, output] = [inputOf(fields), outputOf(fields)]
    if (input === undefined && output === undefined) return undefined
    const [cacheRead, cacheWrite] = [cacheReadOf(fields) ?? 0, cacheWriteOf(fields) ?? 0]
    const excess = this.#excess()
    return {
      input: Math.max(0, (input ?? 0) - cacheRead - cacheWrite),
      output: (output ?? 0) + (this.#excessIsOutput(excess) ? excess : 0),
      cacheRead,
      cacheWrite,
      details: Object.fromEntries(Object.entries(fields).filter(([name]) => !counted.has(name))),
    }
  }

  /** whether the counts do not add up to the provider's total, so that a part is billed that no reader knows */
  get isMismatched(): boolean {
    const excess = this.#excess()
    const cached = (cacheReadOf(this.#fields) ?? 0) + (cacheWriteOf(this.#fields) ?? 0)
    return cached > (inputOf(this.#fields) ?? 0) || (excess !== 0 && !this.#excessIsOutput(excess))
  }

  /** Returns the tokens in the provider's total that are neither input nor output; 0 without a total. */
  #excess(): number {
    if (this.#total === undefined) return 0
    return this.#total - (inputOf(this.#fields) ?? 0) - (outputOf(this.#fields) ?? 0)
  }

  /**
   * Returns whether the excess is output. xAI counts reasoning beside the completion, and says so; Google's compatible
   * API counts it in the total only, and reports no details at all.
   */
  #excessIsOutput(excess: number): boolean {
    if (excess <= 0) return false
    const reasoning = reasoningOf(this.#fields)
    const hasDetails = [reasoning, cacheReadOf(this.#fields), cacheWriteOf(this.#fields)].some(
      count => count !== undefined,
    )
    return excess === reasoning || !hasDetails
  }
}

function merge(fields: JsonObject, newer: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(newer)) {
    const known = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (isPlainObject(value) && isPlainObject(known)) merge(known, value)
    else if (value !== null) setOwn(fields, name, value as JsonValue) // came out of JSON.parse
  }
}

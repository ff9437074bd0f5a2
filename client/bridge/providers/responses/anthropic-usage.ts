import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../../shared/values/text.js'
import type { BilledPart, TokenCounts } from '../provider-api.js'
import { objectsOf, textOf } from '../reading.js'
import { cacheReadOf, cacheWriteOf, countOf, inputOf, outputOf, sumOfClasses } from './token-names.js'

/** Fields with a count of their own in {@link TokenCounts}, and the iterations, whose records are their own. */
const counted = new Set([
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens',
  'iterations',
])

/**
 * Type of an iteration → whether it is billed beside the usage at the top. The top holds the iterations that are
 * messages; a compaction and a call of the advisor are billed by themselves.
 */
const iterations: Readonly<Record<string, 'billed beside' | 'in the total'>> = {
  compaction: 'billed beside',
  advisor_message: 'billed beside',
  message: 'in the total',
  fallback_message: 'in the total',
}

/**
 * The usage of one Anthropic response (https://docs.anthropic.com/en/api/messages-streaming). Usage is cumulative: a
 * field replaces its earlier value, unless it is absent or null. `input_tokens` excludes cached tokens.
 */
export class AnthropicUsage {
  /** whether the provider has counted the whole output; the first event of a stream has a beginning only */
  isFinal = false
  readonly #fields: JsonObject = {}

  /**
   * Adds a usage object; any other value is ignored.
   * @param isFinal whether the object counts the output so far, as every one but that of `message_start` does
   */
  add(usage: unknown, isFinal: boolean): void {
    if (!isPlainObject(usage)) return
    for (const [name, value] of Object.entries(usage)) {
      const isCount = counted.has(name) && name !== 'iterations'
      if (value === null || (isCount && countOf(value) === undefined)) continue
      setOwn(this.#fields, name, value as JsonValue) // came out of JSON.parse
    }
    if (isFinal && outputOf(usage) !== undefined) this.isFinal = true
  }

  /** whether the input holds the cached tokens, as it does where a proxy writes OpenAI's names */
  get #cachedIsInput(): boolean {
    return !['cache_read_input_tokens', 'cache_creation_input_tokens', 'cache_creation'].some(name =>
      Object.hasOwn(this.#fields, name),
    )
  }

  /** Returns the counts; undefined without any field. */
  counts(): TokenCounts | undefined {
    if (Object.keys(this.#fields).length === 0) return undefined
    const [cacheRead, cacheWrite] = [cacheReadOf(this.#fields) ?? 0, cacheWriteOf(this.#fields) ?? 0]
    return {
      input: Math.max(0, (inputOf(this.#fields) ?? 0) - (this.#cachedIsInput ? cacheRead + cacheWrite : 0)),
      output: outputOf(this.#fields) ?? 0,
      cacheRead,
      cacheWrite,
      details: detailsOf(this.#fields),
    }
  }

  /** Returns the parts that are billed beside {@link counts}, in the provider's order. */
  billedBeside(): BilledPart[] {
    return objectsOf(this.#fields.iterations)
      .filter(({ type }) => kindOf(type) === 'billed beside')
      .map(part => ({
        model: part.type === 'advisor_message' ? textOf(part.model) : undefined,
        input: countOf(part.input_tokens) ?? 0,
        output: countOf(part.output_tokens) ?? 0,
        cacheRead: cacheReadOf(part) ?? 0,
        cacheWrite: cacheWriteOf(part) ?? 0,
        details: detailsOf(part as JsonObject), // came out of JSON.parse
      }))
  }

  /** number of iterations of a type that no reader knows: they may be billed */
  get unknownIterations(): number {
    return objectsOf(this.#fields.iterations).filter(({ type }) => kindOf(type) === undefined).length
  }

  /** whether the cache writes by lifetime do not add up to all cache writes */
  get isMismatched(): boolean {
    const all = countOf(this.#fields.cache_creation_input_tokens)
    const classes = sumOfClasses(this.#fields.cache_creation)
    return all !== undefined && classes !== undefined && all !== classes
  }
}

function kindOf(type: unknown): (typeof iterations)[string] | undefined {
  return typeof type === 'string' && Object.hasOwn(iterations, type) ? iterations[type] : undefined
}

function detailsOf(fields: JsonObject): JsonObject {
  const details: JsonObject = {}
  for (const [name, value] of Object.entries(fields)) if (!counted.has(name)) setOwn(details, name, value)
  return details
}

import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../shared/values/text.js'
import type { TokenCounts } from './provider-api.js'

/**
 * The usage of one response. A stream may send it several times: the newest value of each field counts, unless it is
 * absent or null.
 */
export class OpenaiUsage {
  readonly #names: { input: string; inputDetails: string; output: string }
  readonly #fields: JsonObject = {}

  /** @param names names of the fields, which differ between the APIs */
  constructor(names: { input: string; inputDetails: string; output: string }) {
    this.#names = names
  }

  /** Adds a usage object; any other value is ignored. */
  add(usage: unknown): void {
    if (isPlainObject(usage)) merge(this.#fields, usage)
  }

  /** Returns the counts; undefined without any. Providers count cached tokens as input; here they are separate. */
  counts(): TokenCounts | undefined {
    const { input, inputDetails, output } = this.#names
    const { [input]: allInput, [output]: allOutput, ...details } = this.#fields
    if (typeof allInput !== 'number' && typeof allOutput !== 'number') return undefined
    const parts = details[inputDetails]
    const cached = isPlainObject(parts) ? Math.max(0, numberOf(parts.cached_tokens)) : 0
    return {
      input: Math.max(0, numberOf(allInput) - cached),
      output: numberOf(allOutput),
      cacheRead: cached,
      cacheWrite: 0,
      details,
    }
  }
}

function merge(fields: JsonObject, newer: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(newer)) {
    const known = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (isPlainObject(value) && isPlainObject(known)) merge(known, value)
    else if (value !== null) setOwn(fields, name, value as JsonValue) // came out of JSON.parse
  }
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

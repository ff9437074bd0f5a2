import { isPlainObject, type JsonObject, type JsonValue, setOwn } from '../../../shared/values/text.js'
import type { TokenCounts } from './provider-api.js'

/** The usage of one answer, however often a stream brings it: the newest value of each field counts, one that is absent or null says nothing. */
export class OpenaiUsage {
  readonly #names: { input: string; inputDetails: string; output: string }
  readonly #fields: JsonObject = {}

  /** @param names of the fields, which differ from API to API */
  constructor(names: { input: string; inputDetails: string; output: string }) {
    this.#names = names
  }

  add(usage: unknown): void {
    if (isPlainObject(usage)) merge(this.#fields, usage)
  }

  /** undefined if no count came. Providers count cached tokens among the input; here they stand apart. */
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

import { createHash } from 'node:crypto'

/** a rejection is remembered for so long, in milliseconds */
const rememberedMs = 3_600_000
/** more models are not remembered; the oldest is forgotten */
const maxModels = 1_000

/**
 * Remembers the models of providers that reject a request for the usage of a stream (`stream_options.include_usage`).
 * Such a request is sent again without it; later ones are sent without it at once.
 */
export class UsageRequests {
  /** hash of provider and model, whose text may be long → the end of the memory, on the clock of `performance` */
  readonly #rejected = new Map<string, number>()

  /** Returns whether the usage may be asked for. */
  mayAsk(provider: string, model: string): boolean {
    const key = keyOf(provider, model)
    const until = this.#rejected.get(key)
    if (until === undefined) return true
    if (until > performance.now()) return false
    this.#rejected.delete(key)
    return true
  }

  /** Notes that a provider takes a request for a model only without asking for its usage. */
  rejected(provider: string, model: string): void {
    const [oldest] = this.#rejected.keys()
    if (this.#rejected.size >= maxModels && oldest !== undefined) this.#rejected.delete(oldest)
    this.#rejected.set(keyOf(provider, model), performance.now() + rememberedMs)
  }
}

function keyOf(provider: string, model: string): string {
  return createHash('sha256').update(`${provider} ${model}`).digest('base64')
}

import type { ModelRequest } from '../../server/services/chats/model.js'

/** most pairs of provider and model whose rejected fields are known */
const maxKnown = 1_000

/**
 * Fields of requests that not every model takes. A model that has rejected one, with 400 and the field as the `param`
 * of the error, gets requests without it from then on.
 */
export class OptionalFields {
  readonly #rejected = new Map<string, Set<string>>()

  /** Returns whether a request may have a field. */
  may({ provider, model }: ModelRequest, field: string): boolean {
    return !this.#rejected.get(keyOf(provider, model))?.has(field)
  }

  /** Notes an error of the provider. Returns whether it rejects one of the fields for the first time. */
  notes({ provider, model }: ModelRequest, fields: readonly string[], error: unknown): boolean {
    if (!(error instanceof Error) || Reflect.get(error, 'status') !== 400) return false
    const param: unknown = Reflect.get(error, 'param')
    const field =
      typeof param === 'string' ? fields.find(name => param === name || param.startsWith(`${name}[`)) : undefined
    if (field === undefined) return false
    const key = keyOf(provider, model)
    const known = this.#rejected.get(key) ?? new Set()
    if (known.has(field)) return false
    known.add(field)
    const [oldest] = this.#rejected.keys()
    if (this.#rejected.size >= maxKnown && oldest !== undefined) this.#rejected.delete(oldest)
    this.#rejected.set(key, known)
    return true
  }
}

function keyOf(provider: string, model: string): string {
  return `${provider}\n${model}`
}

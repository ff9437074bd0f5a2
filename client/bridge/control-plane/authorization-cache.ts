import { createHash } from 'node:crypto'
import type { Authorization } from '../../../shared/contract/authorizer.js'

/** Names a caller: a whole API key of this service, or the id of a key that was checked elsewhere. */
export type Identification = { key: string } | { keyId: string }

export interface AuthorizationCacheOptions {
  /** asks the control plane; rejects if the key is not authorized */
  lookUp: (identification: Identification) => Promise<Authorization>
  /** how long an answer may be used, from when it was asked for: so long a revoked key still works */
  ttlMs: number
  maxEntries: number
}

interface Entry {
  authorization: Promise<Authorization>
  askedAt: number
}

/**
 * Remembers who a key belongs to, under a hash of what it was named by: the key and its id are two entries. Only successes are kept;
 * requests that come while a key is being looked up share the answer. The oldest entries make room for new ones.
 */
export class AuthorizationCache {
  readonly #options: AuthorizationCacheOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: AuthorizationCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  /** @throws whatever the lookup rejects with */
  authorize(identification: Identification): Promise<Authorization> {
    const hash = createHash('sha256').update(JSON.stringify(identification)).digest('base64')
    const now = performance.now()
    const known = this.#entries.get(hash)
    if (known && now - known.askedAt < this.#options.ttlMs) return known.authorization
    const entry: Entry = { authorization: this.#options.lookUp(identification), askedAt: now }
    // Deleting first moves the key to the end of the map's order, which is the order of age.
    this.#entries.delete(hash)
    this.#entries.set(hash, entry)
    this.#evict(now)
    entry.authorization.catch(() => {
      if (this.#entries.get(hash) === entry) this.#entries.delete(hash)
    })
    return entry.authorization
  }

  #evict(now: number): void {
    for (const [hash, entry] of this.#entries) {
      const expired = now - entry.askedAt >= this.#options.ttlMs
      if (!expired && this.#entries.size <= this.#options.maxEntries) return
      this.#entries.delete(hash)
    }
  }
}

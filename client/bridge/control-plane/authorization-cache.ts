import { createHash } from 'node:crypto'
import type { Authorization } from '../../../shared/contract/authorizer.js'

/** Names a caller: a whole API key of this service, or the id of a key whose secret was checked elsewhere. */
export type Identification = { key: string } | { keyId: string }

/** Options of {@link AuthorizationCache}. */
export interface AuthorizationCacheOptions {
  /** asks the control plane; rejects if the key is not authorized */
  lookUp: (identification: Identification) => Promise<Authorization>
  /** how long a response may be used, counted from the call: a revoked key works that long at most */
  ttlMs: number
  /** the oldest entries make room for new ones */
  maxEntries: number
}

interface Entry {
  authorization: Promise<Authorization>
  askedAt: number
}

/**
 * Caches the owners of keys under a hash of the identification; a key and its id are two entries. Only successes are
 * kept. Requests for a key that is being looked up share the response.
 */
export class AuthorizationCache {
  readonly #options: AuthorizationCacheOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: AuthorizationCacheOptions) {
    this.#options = options
  }

  /** number of entries, lookups under way included */
  get size(): number {
    return this.#entries.size
  }

  /**
   * Returns the owner of a key, from the cache or from a lookup.
   * @throws the error of the lookup
   */
  authorize(identification: Identification): Promise<Authorization> {
    const hash = createHash('sha256').update(JSON.stringify(identification)).digest('base64')
    const now = performance.now()
    const known = this.#entries.get(hash)
    if (known && now - known.askedAt < this.#options.ttlMs) return known.authorization
    const entry: Entry = { authorization: this.#options.lookUp(identification), askedAt: now }
    // Deleting first moves the entry to the end of the map, whose order is the order of age.
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

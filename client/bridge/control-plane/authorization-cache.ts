import { hash } from 'node:crypto'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { KnownKeys } from '../../../shared/values/known-keys.js'

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
  /** undefined while the lookup is under way */
  owner: Authorization | undefined
  askedAt: number
}

/**
 * Caches the owners of keys under a hash of the identification; a key and its id are two entries. Only successes are
 * kept. Requests for a key that is being looked up share the response.
 */
export class AuthorizationCache {
  readonly #options: AuthorizationCacheOptions
  readonly #entries = new Map<string, Entry>()
  readonly #known: KnownKeys

  constructor(options: AuthorizationCacheOptions) {
    this.#options = options
    this.#known = new KnownKeys(options.maxEntries)
  }

  /** number of entries, lookups under way included */
  get size(): number {
    return this.#entries.size
  }

  /** Returns the owner of a key if the cache has it, without waiting. */
  known(hash: string): Authorization | undefined {
    const entry = this.#entries.get(hash)
    return entry && performance.now() - entry.askedAt < this.#options.ttlMs ? entry.owner : undefined
  }

  /**
   * Returns the owner of a key, from the cache or from a lookup.
   * @param hash as {@link hashOf} returns it
   * @throws the error of the lookup
   */
  authorize(identification: Identification, hash = hashOf(identification)): Promise<Authorization> {
    const now = performance.now()
    const known = this.#entries.get(hash)
    if (known && now - known.askedAt < this.#options.ttlMs) return known.authorization
    const entry: Entry = { authorization: this.#options.lookUp(identification), owner: undefined, askedAt: now }
    // Deleting first moves the entry to the end of the map, whose order is the order of age.
    this.#entries.delete(hash)
    this.#entries.set(hash, entry)
    this.#evict(now)
    entry.authorization.then(
      owner => {
        entry.owner = owner
        this.#known.add(hash)
      },
      () => {
        this.#known.delete(hash)
        if (this.#entries.get(hash) === entry) this.#entries.delete(hash)
      },
    )
    return entry.authorization
  }

  /** Returns whether the last lookup of a key was a success, however long ago: the key is no guess. */
  knows(hash: string): boolean {
    return this.#known.has(hash)
  }

  #evict(now: number): void {
    for (const [hash, entry] of this.#entries) {
      const expired = now - entry.askedAt >= this.#options.ttlMs
      if (!expired && this.#entries.size <= this.#options.maxEntries) return
      this.#entries.delete(hash)
    }
  }
}

/** Returns the hash of an identification: keys themselves are not kept. */
export function hashOf(identification: Identification): string {
  return hash('sha256', JSON.stringify(identification), 'base64')
}

/** The keys of one provider, in the operator's order, and which of them work. */

import type { ProviderKey } from '../control-plane/provider-registry.js'

/** The state of a key: usable, waiting for the end of a rate limit, or rejected by the provider. */
export type KeyState = 'usable' | 'cooling' | 'out'

/** A wish for a key. */
export interface KeyWish {
  /** the part of the provider that the key is for: its rate limits and permissions are those of one model */
  scope: string
  /** id of the key that the conversation has used before */
  preferred?: string | undefined
  /** ids of keys that this request has tried */
  tried: ReadonlySet<string>
}

/** A key, or the reason why there is none. */
export type KeyChoice = { key: ProviderKey } | { key: undefined; reason: 'cooling'; waitMs: number } | NoKey

interface NoKey {
  key: undefined
  reason: 'out'
}

/** Scopes of one key that are remembered: models come from clients. */
const maxScopes = 256

/**
 * Chooses among the keys of one configuration of a provider:
 * ```
 *           429                        Retry-After has passed
 * usable ─────────▶ cooling ──────────────────────────────────▶ usable
 *    └───401, 403──────┴──────▶ out (final: a new configuration has a new ring)
 * ```
 * The state of a key is one for each scope, except that a key which is taken out without a scope is out in all.
 */
export class KeyRing {
  readonly #keys: readonly HeldKey[]
  readonly #now: () => number

  /**
   * @param before the ring of the last configuration: its keys go on cooling, and those that are out get a new chance
   * @param now milliseconds on a clock that nobody sets
   */
  constructor(keys: readonly ProviderKey[], before?: KeyRing, now = () => performance.now()) {
    this.#now = now
    const limitsBefore = (id: string) => (before === undefined ? undefined : before.#find(id)?.coolingUntil)
    this.#keys = keys.map(key => ({
      key,
      isOut: false,
      outIn: new Set(),
      // Shared with the last ring: a request in flight may still note a limit there.
      coolingUntil: limitsBefore(key.id) ?? new Map<string, number>(),
    }))
  }

  get size(): number {
    return this.#keys.length
  }

  /** Returns the first usable key that was not tried; the preferred key comes before all others. */
  choose({ scope, preferred, tried }: KeyWish): KeyChoice {
    const now = this.#now()
    let waitMs: number | undefined
    let first: ProviderKey | undefined
    for (const held of this.#keys) {
      if (isOutIn(held, scope)) continue
      const restMs = Math.max(0, (held.coolingUntil.get(scope) ?? 0) - now)
      if (restMs > 0 || tried.has(held.key.id)) {
        waitMs = Math.min(waitMs ?? Number.POSITIVE_INFINITY, restMs)
        continue
      }
      if (held.key.id === preferred) return { key: held.key }
      first ??= held.key
    }
    if (first) return { key: first }
    return waitMs === undefined ? { key: undefined, reason: 'out' } : { key: undefined, reason: 'cooling', waitMs }
  }

  /** Notes that the provider limits a key for some time. Returns whether the key was not limited before. */
  cool(id: string, scope: string, forMs: number): boolean {
    const until = this.#find(id)?.coolingUntil
    const now = this.#now()
    if (!until) return false
    for (const [other, end] of until) if (end <= now) until.delete(other)
    const before = until.get(scope)
    until.set(scope, Math.max(before ?? 0, now + forMs))
    dropOldest(until)
    return before === undefined
  }

  /**
   * Notes that the provider rejects a key. Returns whether that is news: the first rejection of the key, or the first
   * in all scopes.
   * @param scope by default all
   */
  takeOut(id: string, scope?: string): boolean {
    const held = this.#find(id)
    if (!held || held.isOut) return false
    if (scope === undefined) {
      held.isOut = true
      return true
    }
    const isFirst = held.outIn.size === 0
    dropOldest(held.outIn.add(scope))
    return isFirst
  }

  /** Returns the state of each key, in order: the worst of its scopes. */
  states(): { id: string; state: KeyState }[] {
    const now = this.#now()
    return this.#keys.map(({ key, isOut, outIn, coolingUntil }) => {
      const isCooling = [...coolingUntil.values()].some(end => end > now)
      return { id: key.id, state: isOut || outIn.size > 0 ? 'out' : isCooling ? 'cooling' : 'usable' }
    })
  }

  #find(id: string): HeldKey | undefined {
    return this.#keys.find(held => held.key.id === id)
  }
}

interface HeldKey {
  readonly key: ProviderKey
  /** in all scopes */
  isOut: boolean
  readonly outIn: Set<string>
  /** scope → end */
  readonly coolingUntil: Map<string, number>
}

function isOutIn({ isOut, outIn }: HeldKey, scope: string): boolean {
  return isOut || outIn.has(scope)
}

function dropOldest(scopes: Map<string, unknown> | Set<string>): void {
  const [oldest] = scopes.keys()
  if (scopes.size > maxScopes && oldest !== undefined) scopes.delete(oldest)
}

import type { Target } from '../control-plane/provider-registry.js'
import { type BreakerPlace, type BreakerState, Breakers } from './breakers.js'
import { ConversationKeys } from './conversations.js'
import { KeyRing, type KeyState } from './key-ring.js'
import { Places } from './places.js'

/** The states of a bridge's providers: working keys and endpoints, and the number of requests under way. */
export class UpstreamStates {
  readonly breakers: Breakers
  readonly conversations = new ConversationKeys()
  /** by configuration: a request in flight keeps the ring of its own */
  readonly #rings = new WeakMap<Target, KeyRing>()
  /** the current ring of each provider */
  readonly #current = new Map<string, { target: Target; ring: KeyRing }>()
  readonly #places = new Map<string, Places>()

  /** @param onOpened is called when a breaker opens */
  constructor(onOpened: (place: BreakerPlace) => void) {
    this.breakers = new Breakers({ onOpened })
  }

  /** Takes a new snapshot of the providers. A target that was there before keeps its state. */
  update(targets: ReadonlyMap<string, Target>): void {
    for (const [name, target] of targets) {
      const known = this.#current.get(name)
      if (known?.target === target) continue
      const ring = new KeyRing(target.keys, known?.ring)
      this.#rings.set(target, ring)
      this.#current.set(name, { target, ring })
      this.#placesOf(name).limit(target.settings.maxParallelRequests)
    }
    for (const name of this.#current.keys()) if (!targets.has(name)) this.#current.delete(name)
    for (const [name, { taken }] of this.#places) if (!targets.has(name) && taken === 0) this.#places.delete(name)
  }

  /** Returns the keys of a provider's configuration. */
  ringOf(target: Target): KeyRing {
    let ring = this.#rings.get(target)
    if (!ring) {
      ring = new KeyRing(target.keys)
      this.#rings.set(target, ring)
    }
    return ring
  }

  /** Takes a place among the parallel requests of a provider, see {@link Places.enter}. */
  enter({ provider }: Target, signal: AbortSignal): (() => void) | Promise<() => void> {
    return this.#placesOf(provider.name).enter(signal)
  }

  /** Returns the state of each key of each provider. */
  keyStates(): { provider: string; id: string; state: KeyState }[] {
    return [...this.#current].flatMap(([provider, { ring }]) => ring.states().map(state => ({ provider, ...state })))
  }

  /** Returns the breakers that have noted a failure, of current endpoints, which are numbered from 1. */
  breakerStates(): { provider: string; endpoint: string; model: string; state: BreakerState }[] {
    return this.breakers.states().flatMap(({ provider, endpoint: url, model, state }) => {
      const endpoints = this.#current.get(provider)?.target.endpoints ?? []
      const index = endpoints.findIndex(({ origin, basePath }) => origin + basePath === url)
      return index < 0 ? [] : [{ provider, endpoint: String(index + 1), model, state }]
    })
  }

  #placesOf(name: string): Places {
    const places = this.#places.get(name) ?? new Places()
    this.#places.set(name, places)
    return places
  }
}

import type { Provider, ProvidersOutput } from '../../../shared/contract/provider-configurator.js'
import { type ProviderSettings, readProviderSettings } from '../../../shared/contract/provider-settings.js'
import type { Logger } from '../../../shared/values/log.js'
import { apiOf } from '../providers/apis.js'
import type { ProviderApi } from '../providers/provider-api.js'
import { isClosedForGood } from '../wire/rejection.js'

/** A provider that the bridge can call, and its API. */
export interface Target {
  provider: Provider
  api: ProviderApi
  /** the base URL, then the fallback URLs */
  endpoints: readonly [Endpoint, ...Endpoint[]]
  /** the preferred key is first */
  keys: readonly ProviderKey[]
  settings: ProviderSettings
}

/** A base URL of a provider. */
export interface Endpoint {
  /** scheme, host and port */
  origin: string
  /** path, without a slash at its end */
  basePath: string
}

/** A key of a provider. */
export interface ProviderKey {
  /** the control plane's id of the key; may be shown */
  id: string
  text: string
}

/** Options of {@link ProviderRegistry}. */
export interface ProviderRegistryOptions {
  /** reads the providers from the control plane; rejects when the signal aborts */
  load: (signal: AbortSignal) => Promise<ProvidersOutput>
  logger: Logger
  /** takes each new snapshot: a provider that has not changed has the same target as before */
  onSnapshot?: (targets: ReadonlyMap<string, Target>) => void
  /** takes the number of providers whose last good configuration is used, because the current one is not usable */
  onOutdated?: (providers: number) => void
  /**
   * age in milliseconds above which a snapshot is not used any more, unless a new read fails; above half of it, a read
   * begins beside the request. {@link ProviderRegistry.changed} keeps the snapshot new; this limit holds if no such
   * signal arrives.
   */
  ttlMs: number
}

interface Snapshot {
  targets: ReadonlyMap<string, Target>
  /** the keys of all providers */
  keys: ReadonlySet<string>
}

/**
 * Keeps a snapshot of the control plane's providers. Only one read is under way at a time, and all callers share it. A
 * failed read is logged and keeps the last good snapshot; a link that is closed for good is not logged with each read.
 * A provider whose configuration is not usable keeps its last good one. A target never changes, so a request keeps the
 * configuration that it began with.
 */
export class ProviderRegistry {
  readonly #options: ProviderRegistryOptions
  readonly #closed = new AbortController()
  #snapshot: Snapshot | undefined
  #readAt = 0
  /** providers of the last read that were not usable, with the problem: each is logged once */
  #problems = new Map<string, string>()
  #reading: Promise<Snapshot> | undefined
  #readingNext: Promise<Snapshot> | undefined

  constructor(options: ProviderRegistryOptions) {
    this.#options = options
  }

  /** whether there is a snapshot; without one, a read begins */
  get loaded(): boolean {
    if (!this.#snapshot) this.refresh()
    return this.#snapshot !== undefined
  }

  /** Reads a new snapshot in the background. */
  refresh(): void {
    this.#read().catch(() => {}) // #load logs it
  }

  /**
   * Marks the snapshot as out of date and reads a new one, for which requests wait. If the read fails, the next request
   * tries again.
   */
  changed(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
    this.#readAfterNow().catch(() => {}) // #load logs it
  }

  /** Aborts the read that is under way and begins no other. Reads that fail from now on are not logged. */
  close(): void {
    this.#closed.abort(new Error('the bridge is closed'))
  }

  /** Returns a provider of the current snapshot, without waiting. */
  peek(name: string): Target | undefined {
    return this.#snapshot?.targets.get(name)
  }

  /** Returns an enabled provider if the current snapshot is fresh, without waiting. */
  known(name: string): Target | undefined {
    const isFresh = performance.now() - this.#readAt < this.#options.ttlMs / 2
    const target = isFresh ? this.peek(name) : undefined
    return target?.provider.enabled ? target : undefined
  }

  /** Returns whether the current snapshot has a provider with this key: then bridges of this control plane send it. */
  hasKey(key: string): boolean {
    return this.#snapshot?.keys.has(key) ?? false
  }

  /**
   * Returns a provider, also a disabled one. If the provider is unknown or disabled, a new read begins after this call,
   * so that a provider that was just added or enabled is found.
   * @throws the error of the read, if the provider is unknown
   */
  async find(name: string): Promise<Target | undefined> {
    const known = (await this.#current()).targets.get(name)
    if (known?.provider.enabled) return known
    try {
      return (await this.#readAfterNow()).targets.get(name)
    } catch (error) {
      if (known) return known
      throw error
    }
  }

  async #current(): Promise<Snapshot> {
    const snapshot = this.#snapshot
    if (!snapshot) return this.#read()
    const age = performance.now() - this.#readAt
    if (age < this.#options.ttlMs / 2) return snapshot
    if (age < this.#options.ttlMs) {
      this.refresh()
      return snapshot
    }
    return this.#read().catch(() => snapshot)
  }

  #read(): Promise<Snapshot> {
    this.#reading ??= this.#load().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  #readAfterNow(): Promise<Snapshot> {
    if (!this.#reading) return this.#read()
    this.#readingNext ??= this.#reading
      .catch(() => {}) // only the end of that read matters
      .then(() => {
        this.#readingNext = undefined
        return this.#read()
      })
    return this.#readingNext
  }

  async #load(): Promise<Snapshot> {
    const { signal } = this.#closed
    const startedAt = performance.now()
    try {
      signal.throwIfAborted()
      const snapshot = this.#snapshotOf(await this.#options.load(signal))
      this.#snapshot = snapshot
      this.#readAt = startedAt
      this.#options.onSnapshot?.(snapshot.targets)
      return snapshot
    } catch (error) {
      // The owner of the client learns from `closed` that the link has ended.
      if (!signal.aborted && !isClosedForGood(error)) {
        this.#options.logger.warn(
          { err: error, keptSnapshot: this.#snapshot !== undefined },
          'providers could not be read',
        )
      }
      throw error
    }
  }

  #snapshotOf({ providers, unreadable = [] }: ProvidersOutput): Snapshot {
    const targets = new Map<string, Target>()
    const problems = new Map<string, string>()
    const before = (name: string) => this.#snapshot?.targets.get(name)
    for (const provider of providers) {
      const { name } = provider
      const known = before(name)
      const target = known && isSame(known.provider, provider) ? known : this.#target(provider)
      if (typeof target === 'string') problems.set(name, target)
      else targets.set(name, target)
    }
    for (const name of unreadable) problems.set(name, 'the keys cannot be opened')
    let outdated = 0
    for (const [name, problem] of problems) {
      const known = before(name)
      if (known) {
        targets.set(name, known)
        outdated++
      }
      if (this.#problems.get(name) === problem) continue
      const { type, baseUrl } = providers.find(provider => provider.name === name) ?? known?.provider ?? {}
      const consequence = known ? 'its last good configuration is used' : 'it is left out'
      this.#options.logger.warn({ name, type, baseUrl, problem }, `a provider is not usable: ${consequence}`)
    }
    this.#problems = problems
    this.#options.onOutdated?.(outdated)
    const keys = new Set([...targets.values()].flatMap(({ provider }) => provider.keys))
    return { targets, keys }
  }

  /** Returns the target of a provider, or why there is none. */
  #target(provider: Provider): Target | string {
    const { name, type, baseUrl } = provider
    const api = apiOf(type)
    if (!api) return `its type ${type} is unknown`
    const settings = readProviderSettings(provider.settings, field =>
      this.#options.logger.warn({ provider: name, field }, 'a setting of a provider is not usable'),
    )
    const first = endpointOf(baseUrl)
    if (!first) return `its base URL ${baseUrl} is not usable`
    const fallbacks = (settings.fallbackUrls ?? []).flatMap(url => endpointOf(url) ?? [])
    return { provider, api, endpoints: [first, ...fallbacks], keys: keysOf(provider), settings }
  }
}

/** Returns the keys of a provider, the preferred one first. */
function keysOf({ keys, keyIds }: Provider): ProviderKey[] {
  return keys.map((text, index) => ({ id: keyIds?.[index] ?? `key ${index + 1}`, text })).reverse()
}

function endpointOf(baseUrl: string): Endpoint | undefined {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) return undefined
  return { origin: url.origin, basePath: url.pathname.replace(/\/+$/, '') }
}

function isSame(before: Provider, after: Provider): boolean {
  return JSON.stringify(before) === JSON.stringify(after)
}

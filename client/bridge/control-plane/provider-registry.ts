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
  /** origin of the base URL */
  origin: string
  /** path of the base URL, without a slash at its end */
  basePath: string
  settings: ProviderSettings
}

/** Options of {@link ProviderRegistry}. */
export interface ProviderRegistryOptions {
  /** reads the providers from the control plane; rejects when the signal aborts */
  load: (signal: AbortSignal) => Promise<ProvidersOutput>
  logger: Logger
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
 */
export class ProviderRegistry {
  readonly #options: ProviderRegistryOptions
  readonly #closed = new AbortController()
  #snapshot: Snapshot | undefined
  #readAt = 0
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
      const { providers } = await this.#options.load(signal)
      const targets = new Map<string, Target>()
      for (const provider of providers) {
        const target = this.#target(provider)
        if (target) targets.set(provider.name, target)
      }
      const snapshot = { targets, keys: new Set(providers.flatMap(({ keys }) => keys)) }
      this.#snapshot = snapshot
      this.#readAt = startedAt
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

  #target(provider: Provider): Target | undefined {
    const api = apiOf(provider.type)
    const url = URL.canParse(provider.baseUrl) ? new URL(provider.baseUrl) : undefined
    if (!api || !url || !/^https?:$/.test(url.protocol)) {
      const { name, type, baseUrl } = provider
      this.#options.logger.warn(
        { name, type, baseUrl },
        'a provider of unknown type or without a usable base URL is left out',
      )
      return undefined
    }
    const settings = readProviderSettings(provider.settings, field =>
      this.#options.logger.warn({ provider: provider.name, field }, 'a setting of a provider is not usable'),
    )
    return { provider, api, origin: url.origin, basePath: url.pathname.replace(/\/+$/, ''), settings }
  }
}

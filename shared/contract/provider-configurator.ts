/** The providerConfigurator: AI providers and their keys, for daemons. Responses hold secrets and are never logged. */
import type { JsonObject } from '../values/text.js'

/** The types of stored providers. A bridge serves the types whose API it speaks (client/bridge/providers/apis.ts). */
export const providerTypes = ['anthropic', 'openai'] as const

/** The API of a provider: one of {@link providerTypes}. */
export type ProviderType = (typeof providerTypes)[number]

/** A provider as a daemon gets it. `keys` and `settings` are empty for a disabled provider. */
export interface Provider {
  /** slug, the path segment of `/bridge/<name>` */
  name: string
  type: ProviderType
  enabled: boolean
  /** absolute URL; the path after the mount is appended */
  baseUrl: string
  /** in the order they were added; the newest is last */
  keys: string[]
  settings?: JsonObject
}

/** One consistent snapshot, sorted by name. */
export interface ProvidersOutput {
  providers: Provider[]
}

/** The providerConfigurator: AI providers and their keys, for daemons. Responses hold secrets and are never logged. */
import { z } from 'zod'
import type { JsonObject } from '../values/text.js'
import { name, slug, text } from './fields.js'
import { recordLimits } from './limits.js'

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
  /** the key that the operator prefers is last: daemons of 1.5 use that one, and no other */
  keys: string[]
  /** the ids of `keys`, in the same order; absent before 1.6 */
  keyIds?: string[]
  /** changes with each change of the provider, also with one that changes no field; absent before 1.6 */
  revision?: string
  settings?: JsonObject
}

/** One consistent snapshot, sorted by name. */
export interface ProvidersOutput {
  providers: Provider[]
  /** names of the providers that are left out because their keys cannot be opened; absent before 1.6 */
  unreadable?: string[]
}

/** Reports a key that a provider rejects, for operators. A report about an older revision changes nothing. */
export const reportKeyInput = z.object({
  provider: slug,
  keyId: name,
  /** the revision of the provider that the daemon had */
  revision: name,
  /** the provider's response */
  status: z.union([z.literal(401), z.literal(403)]),
  /** the model of the request, to which a 403 may be limited */
  model: text(recordLimits.maxNameLength).optional(),
})

/** See {@link reportKeyInput}. */
export type ReportKeyInput = z.input<typeof reportKeyInput>

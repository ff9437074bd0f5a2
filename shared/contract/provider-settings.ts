/**
 * The settings of a provider: the server keeps them as one JSON object, and each daemon reads the fields that it knows.
 */
import { z } from 'zod'
import type { JsonObject } from '../values/text.js'
import { httpUrl } from './admin/fields.js'

/** Longest time limit of a provider or a server: a day. Node's own timers end at 24 days. */
export const maxTimeLimitMs = 86_400_000

/** Largest body limit of a provider or a server. The text of a body has to fit into one string. */
export const maxBodyLimitBytes = 256 * 1024 * 1024

/** Most fallback URLs of a provider: each one that is down costs a request the time of a connection. */
const maxFallbackUrls = 8

/** Patterns of models, and the length of one. */
const maxModelPatterns = 64
const maxPatternLength = 256

/** Most parallel requests that a provider may be limited to; far above what one process carries. */
const maxParallelRequests = 100_000

const timeLimit = z.number().int().min(0).max(maxTimeLimitMs)

/** Schemas of the fields. A time or a size takes the place of the server's setting of the same name. */
export const providerSettingsFields = {
  /** from the request until the provider's status line, in milliseconds; 0: no limit */
  firstByteTimeoutMs: timeLimit,
  /** silence inside a response, in milliseconds; 0: no limit */
  idleTimeoutMs: timeLimit,
  /**
   * whether a streamed request of Chat Completions that does not ask for its usage is made to: `auto`, unless the
   * provider rejects such requests; or `never`
   */
  includeUsage: z.enum(['auto', 'never']),
  /** body of one request */
  maxBodyBytes: z.number().int().min(1).max(maxBodyLimitBytes),
  /** further base URLs of the same API, in order: a request goes to the next one if no connection is made */
  fallbackUrls: z.array(httpUrl).max(maxFallbackUrls),
  /** requests under way at once; further ones wait a few seconds for a place */
  maxParallelRequests: z.number().int().min(1).max(maxParallelRequests),
  /** models to whose requests no tools of MCP servers are added; `*` in a pattern stands for any text */
  modelsWithoutTools: z.array(z.string().min(1).max(maxPatternLength)).max(maxModelPatterns),
  /** the list in which the prices of the models stand; `none`: they are unpriced */
  priceList: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'must be the name of a price list, or none'),
} as const

/** The settings of a provider as an operator sees them; null stands for the server's setting. */
export interface ShownProviderSettings {
  firstByteTimeoutMs: number | null
  idleTimeoutMs: number | null
  maxBodyBytes: number | null
  includeUsage: 'auto' | 'never' | null
  /** null: none */
  fallbackUrls: string[] | null
  /** null: any number */
  maxParallelRequests: number | null
  /** null: small models, see {@link smallModels} */
  modelsWithoutTools: string[] | null
  /** null: the list that belongs to the host of the base URL */
  priceList: string | null
}

/** The models that get no tools by default: coding clients use them for titles and summaries. */
export const smallModels: readonly string[] = ['*haiku*', '*nano*']

/** The settings of a provider that has none of its own. */
export const unsetProviderSettings: ShownProviderSettings = {
  firstByteTimeoutMs: null,
  idleTimeoutMs: null,
  maxBodyBytes: null,
  includeUsage: null,
  fallbackUrls: null,
  maxParallelRequests: null,
  modelsWithoutTools: null,
  priceList: null,
}

/** A change of settings: a field that is left out stays, and null sets it back to the server's setting. */
export const providerSettingsChange = z.object({
  firstByteTimeoutMs: timeLimit.nullable().optional(),
  idleTimeoutMs: timeLimit.nullable().optional(),
  maxBodyBytes: providerSettingsFields.maxBodyBytes.nullable().optional(),
  includeUsage: providerSettingsFields.includeUsage.nullable().optional(),
  fallbackUrls: providerSettingsFields.fallbackUrls.nullable().optional(),
  maxParallelRequests: providerSettingsFields.maxParallelRequests.nullable().optional(),
  modelsWithoutTools: providerSettingsFields.modelsWithoutTools.nullable().optional(),
  priceList: providerSettingsFields.priceList.nullable().optional(),
})

/** Settings of one provider; a field that is not set leaves the server's setting. */
export type ProviderSettings = {
  [K in keyof typeof providerSettingsFields]?: z.output<(typeof providerSettingsFields)[K]>
}

/**
 * Returns the settings that this version knows. A field with a value that breaks its rule is left out and named to
 * `report`: a newer version may know more values.
 */
export function readProviderSettings(
  settings: JsonObject | undefined,
  report: (field: string) => void = () => {},
): ProviderSettings {
  const known: ProviderSettings = {}
  for (const [field, schema] of Object.entries(providerSettingsFields)) {
    const value = settings?.[field]
    if (value === undefined || value === null) continue
    const { success, data } = schema.safeParse(value)
    if (success) Object.assign(known, { [field]: data })
    else report(field)
  }
  return known
}

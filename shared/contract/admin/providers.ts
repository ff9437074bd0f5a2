/** Providers, their keys, their warnings and their test. */
import { z } from 'zod'
import { slug } from '../fields.js'
import { adminLimits } from '../limits.js'
import { type ProviderType, providerTypes } from '../provider-configurator.js'
import { providerSettingsChange, type ShownProviderSettings } from '../provider-settings.js'
import type { ErrorType } from '../recorder.js'
import { httpUrl } from './fields.js'

/** A key travels in an HTTP header, so a key is visible ASCII. */
export const providerKey = z
  .string()
  .max(adminLimits.maxProviderKeyLength)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces, and not empty')

/**
 * Adds a provider, or changes the provider of this name: absent fields stay unchanged. `keys` replaces all keys; the
 * first key is the preferred one.
 */
export const providersUpsertInput = z.object({
  name: slug,
  /** default of a new provider: `anthropic` */
  type: z.enum(providerTypes).optional(),
  /**
   * default of a new provider, and of a provider that changes its type: the type's own, for instance
   * `https://api.anthropic.com`
   */
  baseUrl: httpUrl.optional(),
  /** default of a new provider: none */
  keys: z.array(providerKey).max(adminLimits.maxProviderKeys).optional(),
  /** default of a new provider: true */
  enabled: z.boolean().optional(),
  settings: providerSettingsChange.optional(),
})

/** Enables or disables a provider. */
export const providersSetEnabledInput = z.object({ name: slug, enabled: z.boolean() })

/** A key of a provider: its id, or the short form of the id. */
const providerKeyId = z.string().min(1).max(64)

/** Adds keys behind the keys of a provider, or before them. */
export const providersKeysAddInput = z.object({
  name: slug,
  keys: z.array(providerKey).min(1).max(adminLimits.maxProviderKeys),
  /** default: false */
  isPreferred: z.boolean().optional(),
})

/** Forgets keys of a provider. */
export const providersKeysRemoveInput = z.object({
  name: slug,
  ids: z.array(providerKeyId).min(1).max(adminLimits.maxProviderKeys),
})

/** Puts keys of a provider in front of its others, in the order given. */
export const providersKeysOrderInput = providersKeysRemoveInput

/** Removes a provider and its keys. */
export const providersRemoveInput = z.object({ name: slug })

/** Asks a provider for its models, with the stored key. */
export const providersTestInput = z.object({ name: slug })

/** Signs that a provider is not set up well. A provider with warnings may work all the same. */
export const providerWarnings = [
  /** requests are sent without a key, unless the client brings its own */
  'no_key',
  /** requests go to `/chat/completions` where the API has `/v1/chat/completions` */
  'base_url_lacks_v1',
  /** requests go to `/v1/v1/…` */
  'base_url_doubles_v1',
  /** the path of one procedure was pasted with the base URL: requests go to `/v1/messages/v1/messages` */
  'base_url_names_endpoint',
  /** the path of a fallback URL has one of these faults */
  'fallback_url_path',
] as const

/** One of {@link providerWarnings}. */
export type ProviderWarning = (typeof providerWarnings)[number]

/** The newest failed interception of a provider, by the start of the request. */
export interface ProviderFailure {
  interceptionId: string
  /** when the request ended */
  at: Date
  errorType: ErrorType
}

/** How a test of a provider can fail. */
export const providerTestFailures = [
  /** the host name has no address */
  'dns',
  /** nothing accepts connections there */
  'refused',
  /** any other failure before a connection */
  'unreachable',
  /** a certificate that is not accepted, or a server that does not speak TLS */
  'tls',
  /** no whole response in time */
  'timeout',
  /** a connection that ended without a whole HTTP response */
  'broken',
  /** 401 or 403 */
  'unauthorized',
  /** 404 */
  'not_found',
  /** 3xx; redirects are not followed */
  'redirect',
  /** any other status than 200 */
  'status',
  /** a response above the size limit */
  'too_large',
  'not_json',
  /** JSON without a list of models */
  'no_models',
  /** no encryption key of the server opens the provider's key */
  'key_unreadable',
] as const

/** One of {@link providerTestFailures}. */
export type ProviderTestFailure = (typeof providerTestFailures)[number]

/** The result of `providers.test`: the provider's response to a request for its models, as the server saw it. */
export interface ProviderTest {
  name: string
  ok: boolean
  /** the URL that was asked */
  url: string
  /** the hint of the key that was sent; null if the provider has none */
  key: string | null
  /** null if there was no response */
  status: number | null
  /** the number of models; null if the test failed */
  models: number | null
  durationMs: number
  failure: ProviderTestFailure | null
  /** the failure in one sentence, without anything that the provider said; null if `ok` */
  message: string | null
}

/** A key of a provider as an operator sees it. */
export interface ProviderKeySummary {
  id: string
  /** for instance `sk-a…wxyz`; never the key */
  hint: string
  /** null unless a daemon has reported, since the last change of the provider, that the provider rejects the key */
  rejection: KeyRejection | null
}

/** The last reported rejection of a key. */
export interface KeyRejection {
  /** 401 or 403 */
  status: number
  /** the model that the key is rejected for; null if for all */
  model: string | null
  /** name of the daemon */
  reportedBy: string
  at: Date
}

/** A provider as an operator sees it. */
export interface ProviderSummary {
  name: string
  type: ProviderType
  enabled: boolean
  baseUrl: string
  /** each key's hint, for instance `sk-a…wxyz`; never a key; the preferred key is first */
  keys: string[]
  /** the same keys with their ids and states */
  keyDetails: ProviderKeySummary[]
  /** null stands for the server's setting */
  settings: ShownProviderSettings
  warnings: ProviderWarning[]
  /** null if no request to it has failed, as far as records are kept */
  lastFailure: ProviderFailure | null
  createdAt: Date
  updatedAt: Date
}

import type { ProviderWarning } from '../../../../shared/contract/admin/providers.js'
import type { ProviderType } from '../../../../shared/contract/provider-configurator.js'

/** The base URL of each type's own vendor: of a new provider without a base URL. */
export const defaultBaseUrls: Record<ProviderType, string> = {
  anthropic: 'https://api.anthropic.com',
  openai: 'https://api.openai.com/v1',
}

/** Returns a base URL without slashes at its end; a daemon appends paths that begin with one. */
export function trimmedBaseUrl(baseUrl: string): string {
  return baseUrl.replace(/\/+$/, '')
}

/**
 * Returns the URL of `GET /v1/models`, which every type has. A daemon appends `/v1/…` to the base URL of a type whose
 * own base URL lacks it (client/bridge/providers), and the rest of the path to any other.
 */
export function modelsUrlOf(type: ProviderType, baseUrl: string): string {
  return baseUrl + (isVersionInBaseUrl(type) ? '/models' : '/v1/models')
}

/**
 * Returns the warning about the path of a base URL; undefined for a good URL. Vendors put other versions, such as
 * `/v1beta`, anywhere into the path, so only a path without any version lacks one.
 */
export function baseUrlWarning(type: ProviderType, baseUrl: string): ProviderWarning | undefined {
  const path = URL.canParse(baseUrl) ? trimmedBaseUrl(new URL(baseUrl).pathname) : undefined
  if (path === undefined) return undefined
  if (endpoint.test(path)) return 'base_url_names_endpoint'
  if (isVersionInBaseUrl(type)) {
    if (path.endsWith('/v1/v1')) return 'base_url_doubles_v1'
    return /\/v\d/.test(path) ? undefined : 'base_url_lacks_v1'
  }
  return path.endsWith('/v1') ? 'base_url_doubles_v1' : undefined
}

/** The paths that the vendors' pages show whole, and that a base URL does not end with. */
const endpoint = /\/(messages|chat\/completions|completions|responses|embeddings|models)$/

function isVersionInBaseUrl(type: ProviderType): boolean {
  return defaultBaseUrls[type].endsWith('/v1')
}

/** The APIs that the bridge speaks, by provider type. */
import type { ProviderType } from '../../../shared/provider-configurator.js'
import { anthropic } from './anthropic.js'
import type { ProviderApi } from './provider-api.js'

const apis: Partial<Record<ProviderType, ProviderApi>> = { anthropic }

/** undefined for a type that a newer control plane knows and this bridge does not. */
export function apiOf(type: string): ProviderApi | undefined {
  return Object.hasOwn(apis, type) ? apis[type as ProviderType] : undefined // checked on this line
}

/**
 * The JSON text of an error where the provider called is unknown: Anthropic's shape for its path, else OpenAI's
 * (https://platform.openai.com/docs/guides/error-codes).
 */
export function errorBodyForPath(path: string, status: number, message: string): string {
  if (path === '/v1/messages' || path.startsWith('/v1/messages/')) return anthropic.errorBody(status, message)
  const type = status >= 500 ? 'server_error' : 'invalid_request_error'
  return JSON.stringify({ error: { message, type, param: null, code: null } })
}

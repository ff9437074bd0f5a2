/** The APIs that the bridge implements, by type of provider. */
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import { anthropic } from './anthropic.js'
import { openai } from './openai.js'
import { openaiErrorBody } from './openai-error-body.js'
import type { ProviderApi } from './provider-api.js'

const apis: Record<ProviderType, ProviderApi> = { anthropic, openai }

/** Returns the API of a type; undefined for a type that only a newer control plane knows. */
export function apiOf(type: string): ProviderApi | undefined {
  return Object.hasOwn(apis, type) ? apis[type as ProviderType] : undefined // checked on this line
}

/**
 * Returns the JSON text of an error for an unknown provider: in Anthropic's shape for Anthropic's paths, else in
 * OpenAI's.
 */
export function errorBodyForPath(path: string, status: number, message: string): string {
  const isAnthropic = path === '/v1/messages' || path.startsWith('/v1/messages/')
  return isAnthropic ? anthropic.errorBody(status, message) : openaiErrorBody(status, message)
}

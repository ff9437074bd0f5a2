/** The APIs that the bridge speaks, by provider type. */
import type { ProviderType } from '../../../shared/contract/provider-configurator.js'
import { anthropic } from './anthropic.js'
import { openai } from './openai.js'
import { openaiErrorBody } from './openai-errors.js'
import type { ProviderApi } from './provider-api.js'

const apis: Record<ProviderType, ProviderApi> = { anthropic, openai }

/** undefined for a type that a newer control plane knows and this bridge does not. */
export function apiOf(type: string): ProviderApi | undefined {
  return Object.hasOwn(apis, type) ? apis[type as ProviderType] : undefined // checked on this line
}

/** The JSON text of an error where the provider called is unknown: Anthropic's shape for its path, else OpenAI's. */
export function errorBodyForPath(path: string, status: number, message: string): string {
  const isAnthropic = path === '/v1/messages' || path.startsWith('/v1/messages/')
  return isAnthropic ? anthropic.errorBody(status, message) : openaiErrorBody(status, message)
}

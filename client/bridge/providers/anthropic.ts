/**
 * Anthropic's platform (https://docs.anthropic.com/en/api): its routes, its credential header and the shape of its
 * errors.
 */

import type { ProviderApi } from './provider-api.js'
import { anthropicMessages } from './responses/anthropic-messages.js'

/** The API of providers of type `anthropic`. */
export const anthropic: ProviderApi = {
  type: 'anthropic',
  mountPath: '',

  route(method, path) {
    if (path === '/v1/messages') return method === 'POST' ? anthropicMessages : undefined
    if (path === '/v1/messages/count_tokens') return method === 'POST' ? 'passthrough' : undefined
    if (path === '/v1/models' || path.startsWith('/v1/models/')) {
      return method === 'GET' || method === 'HEAD' ? 'passthrough' : undefined
    }
    return undefined
  },

  credentialHeaders(key, request) {
    if (!key.startsWith('sk-ant-oat')) return ['x-api-key', key]
    const authorization = ['authorization', `Bearer ${key}`]
    return namesBeta(request, oauthBeta) ? authorization : [...authorization, 'anthropic-beta', oauthBeta]
  },

  errorBody: (status, message) =>
    JSON.stringify({ type: 'error', error: { type: errorNames[status] ?? 'api_error', message } }),
}

/** The beta that a token of a subscription needs; https://code.claude.com/docs/en/llm-gateway */
const oauthBeta = 'oauth-2025-04-20'

/** Returns whether one of the headers `anthropic-beta` names a beta. */
function namesBeta(raw: readonly string[], beta: string): boolean {
  return raw.some((name, index) => {
    if (index % 2 !== 0 || name.toLowerCase() !== 'anthropic-beta') return false
    return (raw[index + 1] ?? '').split(',').some(part => part.trim() === beta)
  })
}

/** Status → type of error, as in https://docs.anthropic.com/en/api/errors. */
const errorNames: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

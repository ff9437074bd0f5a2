/**
 * OpenAI's platform (https://platform.openai.com/docs/api-reference): its routes, each with its API, and its credential
 * header.
 */

import { openaiErrorBody } from './openai-error-body.js'
import type { ProviderApi } from './provider-api.js'
import { openaiChat } from './responses/openai-chat.js'
import { openaiEmbeddings } from './responses/openai-embeddings.js'
import { openaiCompaction, openaiResponses } from './responses/openai-responses.js'

/** The API of providers of type `openai`. */
export const openai: ProviderApi = {
  type: 'openai',
  mountPath: '/v1',

  route(method, path) {
    if (path === '/chat/completions') return method === 'POST' ? openaiChat : undefined
    if (path === '/responses') return method === 'POST' ? openaiResponses : undefined
    if (path === '/responses/compact') return method === 'POST' ? openaiCompaction : undefined
    if (path === '/embeddings') return method === 'POST' ? openaiEmbeddings : undefined
    if (path === '/models' || path.startsWith('/models/')) {
      return method === 'GET' || method === 'HEAD' ? 'passthrough' : undefined
    }
    if (path === '/conversations' || path.startsWith('/conversations/')) return 'passthrough'
    return path.startsWith('/responses/') && mayPass(method, path) ? 'passthrough' : undefined
  },

  credentialHeaders: key => ['authorization', `Bearer ${key}`],

  errorBody: openaiErrorBody,
}

/**
 * Returns whether a request below `/responses/` passes without a record. Every model call has to be recorded, so that
 * only known paths may be posted to: a provider decodes escapes and cuts off parameters (`%63ompact`, `compact;x`),
 * which makes another path of them.
 */
function mayPass(method: string, path: string): boolean {
  if (method === 'GET' || method === 'HEAD') return true
  if (method === 'DELETE') return deletable.test(path)
  return method === 'POST' && postable.test(path)
}

const deletable = /^\/responses\/[A-Za-z0-9._~-]+$/
const postable = /^\/responses\/(?:input_tokens|[A-Za-z0-9._~-]+\/cancel)$/

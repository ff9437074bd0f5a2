/**
 * OpenAI's platform (https://platform.openai.com/docs/api-reference): its routes, each with its API, and its credential
 * header.
 */
import { openaiChat } from './openai-chat.js'
import { openaiEmbeddings } from './openai-embeddings.js'
import { openaiErrorBody } from './openai-error-body.js'
import { openaiCompaction, openaiResponses } from './openai-responses.js'
import type { ProviderApi } from './provider-api.js'

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
    const open = path === '/conversations' || path.startsWith('/conversations/') || path.startsWith('/responses/')
    return open ? 'passthrough' : undefined
  },

  credentialHeaders: key => ['authorization', `Bearer ${key}`],

  errorBody: openaiErrorBody,
}

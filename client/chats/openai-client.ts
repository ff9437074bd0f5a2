/** The SDK of OpenAI, for both of its APIs. */
import type OpenAI from 'openai'
import type { ModelRequest } from '../../server/services/chats/model.js'
import type { ApiCall } from './api-call.js'

/**
 * Sends a request. A provider that rejects one of the optional fields gets the request again without it.
 * @param send makes the request; `may` says whether it may have a field
 */
export async function withOpenai<T>(
  request: ModelRequest,
  { fetch, optional }: ApiCall,
  fields: readonly string[],
  send: (sdk: OpenAI, may: (field: string) => boolean) => Promise<T>,
): Promise<T> {
  const { OpenAI: Sdk } = await import('openai')
  // Everything that the SDK would read from the environment of the server is given.
  const sdk = new Sdk({
    apiKey: 'unused',
    baseURL: 'https://api.openai.com/v1',
    organization: null,
    project: null,
    webhookSecret: null,
    fetch,
    maxRetries: 0,
    logLevel: 'off',
  })
  for (;;) {
    try {
      return await send(sdk, field => optional.may(request, field))
    } catch (error) {
      if (!optional.notes(request, fields, error)) throw error
    }
  }
}

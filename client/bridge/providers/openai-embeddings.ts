/** OpenAI Embeddings (https://platform.openai.com/docs/api-reference/embeddings). */
import { isPlainObject } from '../../../shared/values/text.js'
import { OpenaiUsage } from './openai-usage.js'
import type { BridgedRoute, Outcome, ResponseFacts, ResponseReader } from './provider-api.js'
import { errorIn, unnamedError } from './provider-errors.js'
import { textOf } from './reading.js'
import { readChatRequest } from './requests/chat-request.js'

/** The route `POST /embeddings`: its tokens are recorded, its input is no prompt. */
export const openaiEmbeddings: BridgedRoute = {
  name: 'openai/embeddings',
  readRequest: (body, headers) => ({ ...readChatRequest(body, headers), prompt: undefined }),
  createResponseReader: () => new EmbeddingsReader(),
}

class EmbeddingsReader implements ResponseReader {
  readonly complete = false
  readonly mayEnd = false
  readonly #usage = new OpenaiUsage()
  readonly #outcome: Outcome = {}
  #error: ResponseFacts['error']

  /** The API has no streams. */
  event(): void {}

  body(json: unknown): boolean {
    if (!isPlainObject(json)) return false
    if (json.error) this.#error = errorIn(json.error) ?? unnamedError
    this.#usage.add(json.usage)
    this.#outcome.served_model = textOf(json.model)
    return this.#error !== undefined || Array.isArray(json.data) || isPlainObject(json.usage)
  }

  facts(): ResponseFacts {
    const usage = this.#usage.counts()
    return {
      usage,
      usageIsFinal: usage !== undefined,
      outcome: this.#outcome,
      tools: [],
      thoughts: [],
      error: this.#error,
    }
  }
}

/** OpenAI Embeddings (https://platform.openai.com/docs/api-reference/embeddings). */
import { isPlainObject } from '../../../../shared/values/text.js'
import type { BridgedRoute, Outcome, ResponseFacts, ResponseReader, TokenCounts } from '../provider-api.js'
import { errorIn, unnamedError } from '../provider-errors.js'
import { textOf } from '../reading.js'
import { readChatRequest } from '../requests/chat-request.js'
import { OpenaiUsage } from './openai-usage.js'
import { totalOf } from './token-names.js'

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
  #total: number | undefined

  /** The API has no streams. */
  event(): void {}

  body(json: unknown): boolean {
    if (!isPlainObject(json)) return false
    if (json.error) this.#error = errorIn(json.error) ?? unnamedError
    this.#usage.add(json.usage)
    this.#total = isPlainObject(json.usage) ? totalOf(json.usage) : undefined
    this.#outcome.served_model = textOf(json.model)
    return this.#error !== undefined || Array.isArray(json.data) || isPlainObject(json.usage)
  }

  /** Returns the counts. An embedding has no output: a provider may send the total only. */
  #counts(): TokenCounts | undefined {
    const counts = this.#usage.counts()
    if (counts) return { ...counts, output: 0 }
    if (this.#total === undefined) return undefined
    return { input: this.#total, output: 0, cacheRead: 0, cacheWrite: 0, details: {} }
  }

  facts(): ResponseFacts {
    const usage = this.#counts()
    return {
      usage,
      usageIsFinal: usage !== undefined,
      usageMismatch:
        usage !== undefined &&
        this.#total !== undefined &&
        this.#total !== usage.input + usage.cacheRead + usage.cacheWrite,
      outcome: this.#outcome,
      tools: [],
      thoughts: [],
      error: this.#error,
    }
  }
}

/** Error responses of a provider to a round behind the first one: the client's stream ends with their words. */
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import { errorIn, unnamedError } from '../providers/provider-errors.js'
import { jsonTextOf, parsed, textOf } from '../providers/reading.js'
import { encodingsOf } from '../wire/content-encoding.js'
import { findHeader, type ResponseHead } from '../wire/headers.js'

/** The error response of a provider. */
export interface ProviderError {
  status: number
  /** its body, out of JSON; undefined for other text, and for a body that was not read */
  body: unknown
}

/** A larger body is not read: the words of an error have a few hundred bytes, the pages of servers a few thousand. */
const maxBytes = 64 * 1024

/** Reads an error response. */
export class ProviderErrorReader {
  readonly #status: number
  /** undefined for a body that is not read */
  #chunks: Buffer[] | undefined
  #bytes = 0

  constructor({ status, headers }: ResponseHead) {
    this.#status = status
    // The request asked for no encoding.
    this.#chunks = encodingsOf(findHeader(headers, 'content-encoding')).length > 0 ? undefined : []
  }

  /** Takes a chunk of the body. */
  push(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes > maxBytes) this.#chunks = undefined
    this.#chunks?.push(chunk)
  }

  /** Returns the error, at the end of the response. */
  end(): ProviderError {
    return { status: this.#status, body: this.#chunks && parsed(Buffer.concat(this.#chunks).toString()) }
  }
}

/**
 * Returns the JSON text of a provider's error for the client: the provider's own if it has a member `error` with a
 * message, as the APIs have; else its words, or a message, in the API's shape.
 * @param outer members that the API's shape has beside `error`
 * @param errorBody makes the text in the API's shape
 */
export function providerErrorText(
  { status, body }: ProviderError,
  message: string,
  outer: JsonObject,
  errorBody: (status: number, message: string) => string,
): string {
  const isOwn = isPlainObject(body) && isPlainObject(body.error) && textOf(body.error.message) !== undefined
  const own = isOwn ? jsonTextOf({ ...body, ...outer }) : ''
  if (own !== '') return own
  const words = errorIn(body)?.message ?? unnamedError.message
  return errorBody(status, words === unnamedError.message ? message : words)
}

import type { ResponseHead } from '../wire/headers.js'
import type { ResponseReceiver } from './upstream-call.js'

/** Statuses of a provider that does not know a field of a request. */
const rejections = new Set([400, 422])

/**
 * Passes a response on to a receiver, unless the provider rejects the request: then nothing of the response is passed
 * on, and the request may be sent again.
 */
export class FirstAttempt implements ResponseReceiver {
  /** whether the provider rejected the request */
  isRejected = false
  readonly #receiver: ResponseReceiver

  constructor(receiver: ResponseReceiver) {
    this.#receiver = receiver
  }

  head(head: ResponseHead): void {
    this.isRejected = rejections.has(head.status)
    if (!this.isRejected) this.#receiver.head(head)
  }

  chunk(chunk: Buffer): Promise<void> | undefined {
    return this.isRejected ? undefined : this.#receiver.chunk(chunk)
  }
}

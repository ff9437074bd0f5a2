import type { ResponseHead } from '../wire/headers.js'
import type { ResponseReceiver } from './upstream-call.js'

/** Returns whether a status may say that the provider does not know a field of a request. */
export function mayRejectField(status: number): boolean {
  return status === 400 || status === 422
}

/**
 * Passes a response on to a receiver, unless the provider rejects the request: then nothing of the response is passed
 * on, the call is ended at once, and the request may be sent again.
 */
export class FirstAttempt implements ResponseReceiver {
  readonly #receiver: ResponseReceiver
  readonly #onAccepted: () => void
  readonly #abort = new AbortController()
  /** ends the call; aborts when the exchange aborts, or when the provider rejects the request */
  readonly signal: AbortSignal

  /** @param onAccepted is called if the provider does not reject the request: no second attempt follows */
  constructor(receiver: ResponseReceiver, exchange: AbortSignal, onAccepted: () => void) {
    this.#receiver = receiver
    this.#onAccepted = onAccepted
    this.signal = AbortSignal.any([exchange, this.#abort.signal])
  }

  /** whether the provider rejected the request */
  get isRejected(): boolean {
    return this.#abort.signal.aborted
  }

  head(head: ResponseHead): void {
    if (mayRejectField(head.status)) return this.#abort.abort(new Error('the provider rejected the request'))
    this.#onAccepted()
    this.#receiver.head(head)
  }

  chunk(chunk: Buffer): Promise<void> | undefined {
    return this.isRejected ? undefined : this.#receiver.chunk(chunk)
  }
}

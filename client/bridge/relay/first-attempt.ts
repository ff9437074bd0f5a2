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
  #isRejected = false

  /** @param onAccepted is called if the provider does not reject the request: no second attempt follows */
  constructor(receiver: ResponseReceiver, onAccepted: () => void) {
    this.#receiver = receiver
    this.#onAccepted = onAccepted
  }

  /** whether the provider rejected the request */
  get isRejected(): boolean {
    return this.#isRejected
  }

  /** Takes the head. @throws Error if the provider rejected the request, which ends the call */
  head(head: ResponseHead): void {
    this.#isRejected = mayRejectField(head.status)
    if (this.#isRejected) throw new Error('the provider rejected the request')
    this.#onAccepted()
    this.#receiver.head(head)
  }

  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined {
    return this.#receiver.chunk(chunk, isLast)
  }
}

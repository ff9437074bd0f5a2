import type { ResponseHead } from '../wire/headers.js'
import type { ResponseReceiver } from './upstream-call.js'

/** Returns whether a status may say that the provider does not know a field of a request. */
export function mayRejectField(status: number): boolean {
  return status === 400 || status === 422
}

/**
 * Passes a response on to a receiver, unless the request is going to be sent again: then nothing of the response is
 * passed on, and the call is ended at once.
 */
export class Attempt implements ResponseReceiver {
  readonly #receiver: ResponseReceiver
  readonly #isDropped: (head: ResponseHead) => boolean
  readonly #onAccepted: () => void
  #dropped = false

  /**
   * @param isDropped decides at the head of a response whether the response is dropped
   * @param onAccepted is called if it is not: no further attempt follows
   */
  constructor(receiver: ResponseReceiver, isDropped: (head: ResponseHead) => boolean, onAccepted: () => void) {
    this.#receiver = receiver
    this.#isDropped = isDropped
    this.#onAccepted = onAccepted
  }

  /** whether the response was dropped */
  get isDropped(): boolean {
    return this.#dropped
  }

  /** Takes the head. @throws Error if the response is dropped, which ends the call */
  head(head: ResponseHead): void {
    this.#dropped = this.#isDropped(head)
    if (this.#dropped) throw new Error('the response is dropped; the request is sent again')
    this.#onAccepted()
    this.#receiver.head(head)
  }

  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined {
    return this.#receiver.chunk(chunk, isLast)
  }
}

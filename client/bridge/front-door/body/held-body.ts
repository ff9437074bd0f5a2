import { type OutgoingBody, outgoingBody } from '../../relay/outgoing-body.js'
import type { BodyShare } from './body-memory.js'

/**
 * The body of one request: in memory once, and only until the provider has taken it and no second attempt can follow.
 * No other object may keep a reference to the bytes, since a response may take minutes.
 */
export class HeldBody {
  readonly #share: BodyShare
  #original: readonly Buffer[]
  #adapted: readonly Buffer[] | undefined
  /** bytes of the body as received */
  readonly length: number

  /** @param adapted the body that the provider gets first, in pieces that share the memory of the original */
  constructor(share: BodyShare, original: Buffer, adapted?: readonly Buffer[]) {
    this.#share = share
    this.#original = [original]
    this.#adapted = adapted
    this.length = original.length
  }

  /** whether the provider gets another body than the client's, which it may reject */
  get isAdapted(): boolean {
    return this.#adapted !== undefined
  }

  /** Returns the body for a first attempt. The memory is held for a second one, until {@link release}. */
  forFirstAttempt(): OutgoingBody {
    return outgoingBody(this.#adapted ?? this.#original)
  }

  /**
   * Returns the body as received, for the last attempt. The memory is released when the provider has taken the body.
   */
  forLastAttempt(): OutgoingBody {
    const body = outgoingBody(this.#original, () => this.#share.release())
    this.#drop()
    return body
  }

  /** Gives the memory back: the attempt under way is the last one. */
  release(): void {
    this.#drop()
    this.#share.release()
  }

  #drop(): void {
    this.#original = []
    this.#adapted = undefined
  }
}

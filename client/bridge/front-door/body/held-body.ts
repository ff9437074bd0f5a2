import { type OutgoingBody, outgoingBody } from '../../relay/outgoing-body.js'
import type { BodyShare } from './body-memory.js'

/**
 * The body of one request: in memory once, and only until the provider has taken it and no further attempt can follow.
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

  /** Returns the body for an attempt. The memory is held for a further one, until {@link release}. */
  forAttempt(): OutgoingBody {
    return outgoingBody(this.#adapted ?? this.#original)
  }

  /** Returns the body for the last attempt. The memory is released when the provider has taken the body. */
  forLastAttempt(): OutgoingBody {
    const body = outgoingBody(this.#adapted ?? this.#original, () => this.#share.release())
    this.#drop()
    return body
  }

  /** Drops the adaptation: from now on the provider gets the body as received. */
  restore(): void {
    this.#adapted = undefined
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

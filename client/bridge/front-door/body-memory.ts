import { Rejection } from '../wire/rejection.js'

/** The memory that the bodies of all requests share. */
export class BodyMemory {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** bytes of all bodies that are held */
  get bytes(): number {
    return this.#bytes
  }

  /** Makes the share of one request. */
  share(): BodyShare {
    let held = 0
    return {
      take: bytes => {
        if (this.#bytes + bytes > this.#maxBytes) {
          const message = `request bodies in flight fill maxTotalBodyBytes ${this.#maxBytes.toLocaleString('en')}`
          throw new Rejection(503, 'memory_full', `${message}; try again later`)
        }
        this.#bytes += bytes
        held += bytes
      },
      release: () => {
        this.#bytes -= held
        held = 0
      },
    }
  }
}

/** The memory of one request. */
export interface BodyShare {
  /**
   * Adds bytes to the share.
   * @throws Rejection 503 if the bodies of all requests would be larger than the bound
   */
  take(bytes: number): void
  /** Returns all bytes of the share. */
  release(): void
}

import { Rejection } from '../../wire/rejection.js'

/** Bodies up to this size are small: they find room when large ones fill their part. */
const maxSmallBytes = 1024 * 1024

/**
 * The memory that the bodies of all requests share. No request and no owner can take all of it:
 *
 * - all bodies together take `maxBytes` at most;
 * - large bodies leave an eighth of that to small ones, so that a few large requests stop no others;
 * - the bodies of one owner take a half, so that one owner stops no other.
 *
 * A body beside which the others of its kind hold next to nothing may pass the last two bounds: a body that is allowed
 * at all must be possible.
 */
export class BodyMemory {
  readonly #maxBytes: number
  readonly #all = new Holders()
  readonly #large = new Holders()
  readonly #owners = new Map<string, Holders>()

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** bytes of all bodies that are held */
  get bytes(): number {
    return this.#all.bytes
  }

  /** number of owners whose bodies are held */
  get owners(): number {
    return this.#owners.size
  }

  /**
   * Makes the share of one request.
   * @param owner id of the user
   */
  share(owner: string): BodyShare {
    let held = 0
    const change = (after: number) => {
      const own = this.#owners.get(owner) ?? new Holders()
      if (after > held) this.#check(own, held, after)
      this.#all.change(held, after)
      own.change(held, after)
      this.#large.change(large(held), large(after))
      held = after
      if (own.bytes > 0) this.#owners.set(owner, own)
      else this.#owners.delete(owner)
    }
    return {
      take: bytes => change(held + bytes),
      release: (bytes = held) => change(Math.max(0, held - bytes)),
    }
  }

  #check(own: Holders, held: number, after: number): void {
    const max = this.#maxBytes
    if (!this.#all.hasRoom(max, held, after))
      throw full(`request bodies in flight fill maxTotalBodyBytes ${format(max)}`)
    const maxLarge = this.#large.isAlone(max, large(held)) ? max : max - max / 8
    if (large(after) > 0 && !this.#large.hasRoom(maxLarge, large(held), large(after))) {
      throw full(`large request bodies fill their part of maxTotalBodyBytes ${format(max)}`)
    }
    if (!own.hasRoom(own.isAlone(max, held) ? max : max / 2, held, after)) {
      throw full(`the request bodies of this user fill half of maxTotalBodyBytes ${format(max)}`)
    }
  }
}

/** The memory of one request. */
export interface BodyShare {
  /**
   * Adds bytes to the share.
   * @throws Rejection 503 if the bodies of all requests would be larger than a bound
   */
  take(bytes: number): void
  /** Gives bytes back; by default all. */
  release(bytes?: number): void
}

/** The bytes of some shares. */
class Holders {
  bytes = 0

  change(before: number, after: number): void {
    this.bytes += after - before
  }

  hasRoom(maxBytes: number, before: number, after: number): boolean {
    return this.bytes - before + after <= maxBytes
  }

  /** Returns whether the others hold no more than a hundredth. */
  isAlone(maxBytes: number, held: number): boolean {
    return this.bytes - held <= maxBytes / 100
  }
}

/** Returns the bytes that count for a large body. */
function large(bytes: number): number {
  return bytes > maxSmallBytes ? bytes : 0
}

function full(cause: string): Rejection {
  return new Rejection(503, 'memory_full', `${cause}; try again later`)
}

function format(bytes: number): string {
  return bytes.toLocaleString('en')
}

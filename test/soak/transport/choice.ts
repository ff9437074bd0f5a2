/** The random choices of one case, the same for the same number (mulberry32). */
export class Choice {
  #state: number

  constructor(seed: number) {
    // Neighbouring numbers begin far apart.
    this.#state = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b) ^ 0x9e3779b9
  }

  /** Returns a number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  /** Returns a whole number in [0, end). */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T // an index below its length
  }

  /** Returns a list of at most `most` items. */
  list<T>(most: number, item: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, item)
  }
}

/**
 * Remembers keys that were good, by their hashes: they pass a bound for guesses, so that a guessing peer cannot keep
 * out the clients behind the same address. The control plane decides about such a key as about any other.
 */
export class KnownKeys {
  readonly #max: number
  /** in the order of the last use */
  readonly #hashes = new Set<string>()

  constructor(max = 10_000) {
    this.#max = max
  }

  has(hash: string): boolean {
    return this.#hashes.has(hash)
  }

  add(hash: string): void {
    this.#hashes.delete(hash)
    this.#hashes.add(hash)
    const [oldest] = this.#hashes
    if (this.#hashes.size > this.#max && oldest !== undefined) this.#hashes.delete(oldest)
  }

  delete(hash: string): void {
    this.#hashes.delete(hash)
  }
}

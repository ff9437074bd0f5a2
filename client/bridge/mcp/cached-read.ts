/** Options of {@link CachedRead}. */
export interface CachedReadOptions<T> {
  read: () => Promise<T>
  /** age in milliseconds above which a value is read again */
  ttlMs: number
  /** Returns whether a value may be used again; by default all may. */
  isKept?: (value: T) => boolean
}

/** Time between two reads when reads fail and an older value is used: one slow read a few seconds, not each time. */
const retryMs = 5_000

/**
 * A value that is read when it is needed and used again for a while. Concurrent callers share a read. A failed read is
 * retried soon; meanwhile the last value is used, however old.
 */
export class CachedRead<T> {
  readonly #options: CachedReadOptions<T>
  #kept: { value: T } | undefined
  #readAgainAt = Number.NEGATIVE_INFINITY
  #reading: Promise<T> | undefined

  constructor(options: CachedReadOptions<T>) {
    this.#options = options
  }

  /** Returns the value without waiting; undefined if it has to be read. */
  known(): T | undefined {
    return performance.now() < this.#readAgainAt ? this.#kept?.value : undefined
  }

  /**
   * Returns the value.
   * @throws the error of the read if no value is kept
   */
  value(): Promise<T> {
    if (this.#kept && performance.now() < this.#readAgainAt) return Promise.resolve(this.#kept.value)
    if (this.#reading) return this.#reading
    const reading: Promise<T> = this.#read(() => this.#reading === reading).finally(() => {
      if (this.#reading === reading) this.#reading = undefined
    })
    this.#reading = reading
    // All callers may have stopped waiting.
    reading.catch(() => {})
    return reading
  }

  /** Drops the value. A read that is under way is of no use any more: the next caller begins another. */
  forget(): void {
    this.#kept = undefined
    this.#reading = undefined
  }

  async #read(isCurrent: () => boolean): Promise<T> {
    const { read, ttlMs, isKept = () => true } = this.#options
    const startedAt = performance.now()
    try {
      const value = await read()
      if (isCurrent()) {
        this.#kept = isKept(value) ? { value } : undefined
        this.#readAgainAt = startedAt + ttlMs
      }
      return value
    } catch (error) {
      if (!this.#kept || !isCurrent()) throw error
      this.#readAgainAt = performance.now() + retryMs
      return this.#kept.value
    }
  }
}

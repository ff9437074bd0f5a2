/** Reads that callers of one turn of the event loop share. */

/**
 * Joins equal reads: three hundred watchers of one chat that a notification wakes cause one read. A read begins behind
 * the turn in which it was asked for, so each caller gets a state that is no older than its call.
 */
export class SharedReads<T> {
  readonly #waiting = new Map<string, Promise<T>>()

  /** Returns the result of `read`, or that of an equal read that has not begun. */
  read(key: string, read: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(key)
    if (waiting) return waiting
    const result = new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      this.#waiting.delete(key)
      return read()
    })
    this.#waiting.set(key, result)
    return result
  }
}

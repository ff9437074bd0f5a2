/** Waits that the end of their owner ends. */
export class Waits {
  readonly #waits = new Set<() => void>()
  #isOver = false

  /** Resolves after a time, or at the end. */
  wait(ms: number): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    return new Promise(resolve => {
      const end = (): void => {
        clearTimeout(timer)
        this.#waits.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#waits.add(end)
    })
  }

  /** Ends all waits, and those that begin later. */
  end(): void {
    this.#isOver = true
    for (const end of this.#waits) end()
  }
}

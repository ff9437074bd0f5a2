/** Holds the callers that wait for one event. A long-lived promise would keep a reaction of each that gave up. */
export class Waiters {
  readonly #release = new Set<() => void>()

  /** Resolves at the event, after `waitMs`, or when the signal aborts. Never rejects. */
  wait(waitMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        this.#release.delete(done)
        resolve()
      }
      const timer = setTimeout(done, waitMs)
      signal?.addEventListener('abort', done, { once: true })
      this.#release.add(done)
    })
  }

  /** Ends all waits. */
  release(): void {
    for (const done of this.#release) done()
  }
}

import { Rejection } from '../wire/rejection.js'

/** Longest wait for a place, in milliseconds: SDKs take a longer silence for a lost connection. */
export const maxWaitMs = 5_000

/**
 * The places of a provider: so many of its requests may be under way at once. Further ones wait in the order of their
 * arrival.
 */
export class Places {
  #max = Number.POSITIVE_INFINITY
  #taken = 0
  readonly #waiting = new Set<Waiter>()

  /** requests that have a place */
  get taken(): number {
    return this.#taken
  }

  /** requests that wait for one */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Changes the number of places. Requests that have a place keep it, so a lower number holds when enough of them have
   * ended.
   */
  limit(max = Number.POSITIVE_INFINITY): void {
    this.#max = max
    this.#fill()
  }

  /**
   * Takes a place. Returns a function that gives it back, once; a promise of it if the request has to wait.
   * @throws Rejection 503 if no place is free in time; the reason of the signal if it aborts the wait
   */
  enter(signal: AbortSignal): (() => void) | Promise<() => void> {
    if (this.#taken >= this.#max) return this.#wait(signal)
    return this.#take()
  }

  #wait(signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const leave = (error: unknown) => {
        end()
        reject(error)
      }
      const onAbort = () => leave(signal.reason)
      const timer = setTimeout(() => leave(this.#full()), maxWaitMs)
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.#waiting.delete(waiter)
      }
      const waiter: Waiter = place => {
        end()
        resolve(place)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiter)
      if (signal.aborted) onAbort()
    })
  }

  #take(): () => void {
    this.#taken++
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#taken--
      this.#fill()
    }
  }

  #fill(): void {
    for (const waiter of this.#waiting) {
      if (this.#taken >= this.#max) return
      waiter(this.#take())
    }
  }

  #full(): Rejection {
    const message = `all ${this.#max.toLocaleString('en')} parallel requests of this provider are taken; try again later`
    return new Rejection(503, 'provider_busy', message, { retryAfterSeconds: maxWaitMs / 1000 })
  }
}

/** Takes a place for a request that waits. */
type Waiter = (place: () => void) => void

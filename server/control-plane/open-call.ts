import type { AgentCall } from '../services/agent-hosts.js'

/**
 * One call to an agent until its end: its deadline, its caller's signal, and the attempt under way at a place `P`.
 */
export class OpenCall<P> {
  readonly agentId: string
  /** why the call ends without a response of the agent */
  end: 'deadline' | 'cancelled' | undefined
  /** the place of the attempt under way */
  place: P | undefined
  readonly #signal: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout
  #attempt: AbortController | undefined
  #startedAt: number | undefined
  #changed: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  constructor(agentId: string, { timeoutMs, signal }: AgentCall) {
    this.agentId = agentId
    this.#signal = signal
    this.#timer = setTimeout(() => this.#finish('deadline'), timeoutMs)
    if (signal?.aborted) this.#onAbort()
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Throws the cause if the caller has cancelled the call. */
  throwIfCancelled(): void {
    if (this.end === 'cancelled') throw this.#signal?.reason
  }

  /** Begins an attempt, which the end of the call and {@link leave} abort. */
  begin(place: P): { signal: AbortSignal; waitedMs: number } {
    const attempt = new AbortController()
    if (this.end) attempt.abort()
    this.#attempt = attempt
    this.place = place
    const now = performance.now()
    this.#startedAt ??= now
    return { signal: attempt.signal, waitedMs: Math.round(now - this.#startedAt) }
  }

  /** Ends the attempt under way, because the agent is asked elsewhere. */
  leave(): void {
    this.#attempt?.abort()
  }

  /** Notes the end of the attempt; returns whether {@link leave} ended it. */
  ended(): boolean {
    const hasLeft = this.#attempt?.signal.aborted === true && this.end === undefined
    this.#attempt = undefined
    this.place = undefined
    return hasLeft
  }

  /** Resolves at the next change, or at the end of the call. */
  get changed(): Promise<void> {
    if (!this.#changed) {
      let resolve = () => {}
      const promise = new Promise<void>(settle => {
        resolve = settle
      })
      this.#changed = { promise, resolve }
    }
    if (this.end) this.change()
    return this.#changed?.promise ?? Promise.resolve()
  }

  /** Wakes a call that waits. */
  change(): void {
    this.#changed?.resolve()
    this.#changed = undefined
  }

  close(): void {
    this.change()
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => this.#finish('cancelled')

  #finish(end: 'deadline' | 'cancelled'): void {
    this.end ??= end
    this.#attempt?.abort()
    this.change()
  }
}

import type { CallType } from '../../shared/rpc/messages.js'

/**
 * Counts the procedures of one connection from their start to their return. A procedure may run on after its call was
 * settled: after a cancel, a deadline or a lost connection. The lists are made for the first waiter: an idle connection
 * has none.
 */
export class RunningProcedures {
  #calls = 0
  #subscriptions = 0
  #idleWaiters: (() => void)[] | undefined
  #releaseWaiters: (() => void)[] | undefined

  /** queries and mutations */
  get calls(): number {
    return this.#calls
  }

  /** queries, mutations and subscriptions */
  get total(): number {
    return this.#calls + this.#subscriptions
  }

  add(type: CallType): void {
    if (type === 'subscription') this.#subscriptions++
    else this.#calls++
  }

  delete(type: CallType): void {
    if (type === 'subscription') this.#subscriptions--
    else this.#calls--
    if (this.#calls === 0) this.reportIdle()
    if (this.total === 0) this.#reportReleased()
  }

  /** Resolves when no query or mutation runs any more, or at the next {@link reportIdle}. */
  whenIdle(): Promise<void> {
    if (this.#calls === 0) return Promise.resolve()
    this.#idleWaiters ??= []
    const waiters = this.#idleWaiters
    return new Promise(resolve => waiters.push(resolve))
  }

  /** Resolves when every procedure has returned, those of subscriptions included. */
  whenReleased(): Promise<void> {
    if (this.total === 0) return Promise.resolve()
    this.#releaseWaiters ??= []
    const waiters = this.#releaseWaiters
    return new Promise(resolve => waiters.push(resolve))
  }

  /** Resolves all promises of {@link whenIdle}, whatever still runs. */
  reportIdle(): void {
    const waiters = this.#idleWaiters
    this.#idleWaiters = undefined
    for (const resolve of waiters ?? []) resolve()
  }

  #reportReleased(): void {
    const waiters = this.#releaseWaiters
    this.#releaseWaiters = undefined
    for (const resolve of waiters ?? []) resolve()
  }
}

import { turnBudget } from '../../shared/rpc/turn-budget.js'
import type { Call } from './call.js'

/** The connection's functions that a pulled source needs. */
export interface PullSink {
  /** Whether a subscription must wait before the next pull. */
  readonly full: boolean
  /** Calls `listener` once, when the peer has caught up or the connection has closed. */
  onDrained(listener: () => void): void
  sendStarted(call: Call): void
  stop(call: Call): void
  fail(call: Call, thrown: unknown): void
  report(call: Call, thrown: unknown): void
}

/**
 * The async iterator of one subscription:
 * ```
 * pulling ──done──▶ over
 *    ├──failed, or an item cannot be sent──▶ returning ──return() has settled──▶ over
 *    └──aborted──▶ returning (a source without return(): when next() has settled)
 * ```
 * Pulls one item at a time, and only while the peer keeps up and the turn of the event loop has time left. No promise
 * is raced per item: the pending `next()` of an aborted call is left to the source. Callbacks rather than a loop with
 * `await`: a suspended function keeps the values of its registers alive, so that each idle subscription would hold its
 * last event.
 */
export class PulledSource {
  /** Resolves, never rejects, when the source is over. */
  readonly over: Promise<void>
  readonly #sink: PullSink
  readonly #call: Call
  readonly #iterator: AsyncIterator<unknown>
  readonly #send: (item: unknown) => void
  #resolveOver: () => void = () => {}
  #returning: Promise<boolean> | undefined

  /** @param send sends one item; an error that it throws ends the subscription */
  constructor(sink: PullSink, call: Call, iterator: AsyncIterator<unknown>, send: (item: unknown) => void) {
    this.#sink = sink
    this.#call = call
    this.#iterator = iterator
    this.#send = send
    this.over = new Promise(resolve => {
      this.#resolveOver = resolve
    })
  }

  /** Begins to pull. */
  start(): void {
    // A source that has cleaned up is over, whether or not the pending `next()` settles.
    this.#call.onAbort(() => void this.#return().then(hasReturn => hasReturn && this.#resolveOver()))
    try {
      if (!this.#call.settled) this.#sink.sendStarted(this.#call)
    } catch (thrown) {
      return this.#fail(thrown)
    }
    this.#pull()
  }

  readonly #pull = (): void => {
    if (this.#call.settled) return this.#end()
    if (this.#sink.full) return this.#sink.onDrained(this.#pull)
    if (turnBudget.pull()) this.#next()
    else turnBudget.wait('pull', this.#goOn)
  }

  /** Goes on after a turn of the event loop. */
  readonly #goOn = (): void => {
    if (this.#call.settled) this.#end()
    else this.#next()
  }

  #next(): void {
    try {
      const next: unknown = this.#iterator.next()
      // A source of any program may return a foreign promise, or the result itself.
      void (next instanceof Promise ? next : Promise.resolve(next)).then(this.#take, this.#fail)
    } catch (thrown) {
      this.#fail(thrown)
    }
  }

  readonly #take = (result: unknown): void => {
    if (this.#call.settled) return this.#end()
    try {
      if (!isResult(result)) throw new TypeError('next() of the source resolved with no object')
      if (result.done) {
        this.#sink.stop(this.#call)
        return this.#resolveOver()
      }
      this.#send(result.value)
    } catch (thrown) {
      return this.#fail(thrown)
    }
    this.#pull()
  }

  readonly #fail = (thrown: unknown): void => {
    this.#sink.fail(this.#call, thrown)
    this.#end()
  }

  #end(): void {
    void this.#return().then(this.#resolveOver)
  }

  /**
   * Calls `return()` once, so that a `finally` in the source runs. Resolves with whether the source has a `return()`. A
   * failing clean-up is reported, not sent.
   */
  #return(): Promise<boolean> {
    this.#returning ??= this.#callReturn()
    return this.#returning
  }

  async #callReturn(): Promise<boolean> {
    try {
      if (!this.#iterator.return) return false
      await this.#iterator.return()
    } catch (thrown) {
      this.#sink.report(this.#call, thrown)
    }
    return true
  }
}

function isResult(value: unknown): value is { done?: unknown; value?: unknown } {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

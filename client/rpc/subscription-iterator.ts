import { now } from '../../shared/rpc/deadlines.js'
import { transportError } from '../../shared/rpc/errors.js'
import { readerLimits } from '../../shared/rpc/limits.js'
import type { CallFailure, CallObserver, CallOptions } from './call-observer.js'
import type { Connection } from './connection.js'
import { failureError, notDecodable, notEncodable, remoteError } from './errors.js'
import type { DataTransformer } from './transformer.js'

interface Item {
  readonly value: unknown
  /** cost in memory */
  readonly bytes: number
}

interface Waiter {
  resolve(result: IteratorResult<unknown>): void
  reject(error: unknown): void
}

type State =
  | { readonly name: 'running'; readonly cancel: () => void }
  | { readonly name: 'paused' | 'ended' }
  | { readonly name: 'failed'; readonly error: unknown }

/** Taken items that are kept until the rest moves up. */
const compactAfter = 1024

const paused: State = { name: 'paused' }
const ended: State = { name: 'ended' }

/**
 * Iterates over the items of one subscription in bounded memory. tRPC's protocol cannot pause a subscription, and an
 * end that stopped reading would see no other response either. So a subscription that is too far ahead of its reader is
 * stopped at the server, and subscribed to again behind its last event when the reader has caught up:
 *
 * ```
 * running ──more than pauseBytes wait, events have ids──▶ paused ──nothing waits──▶ running
 *    ├──more than failBytes wait──▶ failed
 *    └──the source's end, an error, return(), abort──▶ ended or failed
 * ```
 * Items that wait are delivered before an end or an error. The rest is as with tRPC's own iterator: an error rejects
 * one `next()`, an aborted signal ends the iteration.
 */
export class SubscriptionIterator implements AsyncIterableIterator<unknown>, CallObserver {
  readonly #connection: Connection
  readonly #options: CallOptions
  readonly #transformer: DataTransformer
  readonly #deadlineAt: number
  #items: Item[] = []
  /** index of the next item: shift() moves all items of a long queue */
  #head = 0
  #bytes = 0
  #lastEventId: string | undefined
  #waiters: Waiter[] = []
  #state: State = paused
  #isIterated = false

  /** @param options `input` is not encoded yet */
  constructor(connection: Connection, options: CallOptions, transformer: DataTransformer) {
    this.#connection = connection
    this.#transformer = transformer
    this.#deadlineAt = now() + (options.timeoutMs ?? Infinity)
    try {
      this.#options = { ...options, input: transformer.serialize(options.input) }
    } catch (cause) {
      this.#options = options
      this.#state = { name: 'failed', error: notEncodable(cause) }
      return
    }
    this.#subscribe(options.timeoutMs)
  }

  [Symbol.asyncIterator](): this {
    if (this.#isIterated)
      throw new Error('A subscription can only be iterated once. Call subscribe() again for another loop.')
    this.#isIterated = true
    return this
  }

  async next(): Promise<IteratorResult<unknown>> {
    const item = this.#items[this.#head]
    if (item) return { value: this.#take(item), done: false }
    const state = this.#state
    if (state.name === 'failed') {
      this.#state = ended
      throw state.error
    }
    if (state.name === 'ended') return { value: undefined, done: true }
    if (state.name === 'paused') this.#resume()
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.#clear()
    this.#end(ended)
    return { value: undefined, done: true }
  }

  onData(data: unknown, eventId?: string, bytes = 0): void {
    let value: unknown
    try {
      value = this.#transformer.deserialize(data)
    } catch (cause) {
      return this.#end({ name: 'failed', error: notDecodable(cause) })
    }
    if (eventId !== undefined) this.#lastEventId = eventId
    const waiter = this.#waiters.shift()
    if (waiter) return waiter.resolve({ value, done: false })
    const item = { value, bytes: Math.max(readerLimits.itemBytes, bytes) }
    this.#items.push(item)
    this.#bytes += item.bytes
    if (this.#lastEventId === undefined) this.#limit()
    else if (this.#bytes > readerLimits.pauseBytes) this.#pause()
  }

  onError(failure: CallFailure): void {
    // An aborted subscription completes, as with tRPC's own links.
    if (this.#options.signal?.aborted) this.#end(ended)
    else this.#end({ name: 'failed', error: failureError(failure, this.#transformer) })
  }

  onStopped(): void {
    this.#end(ended)
  }

  decodeError(encoded: unknown): Error {
    return remoteError(encoded, this.#transformer)
  }

  #subscribe(timeoutMs: number | undefined): void {
    const lastEventId = this.#lastEventId
    this.#state = { name: 'running', cancel: this.#connection.call({ ...this.#options, timeoutMs, lastEventId }, this) }
  }

  #resume(): void {
    if (this.#options.signal?.aborted) this.#end(ended)
    else this.#subscribe(this.#deadlineAt === Infinity ? undefined : this.#deadlineAt - now())
  }

  #pause(): void {
    if (this.#state.name !== 'running') return
    this.#state.cancel()
    this.#state = paused
  }

  /** Ends a subscription that cannot go on where it stopped. */
  #limit(): void {
    if (this.#bytes <= readerLimits.failBytes) return
    const [bytes, limit] = [this.#bytes, readerLimits.failBytes].map(number => number.toLocaleString('en'))
    const problem = `${this.#options.path}: ${bytes} bytes of events without ids wait for their reader, more than ${limit}`
    const local = transportError('slow_reader', problem, { mayHaveRun: true })
    this.#end({ name: 'failed', error: failureError({ local }, this.#transformer) })
  }

  #take(item: Item): unknown {
    this.#head++
    this.#bytes -= item.bytes
    if (this.#head === this.#items.length) this.#clear()
    else if (this.#head >= compactAfter) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item.value
  }

  #clear(): void {
    this.#items = []
    this.#head = 0
    this.#bytes = 0
  }

  #end(state: State): void {
    const before = this.#state
    if (before.name === 'ended' || before.name === 'failed') return
    this.#state = state
    if (before.name === 'running') before.cancel()
    const [first, ...others] = this.#waiters.splice(0)
    if (state.name === 'failed' && first) {
      this.#state = ended
      first.reject(state.error)
    } else first?.resolve({ value: undefined, done: true })
    for (const waiter of others) waiter.resolve({ value: undefined, done: true })
  }
}

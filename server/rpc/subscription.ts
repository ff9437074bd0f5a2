import type { Call } from './call.js'
import { isObservable, isTrackedEnvelope, type Observable, TRPCError, type Unsubscribable } from './trpc-internals.js'

/** The connection's functions that the pump needs. */
interface Sink {
  readonly full: boolean
  drained(): Promise<void>
  sendStarted(call: Call): void
  sendData(call: Call, data: unknown, eventId?: string): void
  stop(call: Call): void
  fail(call: Call, thrown: unknown): void
  report(call: Call, thrown: unknown): void
}

/**
 * Runs one subscription: passes on the source's items, until the source ends or the call is settled otherwise (stopped,
 * timed out, lost). Resolves, never rejects, after the source's clean-up.
 */
export async function pump(sink: Sink, call: Call, procedure: Promise<unknown>): Promise<void> {
  let source: unknown
  try {
    source = await procedure
  } catch (thrown) {
    return sink.fail(call, thrown)
  }
  if (isObservable(source)) await listen(sink, call, source)
  else await iterate(sink, call, source)
}

/**
 * An observable cannot be paused: items are sent at once, so a slow peer is closed as for any other responses.
 */
function listen(sink: Sink, call: Call, source: Observable<unknown, unknown>): Promise<void> {
  return new Promise(resolve => {
    let subscription: Unsubscribable | undefined
    let over = false
    const end = (response: () => void): void => {
      if (over) return
      over = true
      response()
      tearDown()
      resolve()
    }
    const tearDown = (): void => {
      try {
        subscription?.unsubscribe()
      } catch (thrown) {
        sink.report(call, thrown)
      }
    }
    const fail = (thrown: unknown): void => end(() => sink.fail(call, thrown))
    if (call.settled) return end(() => {})
    call.onAbort(() => end(() => {}))
    sink.sendStarted(call)
    try {
      subscription = source.subscribe({
        next(item) {
          if (over) return
          try {
            sendItem(sink, call, item)
          } catch (thrown) {
            fail(thrown)
          }
        },
        error: fail,
        complete: () => end(() => sink.stop(call)),
      })
    } catch (thrown) {
      fail(thrown)
    }
    // The observable may have ended before this line.
    if (over) tearDown()
  })
}

/**
 * Pulls one item at a time, and only while the peer keeps up. No promise is raced per item: an aborted call calls the
 * source's `return()`, and the pending `next()` is left to the source.
 */
async function iterate(sink: Sink, call: Call, source: unknown): Promise<void> {
  let iterator: AsyncIterator<unknown>
  try {
    iterator = iteratorOf(source, call)
  } catch (thrown) {
    return sink.fail(call, thrown)
  }
  const cleanUp = once(() => returnFrom(iterator, thrown => sink.report(call, thrown)))
  await new Promise<void>(resolve => {
    // A source that has cleaned up is over, whether or not the pending `next()` settles.
    call.onAbort(() => void cleanUp().then(reported => reported && resolve()))
    void pull(sink, call, iterator).then(async ended => {
      if (!ended) await cleanUp()
      resolve()
    })
  })
}

/** Returns whether the source came to its end; never rejects. */
async function pull(sink: Sink, call: Call, iterator: AsyncIterator<unknown>): Promise<boolean> {
  try {
    if (!call.settled) sink.sendStarted(call)
    while (!call.settled) {
      if (sink.full) {
        await sink.drained()
        continue
      }
      const next = await iterator.next()
      if (call.settled) break
      if (next.done) {
        sink.stop(call)
        return true
      }
      sendItem(sink, call, next.value)
    }
  } catch (thrown) {
    sink.fail(call, thrown)
  }
  return false
}

function sendItem(sink: Sink, call: Call, item: unknown): void {
  if (!isTrackedEnvelope(item)) return sink.sendData(call, item)
  const [id, data] = item
  // An id of another type would be an invalid message, for which a client closes its connection.
  if (typeof id !== 'string') throw new TypeError('the id of a tracked event must be a string')
  sink.sendData(call, { id, data }, id)
}

function iteratorOf(source: unknown, call: Call): AsyncIterator<unknown> {
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) {
    return (source as AsyncIterable<unknown>)[Symbol.asyncIterator]() // checked on the line above
  }
  throw new TRPCError({
    code: 'INTERNAL_SERVER_ERROR',
    message: `subscription ${call.path} returned neither an async iterable nor an observable`,
  })
}

/**
 * Calls `return()`, so that a `finally` in the source runs. Returns whether the source has a `return()`. A failing
 * clean-up is reported, not sent.
 */
async function returnFrom(iterator: AsyncIterator<unknown>, onError: (thrown: unknown) => void): Promise<boolean> {
  try {
    if (!iterator.return) return false
    await iterator.return()
  } catch (thrown) {
    onError(thrown)
  }
  return true
}

function once<T>(begin: () => T): () => T {
  let begun: { value: T } | undefined
  return () => {
    begun ??= { value: begin() }
    return begun.value
  }
}

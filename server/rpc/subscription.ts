import type { Call } from './call.js'
import { isAsyncIterable } from './iterables.js'
import { PulledSource, type PullSink } from './pulled-source.js'
import { isObservable, isTrackedEnvelope, type Observable, TRPCError, type Unsubscribable } from './trpc-internals.js'

/** The connection's functions that the pump needs. */
interface Sink extends PullSink {
  sendData(call: Call, data: unknown, eventId?: string): void
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

/** Passes on the items of an async iterable. */
async function iterate(sink: Sink, call: Call, source: unknown): Promise<void> {
  let pulled: PulledSource
  try {
    pulled = new PulledSource(sink, call, iteratorOf(source, call), item => sendItem(sink, call, item))
  } catch (thrown) {
    return sink.fail(call, thrown)
  }
  pulled.start()
  await pulled.over
}

function sendItem(sink: Sink, call: Call, item: unknown): void {
  if (!isTrackedEnvelope(item)) return sink.sendData(call, item)
  const [id, data] = item
  // An id of another type would be an invalid message, for which a client closes its connection.
  if (typeof id !== 'string') throw new TypeError('the id of a tracked event must be a string')
  sink.sendData(call, { id, data }, id)
}

function iteratorOf(source: unknown, call: Call): AsyncIterator<unknown> {
  if (isAsyncIterable(source)) return source[Symbol.asyncIterator]()
  throw new TRPCError({
    code: 'INTERNAL_SERVER_ERROR',
    message: `subscription ${call.path} returned neither an async iterable nor an observable`,
  })
}

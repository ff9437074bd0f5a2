import type { Call } from './call.js'
import { isObservable, isTrackedEnvelope, observableToAsyncIterable, TRPCError } from './trpc-internals.js'

/** What the pump needs of its connection. */
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
 * Runs one subscription: pulls its source, one item at a time and only while the peer keeps up, until it ends or its call is answered
 * otherwise (stopped, timed out, lost). Resolves, never rejects, when the source has been told to clean up and has done so.
 *
 * Nothing here races a promise per item: an aborted call calls the source's `return()`, and the pending `next()` is left to it.
 */
export async function pump(sink: Sink, call: Call, procedure: Promise<unknown>): Promise<void> {
  let iterator: AsyncIterator<unknown>
  try {
    const source = await procedure
    iterator = iterate(source, call)
  } catch (thrown) {
    sink.fail(call, thrown)
    return
  }
  const cleanUp = once(() => returnFrom(iterator, thrown => sink.report(call, thrown)))
  await new Promise<void>(resolve => {
    // A source that has cleaned up is over, whether or not it settles the `next()` that waited.
    call.onAbort(() => void cleanUp().then(told => told && resolve()))
    void pull(sink, call, iterator).then(async ended => {
      if (!ended) await cleanUp()
      resolve()
    })
  })
}

/** Whether the source came to its end; never rejects. */
async function pull(sink: Sink, call: Call, iterator: AsyncIterator<unknown>): Promise<boolean> {
  try {
    if (!call.answered) sink.sendStarted(call)
    while (!call.answered) {
      if (sink.full) {
        await sink.drained()
        continue
      }
      const next = await iterator.next()
      if (call.answered) break
      if (next.done) {
        sink.stop(call)
        return true
      }
      if (isTrackedEnvelope(next.value)) {
        const [id, data] = next.value
        sink.sendData(call, { id, data }, id)
      } else sink.sendData(call, next.value)
    }
  } catch (thrown) {
    sink.fail(call, thrown)
  }
  return false
}

function iterate(source: unknown, call: Call): AsyncIterator<unknown> {
  if (isObservable(source)) return observableToAsyncIterable(source, call.signal)[Symbol.asyncIterator]()
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) {
    return (source as AsyncIterable<unknown>)[Symbol.asyncIterator]() // checked on the line above
  }
  throw new TRPCError({
    code: 'INTERNAL_SERVER_ERROR',
    message: `subscription ${call.path} returned neither an async iterable nor an observable`,
  })
}

/** Calls `return()`, so that a `finally` in the source runs; whether there is one. A failing clean-up is reported, not sent. */
async function returnFrom(iterator: AsyncIterator<unknown>, onError: (thrown: unknown) => void): Promise<boolean> {
  if (!iterator.return) return false
  try {
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

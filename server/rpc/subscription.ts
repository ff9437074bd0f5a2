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
  const returned = returnOnce(iterator, thrown => sink.report(call, thrown))
  call.onAbort(() => void returned())
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
        return
      }
      if (isTrackedEnvelope(next.value)) {
        const [id, data] = next.value
        sink.sendData(call, { id, data }, id)
      } else sink.sendData(call, next.value)
    }
  } catch (thrown) {
    sink.fail(call, thrown)
  }
  await returned()
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

/** Calls `return()` at most once, so that a `finally` in the source runs; a failing clean-up is reported, not sent. */
function returnOnce(iterator: AsyncIterator<unknown>, onError: (thrown: unknown) => void): () => Promise<void> {
  let returning: Promise<void> | undefined
  const cleanUp = async (): Promise<void> => {
    try {
      await iterator.return?.()
    } catch (thrown) {
      onError(thrown)
    }
  }
  return () => {
    returning ??= cleanUp()
    return returning
  }
}

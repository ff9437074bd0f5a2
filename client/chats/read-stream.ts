import { brokenStream } from './model-errors.js'

/** The end of a stream is waited for so long behind the last event of a response, so that its record is whole. */
const endMs = 2_000

/**
 * Reads the events of an SDK's stream.
 * @param read takes an event and returns whether the response is whole with it
 * @param readRest takes the events behind that one
 * @throws ModelError retryable, if the stream ends before its last event; the errors of the stream and of `read`
 */
export async function readStream<T>(
  stream: AsyncIterable<T> & { controller: AbortController },
  signal: AbortSignal,
  read: (event: T) => boolean,
  readRest: (event: T) => void = () => {},
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  try {
    for await (const event of stream) {
      if (timer !== undefined) readRest(event)
      else if (read(event)) timer = setTimeout(() => stream.controller.abort(), endMs)
    }
  } catch (error) {
    if (timer === undefined) throw error // behind the last event the response is whole
  } finally {
    clearTimeout(timer)
  }
  // The SDKs end an aborted stream without an error.
  if (timer === undefined) {
    signal.throwIfAborted()
    throw brokenStream('the response ended before its last event')
  }
}

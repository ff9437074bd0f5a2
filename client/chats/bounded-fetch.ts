/** Bounds the memory that a provider's response can take in an SDK. */
import { brokenStream } from './model-errors.js'

/**
 * The largest event of a stream, or body of an error. The last event of OpenAI Responses has the whole response once
 * more, of which `maxStoredMessageBytes` are kept, and the tools of the request.
 */
const maxEventBytes = 16 * 1024 * 1024

const emptyLines = new TextEncoder().encode('\n\n')
const lineFeed = 10
const carriageReturn = 13

/** Returns a fetch whose responses fail at an event, or a body without events, of more than 16 MiB. */
export function boundedFetch(inner: typeof fetch): typeof fetch {
  return async (input, init) => {
    const response = await inner(input, init)
    const isStream = response.ok && (response.headers.get('content-type') ?? '').includes('event-stream')
    const body = response.body && bounded(response.body, isStream)
    const { status, statusText, headers } = response
    return new Response(body, { status, statusText, headers })
  }
}

function bounded(body: ReadableStream<Uint8Array>, isStream: boolean): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  const count = counter(isStream)
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read()
      if (done) {
        // Some servers leave out the empty line behind their last event, without which the SDKs drop the event.
        if (isStream) controller.enqueue(emptyLines)
        controller.close()
      } else if (count(value) > maxEventBytes) {
        const error = brokenStream(`the provider sent an event of more than ${maxEventBytes} bytes`)
        controller.error(error)
        await reader.cancel(error)
      } else controller.enqueue(value)
    },
    cancel: reason => reader.cancel(reason),
  })
}

/** Returns a function that takes the next bytes and returns the size of the event, or of the body, so far. */
function counter(isStream: boolean): (bytes: Uint8Array) => number {
  let size = 0
  let isLineEmpty = true
  return bytes => {
    for (const byte of bytes) {
      size++
      // An empty line ends an event.
      if (byte === lineFeed && isLineEmpty && isStream) size = 0
      if (byte === lineFeed) isLineEmpty = true
      else if (byte !== carriageReturn) isLineEmpty = false
    }
    return size
  }
}

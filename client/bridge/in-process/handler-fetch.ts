import { getMaxListeners, setMaxListeners } from 'node:events'
import { createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { HandlerConnection } from './handler-connection.js'
import { bodyLengthOf, RequestBytes } from './request-bytes.js'

/**
 * Answers one request, as a listener of a `node:http` server does. If it returns a promise, that is its end: when it rejects the answer
 * fails, and when it resolves without having begun an answer, the answer is empty.
 */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

/**
 * A `fetch` that is answered by a handler in this process, without a socket. The handler gets the objects of a real `node:http` server; the
 * origin of the URL counts only for the header `Host`.
 *
 * It is Node's own fetch over `node:http` in all but this: a redirect is never followed (with `redirect: 'error'` it rejects); a chunk is
 * written when the reader asks for it, and read as it was written, so an answer has to be read or cancelled; `integrity` is refused; and a
 * handler that throws before it answers is a 500 whose body fails with `handler failed`.
 */
export function createHandlerFetch(handler: RequestHandler): typeof fetch {
  // It never listens: connections are handed to it (https://nodejs.org/api/http.html#event-connection).
  const server = createServer({ ServerResponse: UnframedResponse }, (request, response) => {
    const connection = request.socket as unknown as HandlerConnection // the only ones that this server gets
    void respond(handler, request, response, connection)
  })
  return async (input, init) => {
    const signal = signalOf(input, init)
    // A request with a signal leaves a listener on it until it is garbage; the one listener here is the connection's.
    const request = new Request(input, Object.create(init ?? null, { signal: { value: null } }))
    if (request.integrity) throw new TypeError('integrity is not supported')
    if (signal?.aborted) {
      request.body?.cancel(signal.reason).catch(() => {}) // the rejection says more
      throw signal.reason
    }
    const bytes = new RequestBytes(request, bodyLengthOf(init?.body))
    if (signal) allowManyListeners(signal)
    return new Promise((resolve, reject) => {
      server.emit('connection', new HandlerConnection({ request, bytes, signal, resolve, reject }))
    })
  }
}

/** Writes bodies without chunked framing, which nobody here would read. */
class UnframedResponse extends ServerResponse {
  override writeHead(statusCode: number, ...rest: unknown[]): this {
    Reflect.apply(super.writeHead, this, [statusCode, ...rest])
    this.chunkedEncoding = false
    return this
  }
}

async function respond(
  handler: RequestHandler,
  request: IncomingMessage,
  response: ServerResponse,
  connection: HandlerConnection,
): Promise<void> {
  connection.response = response
  response.once('finish', () => connection.destroySoon())
  try {
    const returned = handler(request, response)
    if (returned === undefined) return
    await returned
    if (!response.headersSent && !response.destroyed) response.end()
  } catch (error) {
    if (response.writableEnded) return // the answer is given, and the handler is not the caller's
    connection.failWith(error)
    if (!response.headersSent) return connection.respondWithFailure(error)
    // What was written before is the caller's.
    response.flushHeaders()
    connection.destroySoon()
  }
}

/** @throws TypeError for what is no signal, as the constructor of Request does */
function signalOf(input: Parameters<typeof fetch>[0], init: RequestInit | undefined): AbortSignal | undefined {
  const signal: unknown = init?.signal === undefined && input instanceof Request ? input.signal : init?.signal
  if (signal === undefined || signal === null) return undefined
  if (signal instanceof AbortSignal) return signal
  throw new TypeError("Failed to construct 'Request': member signal is not of type AbortSignal.")
}

/** One signal may serve many requests at a time, which is no leak; the number is that of Node's own fetch. */
function allowManyListeners(signal: AbortSignal): void {
  if (getMaxListeners(signal) < 1_500 && getMaxListeners(signal) > 0) setMaxListeners(1_500, signal)
}

import { getMaxListeners, setMaxListeners } from 'node:events'
import { createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { HandlerConnection } from './handler-connection.js'
import { bodyLengthOf, RequestBytes } from './request-bytes.js'

/**
 * Handles one request, as a listener of a `node:http` server does. The end of a returned promise is the end of the
 * handler: if the promise rejects, the response fails; if it resolves before a response has begun, the response is
 * empty.
 */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

/**
 * Returns a `fetch` whose requests a handler in this process serves, without a socket. The handler gets the objects of
 * a real `node:http` server; the origin of the URL counts only for the header `Host`. Differences to Node's own fetch
 * over `node:http`: a redirect is never followed (with `redirect: 'error'` the call rejects); a chunk is written when
 * the reader asks for it, and read as it was written, so a response has to be read or cancelled; `integrity` is
 * rejected; an error of the handler before its response is a 500 whose body fails with `handler failed`.
 */
export function createHandlerFetch(handler: RequestHandler): typeof fetch {
  // The server never listens: connections are handed to it (https://nodejs.org/api/http.html#event-connection).
  const server = createServer({ ServerResponse: UnframedResponse }, (request, response) => {
    const connection = request.socket as unknown as HandlerConnection // this server gets no others
    void respond(handler, request, response, connection)
  })
  return async (input, init) => {
    const signal = signalOf(input, init)
    // A request with a signal keeps a listener on it until garbage collection, so only the connection gets the signal.
    const request = new Request(input, Object.create(init ?? null, { signal: { value: null } }))
    if (request.integrity) throw new TypeError('integrity is not supported')
    if (signal?.aborted) {
      request.body?.cancel(signal.reason).catch(() => {}) // the fetch rejects with the reason
      throw signal.reason
    }
    const bytes = new RequestBytes(request, bodyLengthOf(init?.body))
    if (signal) allowManyListeners(signal)
    return new Promise((resolve, reject) => {
      server.emit('connection', new HandlerConnection({ request, bytes, signal, resolve, reject }))
    })
  }
}

/** Writes bodies without chunked framing, which no parser would remove here. */
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
    if (response.writableEnded) return // the response is whole, and the error is not the caller's
    connection.failWith(error)
    if (!response.headersSent) return connection.respondWithFailure(error)
    // The caller gets the bytes that were written before.
    response.flushHeaders()
    connection.destroySoon()
  }
}

/**
 * Returns the signal of a call.
 * @throws TypeError for a value that is not a signal, as the constructor of Request does
 */
function signalOf(input: Parameters<typeof fetch>[0], init: RequestInit | undefined): AbortSignal | undefined {
  const signal: unknown = init?.signal === undefined && input instanceof Request ? input.signal : init?.signal
  if (signal === undefined || signal === null) return undefined
  if (signal instanceof AbortSignal) return signal
  throw new TypeError("Failed to construct 'Request': member signal is not of type AbortSignal.")
}

/**
 * Raises the limit of listeners: one signal may serve many requests at a time. The number is that of Node's own fetch.
 */
function allowManyListeners(signal: AbortSignal): void {
  if (getMaxListeners(signal) < 1_500 && getMaxListeners(signal) > 0) setMaxListeners(1_500, signal)
}

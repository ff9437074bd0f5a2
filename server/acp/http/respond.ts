/** Responses of the HTTP door: JSON, and rejections. */
import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { constants, type Http2ServerResponse } from 'node:http2'
import { acpReasons, acpRpcCodeOf, acpStatusOf, rpcErrorCodes } from '../../../shared/acp/errors.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'

/** Sends a JSON response. */
export function sendJson(response: ServerResponse, status: number, body: object, headers: object = {}): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(text)
}

/** Bodies of these were not read to their end. */
const unreadReasons = new Set<string | undefined>(['message_too_large', 'body_timeout'])

/**
 * Sends a rejection, `{message, reason}`, with a JSON-RPC code for a rejected message. From 500 on the response has a
 * `requestId`, under which the log has the cause. An error without a code of its own becomes 500 without its message.
 */
export function sendRejection(
  response: ServerResponse,
  thrown: unknown,
  { logger, retryAfterMs }: { logger: Logger; retryAfterMs: number },
): void {
  const error = RpcError.from(thrown)
  const status = acpStatusOf(error)
  const { message, reason } = error
  const code = acpRpcCodeOf(error)
  const requestId = status >= 500 ? randomUUID() : undefined
  const isHttp1 = response.req.httpVersionMajor < 2
  if (requestId !== undefined) log(logger, error, requestId, status)
  if (response.headersSent) return cutResponse(response)
  const body = {
    message,
    ...(reason !== undefined && { reason }),
    ...(code !== rpcErrorCodes.internalError && { code }),
    ...(requestId !== undefined && { requestId }),
  }
  sendJson(response, status, body, {
    ...(status === 503 && { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }),
    ...(status === 405 && { allow: 'POST, GET, DELETE' }),
    ...(isHttp1 && unreadReasons.has(reason) && { connection: 'close' }),
  })
  dropBody(response)
}

/** The rest of a body is of no use; a reset while it arrives would take the response away. */
function dropBody(response: ServerResponse): void {
  const { req: request } = response
  if (request.complete) return
  request.resume()
  const { socket } = request
  const timer = setTimeout(() => {
    if (request.httpVersionMajor < 2) socket.destroy()
    else cutResponse(response)
  }, lingerMs).unref()
  const stop = (): void => {
    clearTimeout(timer)
    request.off('end', stop)
    request.off('close', stop)
    socket.off('close', stop)
  }
  request.once('end', stop)
  // A request whose response has ended is not told of the end of its socket.
  request.once('close', stop)
  socket.once('close', stop)
}

/** The client's time to read the response to a request whose body was not read. */
const lingerMs = 5_000

function log(logger: Logger, error: RpcError<string>, requestId: string, status: number): void {
  const { reason } = error
  const isExpected = reason !== undefined && reason !== 'agent_failed' && Object.hasOwn(acpReasons, reason)
  if (isExpected) logger.info({ requestId, status, reason }, `a request was rejected: ${error.message}`)
  else logger.error({ requestId, status, reason, err: error.cause ?? error }, 'a request failed')
}

/** Whether the client of a request has left. */
export function hasLeft(response: ServerResponse): boolean {
  if (response.req.httpVersionMajor < 2) return response.closed
  const { stream } = response as unknown as Http2ServerResponse // HTTP/2, as its version says
  return stream?.destroyed ?? true
}

/** Ends a response at once without the rest of it; of HTTP/2, the stream alone. */
export function cutResponse(response: ServerResponse): void {
  if (response.req.httpVersionMajor < 2) {
    response.destroy()
    return
  }
  const { stream } = response as unknown as Http2ServerResponse // HTTP/2, as its version says
  stream?.close(constants.NGHTTP2_CANCEL)
  // The reset alone would wait for a client that reads nothing.
  stream?.destroy()
}

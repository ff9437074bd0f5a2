/** The connections of an HTTP server: their requests in flight, and the ends of those that are of no use any more. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { maxClientTimeoutMs } from '../../shared/contract/limits.js'
import { takenBytes } from '../../shared/values/taken-bytes.js'

/** Times of {@link HttpConnections} in milliseconds. */
export interface HttpConnectionTimes {
  /** the time for the rest of a request whose response is complete; afterwards the rest is worth nothing to anybody */
  restMs: number
  /** a client that takes no byte of a response for this time holds memory for nothing */
  stallMs: number
}

/**
 * The rest of a request gets the time of `bodyTimeoutMs`; a bridge has a shorter limit of its own for its responses.
 */
export const httpConnectionTimes: HttpConnectionTimes = { restMs: 30_000, stallMs: maxClientTimeoutMs }

interface State {
  /** requests whose responses have not ended */
  requests: number
  /** of the newest request */
  response?: ServerResponse
  /** the fault in the bytes behind the newest request, or in its body */
  fault?: Error
  /** bytes that the client has taken, and the time of the last look at which the number was another */
  taken: number
  movedAt: number
}

/** Counts requests by connection. Upgraded connections belong to others. */
export class HttpConnections {
  readonly #times: HttpConnectionTimes
  readonly #states = new Map<Socket, State>()
  readonly #watch: NodeJS.Timeout
  #isClosing = false

  constructor(times: HttpConnectionTimes = httpConnectionTimes) {
    this.#times = times
    this.#watch = setInterval(() => this.#cutStalled(), times.stallMs / 10).unref()
  }

  /** requests in flight */
  get inFlight(): number {
    let requests = 0
    for (const state of this.#states.values()) requests += state.requests
    return requests
  }

  /** Counts a connection until its end. */
  add(socket: Socket): void {
    this.#states.set(socket, { requests: 0, taken: 0, movedAt: performance.now() })
    socket.once('close', () => this.delete(socket))
  }

  /** Gives a connection to another owner. */
  delete(socket: Socket): void {
    this.#states.delete(socket)
  }

  /** Counts a request until the end of its response. */
  begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const state = this.#states.get(socket)
    if (!state) return
    state.requests++
    state.response = response
    response.once('finish', () => this.#limitRest(request))
    response.once('close', () => {
      state.requests--
      if (state.fault) this.#end(socket, state)
      else if (this.#isClosing && state.requests === 0) socket.destroySoon()
    })
  }

  /**
   * Ends a connection whose bytes are no valid request, behind the responses to the requests before. A request with a
   * broken body gets the same response as one with a broken head, unless a response has begun.
   */
  fail(socket: Socket, fault: Error): void {
    const state = this.#states.get(socket)
    if (!state) return rejectConnection(socket, fault)
    // The parser reports every further chunk.
    if (state.fault) return
    state.fault = fault
    this.#end(socket, state)
  }

  /** Ends connections without a request now, and others behind their responses. */
  close(): void {
    this.#isClosing = true
    clearInterval(this.#watch)
    // closeIdleConnections() of the server would spare connections that have not sent anything yet.
    for (const [socket, { requests }] of this.#states) if (requests === 0) socket.destroy()
  }

  /** Cuts all connections. */
  destroy(): void {
    for (const socket of this.#states.keys()) socket.destroy()
  }

  #end(socket: Socket, { requests, response, fault }: State): void {
    const isInBody = response !== undefined && !response.req.complete
    const isBegun = isInBody && response.headersSent
    if (!fault || requests > (isInBody && !response.closed ? 1 : 0)) return
    // A second response would be read as a part of the first, or as the response to another request.
    if (isBegun) socket.destroySoon()
    else rejectConnection(socket, fault)
  }

  #limitRest(request: IncomingMessage): void {
    if (request.complete) return
    const { socket } = request
    const timer = setTimeout(() => socket.destroy(), this.#times.restMs)
    const stop = () => {
      clearTimeout(timer)
      socket.off('close', stop)
    }
    request.once('end', stop)
    socket.once('close', stop)
  }

  #cutStalled(): void {
    const now = performance.now()
    for (const [socket, state] of this.#states) {
      const taken = takenBytes(socket)
      const isWaiting = taken < socket.bytesWritten
      if (!isWaiting || taken !== state.taken) Object.assign(state, { taken, movedAt: now })
      else if (now - state.movedAt >= this.#times.stallMs) socket.destroy()
    }
  }
}

const statuses: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/** The client's time to read the response to an invalid request. A reset would take the response away. */
const lingerMs = 5_000

/** Writes the response by hand, because a failed request has no response object. */
function rejectConnection(socket: Socket, error: Error): void {
  const code = String(Reflect.get(error, 'code'))
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = statuses[code] ?? 400
  const body = JSON.stringify({ message: STATUS_CODES[status] })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref()
  socket.once('close', () => clearTimeout(timer))
}

/**
 * Rejects a request whose body is in a transfer coding that Node does not decode: 501 (RFC 9112, section 6.1). Returns
 * whether the request was rejected. Node drops the connection of such a request, or takes the encoded bytes for the
 * body.
 */
export function rejectTransferCoding({ headers }: IncomingMessage, response: ServerResponse): boolean {
  const coding = headers['transfer-encoding']
  if (coding === undefined || coding.trim().toLowerCase() === 'chunked') return false
  const message = `the transfer coding ${JSON.stringify(coding.slice(0, 64))} is not supported: send chunked, or a length`
  const body = JSON.stringify({ message })
  response.writeHead(501, {
    connection: 'close',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
  return true
}

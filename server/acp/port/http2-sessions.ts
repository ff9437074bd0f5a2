/** HTTP/2 without TLS: sessions on sockets that a server for HTTP/1.1 has accepted. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { times } from '../../../shared/rpc/limits.js'

/** Requests of one session at once: the streams of a connection, and posts beside them. */
const maxConcurrentStreams = 256

/** Life of a session without streams: 10 s more than the front keeps an idle connection of HTTP/1.1. */
const idleMs = 75_000

export class Http2Sessions {
  readonly #server: Http2Server
  readonly #sessions = new Map<ServerHttp2Session, Http2Session>()
  /** of a server that drains: from the last stream of a session to the end of its socket */
  #drainMs: number | undefined

  constructor(handle: (request: IncomingMessage, response: ServerResponse) => void) {
    this.#server = createServer({ settings: { maxConcurrentStreams } })
    // Node's compatibility API: requests and responses have the members that those of HTTP/1.1 have.
    this.#server.on('request', (request, response) =>
      handle(request as unknown as IncomingMessage, response as unknown as ServerResponse),
    )
    this.#server.on('stream', stream => {
      if (stream.session) this.#sessions.get(stream.session as ServerHttp2Session)?.add(stream) // of this server
    })
    // The socket of a session with an error is closed by Node; an error without a listener would end the process.
    this.#server.on('sessionError', () => {})
  }

  /** Takes a socket over, whose first bytes have been put back. */
  accept(socket: Socket): void {
    const onSession = (session: ServerHttp2Session): void => {
      this.#sessions.set(session, new Http2Session(session, socket, this.#drainMs ?? idleMs))
      socket.once('close', () => this.#sessions.delete(session))
    }
    this.#server.once('session', onSession)
    this.#server.emit('connection', socket)
    this.#server.off('session', onSession)
  }

  /** Ends each session behind its open streams; its socket ends in bounded time after them. */
  close(graceMs: number): void {
    this.#drainMs = Math.min(times.closeTimeoutMs, Math.max(graceMs, times.abortGraceMs))
    for (const session of this.#sessions.values()) session.close(this.#drainMs)
  }
}

/**
 * A session and its socket. Pings and other frames are no reason to stay: streams alone are.
 * ```
 * resting ──stream──▶ serving ──its last stream ends──▶ resting
 *    └──idleMs, close()──▶ closing ──no stream for waitMs──▶ its socket is destroyed
 * ```
 */
class Http2Session {
  readonly #session: ServerHttp2Session
  readonly #socket: Socket
  readonly #idleMs: number
  #streams = 0
  #waitMs: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(session: ServerHttp2Session, socket: Socket, idleMs: number) {
    this.#session = session
    this.#socket = socket
    this.#idleMs = idleMs
    socket.once('close', () => clearTimeout(this.#timer))
    this.#rest()
  }

  add(stream: ServerHttp2Stream): void {
    this.#streams++
    clearTimeout(this.#timer)
    stream.once('close', () => {
      this.#streams--
      this.#rest()
    })
  }

  /** Accepts no further stream. A client that keeps its half of the socket open, or reads nothing, is cut off. */
  close(waitMs: number): void {
    this.#waitMs = waitMs
    if (!this.#session.closed) this.#session.close()
    this.#rest()
  }

  #rest(): void {
    clearTimeout(this.#timer)
    if (this.#streams > 0 || this.#socket.destroyed) return
    const end = this.#waitMs === undefined ? () => this.close(times.closeTimeoutMs) : () => this.#destroy()
    this.#timer = setTimeout(end, this.#waitMs ?? this.#idleMs).unref()
  }

  #destroy(): void {
    this.#session.destroy()
    // A session that was closed before leaves its socket open until the client ends it.
    this.#socket.destroy()
  }
}

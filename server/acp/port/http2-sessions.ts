/** HTTP/2 without TLS: sessions on sockets that a server for HTTP/1.1 has accepted. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'

/** Requests of one session at once: the streams of a connection, and posts beside them. */
const maxConcurrentStreams = 256

/** Longer than any silence on an open stream; a session without streams is of no use. */
const idleMs = 75_000

export class Http2Sessions {
  readonly #server: Http2Server
  readonly #sessions = new Set<ServerHttp2Session>()

  constructor(handle: (request: IncomingMessage, response: ServerResponse) => void) {
    this.#server = createServer({ settings: { maxConcurrentStreams } })
    // Node's compatibility API: requests and responses have the members that those of HTTP/1.1 have.
    this.#server.on('request', (request, response) =>
      handle(request as unknown as IncomingMessage, response as unknown as ServerResponse),
    )
    this.#server.on('session', session => this.#add(session))
    // The socket of a session with an error is closed by Node; an error without a listener would end the process.
    this.#server.on('sessionError', () => {})
  }

  #add(session: ServerHttp2Session): void {
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
    session.setTimeout(idleMs, () => session.close())
  }

  /** Takes a socket over, whose first bytes have been put back. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket)
  }

  /** Ends each session behind its open streams. */
  close(): void {
    for (const session of this.#sessions) session.close()
  }
}

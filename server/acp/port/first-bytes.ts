/** One port for HTTP/1.1 and HTTP/2: the first bytes of a connection tell them apart (RFC 9113, section 3.4). */
import * as http from 'node:http'
import type { Socket } from 'node:net'

/** Node's own listener of `connection`, under a name that Node does not document. */
const nodeListener: unknown = Reflect.get(http, '_connectionListener')
const ownListener =
  typeof nodeListener === 'function'
    ? (nodeListener as (this: http.Server, socket: Socket) => void) // a listener of this event
    : undefined

const preface = Buffer.from('PRI * HTTP/2.0')

/** Enough of the preface: no method of HTTP/1.1 begins so. */
const neededBytes = 4

/** The connections of a server that have not said yet which protocol they speak. */
export class FirstBytes {
  readonly #server: http.Server
  readonly #acceptHttp2: (socket: Socket) => void
  readonly #firstByteMs: number
  readonly #silent = new Set<Socket>()

  constructor(server: http.Server, acceptHttp2: (socket: Socket) => void, firstByteMs: number) {
    this.#server = server
    this.#acceptHttp2 = acceptHttp2
    this.#firstByteMs = firstByteMs
  }

  /**
   * Gives each new connection to the server itself, or to HTTP/2 if its first bytes say so. A connection without these
   * bytes ends after `firstByteMs`. Does nothing on a Node without the listener that has to be replaced.
   */
  start(): void {
    if (!ownListener || !this.#server.listeners('connection').includes(ownListener)) return
    this.#server.off('connection', ownListener)
    this.#server.on('connection', this.#onConnection)
  }

  /** Leaves new connections to the server again. */
  stop(): void {
    if (!ownListener || !this.#server.listeners('connection').includes(this.#onConnection)) return
    this.#server.off('connection', this.#onConnection)
    this.#server.on('connection', ownListener)
    this.dropSilent()
  }

  /** Ends the connections that have said nothing; `closeIdleConnections()` of the server does not know them. */
  dropSilent(): void {
    for (const socket of this.#silent) socket.destroy()
  }

  readonly #onConnection = (socket: Socket): void => {
    let head: Buffer = Buffer.alloc(0)
    this.#silent.add(socket)
    const timer = setTimeout(() => socket.destroy(), this.#firstByteMs).unref()
    const stop = (): void => {
      this.#silent.delete(socket)
      clearTimeout(timer)
      socket.off('data', onData)
      for (const event of ends) socket.off(event, onEnd)
    }
    const onData = (chunk: Buffer): void => {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
      const length = Math.min(head.length, neededBytes)
      const isPreface = head.subarray(0, length).equals(preface.subarray(0, length))
      if (isPreface && length < neededBytes) return
      stop()
      socket.pause()
      socket.unshift(head)
      this.#handOver(socket, isPreface)
    }
    const onEnd = (): void => {
      stop()
      socket.destroy()
    }
    socket.on('data', onData)
    for (const event of ends) socket.on(event, onEnd)
  }

  #handOver(socket: Socket, isHttp2: boolean): void {
    if (isHttp2) return this.#acceptHttp2(socket)
    ownListener?.call(this.#server, socket)
    // The server listens now; a session of HTTP/2 reads the first bytes by itself.
    socket.resume()
  }
}

/** An error without a listener would end the process. */
const ends = ['error', 'end', 'close'] as const

import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { now } from '../../../shared/rpc/deadlines.js'
import { closeCodes } from '../../../shared/rpc/duplex.js'
import { heapBytesOfText } from '../../../shared/rpc/json/heap-bytes.js'
import type { AbandonableConnection } from '../connection.js'
import type { UnauthenticatedPeer } from '../unauthenticated-peer.js'
import type { HeldSockets } from './held-sockets.js'
import type { UnauthenticatedTurns } from './unauthenticated-turns.js'

/** Messages up to this length are measured when they are parsed. */
const shortMessageBytes = 8 * 1024

/** Bytes that `ws` gets at once; the rest of a chunk is dropped after a fault. */
const sliceBytes = 4 * 1024

/** More than the close frame and a few responses. */
const unreadBytes = 16 * 1024

/** The parts that the unauthenticated sockets of a listener share. */
interface Shared {
  readonly turns: UnauthenticatedTurns
  readonly heldSockets: HeldSockets
}

/**
 * Stands between the socket of an unauthenticated peer and `ws`, until the peer is released: counts what reaches the
 * memory of this process below the messages (parts of a message, pings and pongs), measures a long message before it is
 * parsed, and lets all such sockets take turns, since a chunk of 64 KiB holds 10,000 pings, which take 5 ms.
 *
 * To be made before the WebSocket's messages have another listener, and after the WebSocket has its socket.
 */
export class UnauthenticatedSocket {
  readonly #webSocket: WebSocket
  readonly #socket: Socket
  readonly #peer: UnauthenticatedPeer
  readonly #shared: Shared
  /** `ws`'s own listener, the only one after the upgrade */
  readonly #listener: (...args: unknown[]) => void
  /** to be set before the first bytes arrive */
  connection: AbandonableConnection | undefined
  #chunks: Buffer[] = []
  /** `released`: the peer has no limits any more, and its last chunk waits for its turn; `free`: `ws` has the socket */
  #state: 'limited' | 'released' | 'free' | 'cut' = 'limited'

  constructor(webSocket: WebSocket, socket: Socket, peer: UnauthenticatedPeer, shared: Shared) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.#peer = peer
    this.#shared = shared
    const [listener] = socket.listeners('data')
    if (!listener) throw new Error('ws listens to the socket of its WebSocket')
    this.#listener = listener as (...args: unknown[]) => void // of the event `data`
    socket.removeAllListeners('data')
    socket.on('data', this.#onChunk)
    socket.once('close', this.#onClose)
    const onPing = (): void => this.#check(peer.takePing())
    const onMessage = (data: RawData): void => {
      peer.endPart()
      const { length } = data as Buffer // `ws` gives text as one Buffer by default
      if (length > shortMessageBytes) this.#check(peer.foresee(heapBytesOfText(data.toString())))
    }
    webSocket.on('ping', onPing).on('pong', onPing).on('message', onMessage)
    peer.onRelease = () => {
      webSocket.off('ping', onPing).off('pong', onPing).off('message', onMessage)
      if (this.#state !== 'limited') return
      this.#state = 'released'
      if (this.#chunks.length === 0) this.#free()
    }
    this.#waitToRead()
  }

  /** The bytes of a peer whose turn has not come stay with the system. */
  #waitToRead(): void {
    this.#socket.pause()
    this.#shared.turns.waitToRead(this.#read)
  }

  readonly #read = (): void => {
    if (this.#state === 'limited') this.#socket.resume()
  }

  readonly #onChunk = (chunk: Buffer): void => {
    const fault = this.#peer.takePart(chunk.length)
    if (this.#state === 'cut') {
      // Some bytes are read and dropped, so that the end of a peer that respects the close is seen.
      if (fault !== undefined) this.#socket.pause()
      return
    }
    this.#check(fault)
    if (!this.#isReading) return
    this.#socket.pause()
    if (this.#chunks.push(chunk) === 1) this.#shared.turns.waitToWork(this.#work)
  }

  get #isReading(): boolean {
    return this.#state === 'limited' || this.#state === 'released'
  }

  readonly #work = (endAt: number): void => {
    while (this.#isReading) {
      // Messages that were delivered before are being worked on.
      if (this.#webSocket.isPaused) return this.#shared.turns.waitToWork(this.#work)
      const slice = this.#takeSlice()
      if (!slice) return this.#state === 'released' ? this.#free() : this.#waitToRead()
      this.#listener.call(this.#socket, slice)
      // Also a fault that the connection has found in a message.
      this.#check(this.#peer.fault)
      if (now() >= endAt) return this.#shared.turns.waitToWork(this.#work)
    }
  }

  #takeSlice(): Buffer | undefined {
    const [chunk] = this.#chunks
    if (chunk && chunk.length > sliceBytes) this.#chunks[0] = chunk.subarray(sliceBytes)
    else this.#chunks.shift()
    return chunk?.subarray(0, sliceBytes)
  }

  /** Leaves the socket to `ws`. */
  #free(): void {
    this.#state = 'free'
    this.#socket.off('close', this.#onClose)
    this.#socket.off('data', this.#onChunk)
    this.#socket.on('data', this.#listener)
    this.#socket.resume()
  }

  #check(fault: string | undefined): void {
    if (fault === undefined || this.#state === 'cut') return
    this.#state = 'cut'
    this.#chunks = []
    this.connection?.abandon({ code: closeCodes.policyViolation, message: fault })
    const socket = this.#socket
    // Responses that the peer does not read are no load to hold.
    if (socket.writableLength > unreadBytes) return void socket.destroy()
    this.#shared.heldSockets.hold(socket)
    socket.resume()
  }

  /** Also of a released peer whose chunks wait for their turn: `ws` reads nothing after the end of its socket. */
  readonly #onClose = (): void => {
    this.#state = 'cut'
    this.#chunks = []
    this.#peer.release()
  }
}

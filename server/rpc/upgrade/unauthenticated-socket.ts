import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import { closeCodes } from '../../../shared/rpc/duplex.js'
import { heapBytesOfText } from '../../../shared/rpc/json/heap-bytes.js'
import { unauthenticatedLimits } from '../../../shared/rpc/limits.js'
import type { AbandonableConnection } from '../connection.js'
import type { UnauthenticatedPeer } from '../unauthenticated-peer.js'
import type { ReadingTurns } from './reading-turns.js'

/** Messages up to this length are measured when they are parsed. */
const shortMessageBytes = 8 * 1024

/** Bytes that `ws` gets at once; the rest of a chunk is dropped after a fault. */
const sliceBytes = 4 * 1024

/** More than the close frame and a few responses. */
const unreadBytes = 16 * 1024

/**
 * Stands between the socket of an unauthenticated peer and `ws`, until the peer is released: counts what reaches the
 * memory of this process below the messages (parts of a message, pings and pongs), measures a long message before it is
 * parsed, and lets all such sockets take turns, since a chunk of 64 KiB holds 10,000 pings, which take 5 ms.
 *
 * To be made before the WebSocket's messages have another listener, and after the WebSocket has its socket.
 */
export class UnauthenticatedSocket {
  readonly #socket: Socket
  readonly #peer: UnauthenticatedPeer
  readonly #turns: ReadingTurns
  /** `ws`'s own listener, the only one after the upgrade */
  readonly #listener: (...args: unknown[]) => void
  /** to be set before the first bytes arrive */
  connection: AbandonableConnection | undefined
  #chunks: Buffer[] = []
  #state: 'limited' | 'released' | 'cut' = 'limited'

  constructor(webSocket: WebSocket, socket: Socket, peer: UnauthenticatedPeer, turns: ReadingTurns) {
    this.#socket = socket
    this.#peer = peer
    this.#turns = turns
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
      if (this.#state === 'limited') this.#state = 'released'
      if (this.#chunks.length === 0) this.#giveBack()
    }
  }

  readonly #onChunk = (chunk: Buffer): void => {
    this.#check(this.#peer.takePart(chunk.length))
    if (this.#isCut) return
    this.#socket.pause()
    if (this.#chunks.push(chunk) === 1) this.#turns.wait(this.#read)
  }

  get #isCut(): boolean {
    return this.#state === 'cut'
  }

  readonly #read = (): void => {
    for (const chunk of this.#chunks) {
      for (let start = 0; start < chunk.length && !this.#isCut; start += sliceBytes) {
        this.#listener.call(this.#socket, chunk.subarray(start, start + sliceBytes))
        // Also a fault that the connection has found in a message.
        this.#check(this.#peer.fault)
      }
    }
    this.#chunks = []
    if (this.#isCut) return
    if (this.#state === 'released') this.#giveBack()
    this.#socket.resume()
  }

  #giveBack(): void {
    if (this.#state !== 'released') return
    this.#socket.off('close', this.#onClose)
    this.#socket.off('data', this.#onChunk)
    this.#socket.on('data', this.#listener)
  }

  #check(fault: string | undefined): void {
    if (fault === undefined || this.#state === 'cut') return
    this.#state = 'cut'
    this.connection?.abandon({ code: closeCodes.policyViolation, message: fault })
    // The peer gets a moment to read the close frame, unless more waits before that frame. Nothing more is read.
    const socket = this.#socket
    socket.pause()
    if (socket.writableLength > unreadBytes) return void socket.destroy()
    const timer = backgroundTimer(() => socket.destroy(), unauthenticatedLimits.closeMs)
    socket.once('close', () => clearTimeout(timer))
  }

  /** Also of a released peer whose chunks wait for their turn: `ws` reads nothing after the end of its socket. */
  readonly #onClose = (): void => {
    this.#state = 'cut'
    this.#chunks = []
    this.#peer.release()
  }
}

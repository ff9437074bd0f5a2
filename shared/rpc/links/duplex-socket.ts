import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import { type WebSocketDuplexOptions, webSocketSettings } from './websocket-settings.js'

/** The callbacks of the duplex above a WebSocket. */
export interface SocketOwner {
  onMessage(data: RawData, isBinary: boolean): void
  onPing(data: Buffer): void
  onPong(data: Buffer): void
  /** Called for the contents of the peer's Close frame, before they are echoed. */
  onPeerClose(code: number | undefined, text: string): void
  /** Returns the text of the Close frame for a peer whose frame broke the protocol. */
  closeTextFor(code: number): string
  onError(error: Error): void
  onSocketClosed(code: number, text: string): void
}

/**
 * A WebSocket that reports to one owner. Its listeners are functions of this module, as those of `ws` itself are:
 * closures would take 1 KiB of each idle connection.
 */
export class DuplexSocket extends WebSocket {
  #owner: SocketOwner | undefined

  /** Reports all events to `owner` from now on. */
  reportTo(owner: SocketOwner): void {
    this.#owner = owner
    this.on('message', onMessage)
    this.on('ping', onPing)
    this.on('pong', onPong)
    this.on('error', onError)
    this.on('close', onSocketClosed)
  }

  get owner(): SocketOwner | undefined {
    return this.#owner
  }

  /** Sends a Close frame. */
  sendClose(code: number, text: string): void {
    super.close(code, text)
  }

  /**
   * `ws` calls this with the contents of the peer's Close frame, and with a code only when a frame breaks the protocol:
   * the `error` event follows then.
   */
  override close(code?: number, text?: string | Buffer): void {
    const owner = this.#owner
    if (!owner) return super.close(code, text)
    if (code !== undefined && text === undefined) return super.close(code, owner.closeTextFor(code))
    super.close(code, text)
    owner.onPeerClose(code, String(text ?? ''))
  }
}

/** Makes a server whose WebSockets become duplexes. */
export function duplexServer(options: WebSocketDuplexOptions, server: ServerOptions) {
  return new WebSocketServer({ ...webSocketSettings(options), ...server, WebSocket: DuplexSocket })
}

export type DuplexServer = ReturnType<typeof duplexServer>

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  ownerOf(this)?.onMessage(data, isBinary)
}

function onPing(this: WebSocket, data: Buffer): void {
  ownerOf(this)?.onPing(data)
}

function onPong(this: WebSocket, data: Buffer): void {
  ownerOf(this)?.onPong(data)
}

function onError(this: WebSocket, error: Error): void {
  ownerOf(this)?.onError(error)
}

function onSocketClosed(this: WebSocket, code: number, text: Buffer): void {
  ownerOf(this)?.onSocketClosed(code, text.toString())
}

function ownerOf(socket: WebSocket): SocketOwner | undefined {
  return (socket as DuplexSocket).owner // only a DuplexSocket has these listeners
}

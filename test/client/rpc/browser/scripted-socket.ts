import type { BrowserSocket } from '../../../../client/rpc/browser/browser-socket.js'

/** A browser's WebSocket whose network is the test: bytes leave its buffer when the test says so. */
export class ScriptedSocket implements BrowserSocket {
  binaryType = 'blob'
  bufferedAmount = 0
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onerror: (() => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  readonly sent: string[] = []
  readonly closes: [code: number, text: string][] = []
  /** whether sent bytes stay in the buffer */
  holds = false

  send(text: string): void {
    if (this.closes.length > 0) throw new Error('sent after the close')
    this.sent.push(text)
    this.bufferedAmount += Buffer.byteLength(text)
    if (!this.holds) queueMicrotask(() => this.take())
  }

  close(code: number, reason: string): void {
    const isAllowed = code === 1000 || (code >= 3000 && code <= 4999)
    if (!isAllowed || Buffer.byteLength(reason) > 123) throw new Error(`a browser rejects close(${code}, ${reason})`)
    this.closes.push([code, reason])
  }

  /** The network takes bytes: all of them, or so many. */
  take(bytes = this.bufferedAmount): void {
    this.bufferedAmount -= bytes
  }

  receive(data: unknown): void {
    this.onmessage?.({ data: typeof data === 'object' ? JSON.stringify(data) : data })
  }
}

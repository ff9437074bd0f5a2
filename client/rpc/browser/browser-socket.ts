/** The parts of a browser's `WebSocket` that the transport uses. */
export interface BrowserSocket {
  binaryType: string
  /** bytes that were sent and not yet handed to the system */
  readonly bufferedAmount: number
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  /** A browser hides the cause, and `onclose` follows. */
  onerror: (() => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  send(text: string): void
  close(code: number, reason: string): void
}

/** The constructor of {@link BrowserSocket}. */
export type BrowserSocketClass = new (url: string) => BrowserSocket

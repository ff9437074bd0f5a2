import type { WebSocket } from 'ws'

/**
 * Responds to the pings of a WebSocket. A pong is owed for the newest ping only (RFC 6455, section 5.5.3): the pings
 * that arrive in one turn get one pong, and while the peer does not read, one pong waits. A peer that sends pings and
 * reads nothing costs no memory.
 *
 * ```
 * idle ──a ping──▶ owed ──microtask──▶ sending ──the system has taken the pong──▶ idle
 *                    ▲                    └──a ping came meanwhile, and the pong is taken──┐
 *                    └─────────────────────────────────────────────────────────────────────┘
 * ```
 */
export class PongSender {
  readonly #socket: WebSocket
  #state: 'idle' | 'owed' | 'sending' = 'idle'
  /** data of the newest ping without a pong */
  #newest: Buffer | undefined

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /** Notes a ping. */
  owe(data: Buffer): void {
    // Waiting data is copied, and does not keep the chunk of 64 KiB in which it came.
    this.#newest = this.#state === 'sending' ? Buffer.from(data) : data
    if (this.#state === 'idle') this.#schedule()
  }

  #schedule(): void {
    this.#state = 'owed'
    queueMicrotask(this.#send)
  }

  readonly #send = (): void => {
    const data = Buffer.from(this.#newest ?? '')
    this.#newest = undefined
    this.#state = 'sending'
    this.#socket.pong(data, undefined, this.#onTaken)
  }

  readonly #onTaken = (): void => {
    this.#state = 'idle'
    if (this.#newest) this.#schedule()
  }
}

import type { CloseReason, Duplex, DuplexReceiver, Message } from '../duplex.js'
import { Delivery } from './delivery.js'

/**
 * A duplex on top of another, with an owner of its own between the link and the later receiver. It reads from the
 * first, so its owner knows when it closes; messages that arrive before there is a receiver are kept in bounded memory.
 *
 * ```
 * open ──close()──▶ closing ──the close of the duplex below──▶ ended
 *   └──the close of the duplex below, abandon()──▶ ended
 * ```
 */
export class HeldDuplex implements Duplex, DuplexReceiver {
  readonly #below: Duplex
  readonly #delivery: Delivery
  #receiver: DuplexReceiver | undefined
  #state: 'open' | 'closing' | 'ended' = 'open'
  /** Called once, when the duplex below has closed. */
  onEnded: ((reason: CloseReason) => void) | undefined

  constructor(below: Duplex) {
    this.#below = below
    this.#delivery = new Delivery(this)
    below.open(this)
  }

  /** For the delivery. */
  get state(): unknown {
    return this.#state
  }

  /** Whether a receiver has taken this duplex. */
  get isOpened(): boolean {
    return this.#receiver !== undefined
  }

  /** The receiver's, see {@link DuplexReceiver.activeCalls}. */
  get activeCalls(): number {
    return this.#state === 'ended' ? 0 : (this.#receiver?.activeCalls ?? 0)
  }

  /** The receiver's, see {@link DuplexReceiver.hasLeft}. */
  get hasLeft(): boolean {
    return this.#receiver?.hasLeft ?? false
  }

  open(receiver: DuplexReceiver): void {
    this.#receiver ??= receiver
    this.#delivery.open(receiver)
  }

  send(message: Message): void {
    this.#below.send(message)
  }

  get bufferedBytes(): number {
    return this.#below.bufferedBytes
  }

  get droppedMessages(): number {
    return this.#below.droppedMessages ?? 0
  }

  get full(): boolean {
    return this.#below.full
  }

  pauseReading(): void {
    this.#below.pauseReading?.()
  }

  resumeReading(): void {
    this.#below.resumeReading?.()
  }

  close(reason: CloseReason, patienceMs?: number): void {
    if (this.#state === 'open') this.#state = 'closing'
    this.#below.close(reason, patienceMs)
  }

  terminate(reason: CloseReason): void {
    this.#below.terminate(reason)
  }

  /** Ends the duplex for its receiver now, and closes the duplex below without a wait for the far end. */
  abandon(reason: CloseReason): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#delivery.end(reason)
    queueMicrotask(() => this.#delivery.reportEnd())
    this.#below.close(reason)
  }

  /** For the delivery: the far end has sent too much before there was a receiver. */
  breakOff(reason: CloseReason): void {
    this.close(reason)
  }

  onMessage(message: Message, bytes: number): void {
    if (this.#state === 'open') this.#delivery.deliver(message, bytes)
  }

  onDrain(): void {
    if (this.#state === 'open') this.#delivery.drain()
  }

  onClose(reason: CloseReason): void {
    this.#state = 'ended'
    this.#delivery.end(reason)
    this.#delivery.reportEnd()
    this.onEnded?.(reason)
  }
}

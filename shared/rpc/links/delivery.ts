import { type CloseReason, closeCodes, type DuplexReceiver, type Message, openedTwice } from '../duplex.js'
import { EarlyMessages } from './early-messages.js'

/** The functions of the duplex that a delivery needs. */
interface Owner {
  /** another value after each step towards the end */
  readonly state: unknown
  /** Ends the connection of a peer that has sent too much before there was a receiver. */
  breakOff(reason: CloseReason): void
  terminate(reason: CloseReason): void
}

/**
 * The receiver's view of a WebSocket:
 * ```
 * unopened ──open()──▶ opening ──microtask──▶ delivering ──onClose, once the connection has ended──▶ over
 * ```
 * Messages that arrive before `delivering` are kept.
 */
export class Delivery {
  readonly #owner: Owner
  #state: 'unopened' | 'opening' | 'delivering' | 'over' = 'unopened'
  /** until `delivering` */
  #early: EarlyMessages | undefined
  #receiver: DuplexReceiver | undefined
  #endReason: CloseReason | undefined

  /** @param maxEarlyBytes memory of the messages that are kept */
  constructor(owner: Owner, maxEarlyBytes?: number) {
    this.#owner = owner
    this.#early = new EarlyMessages(maxEarlyBytes)
  }

  open(receiver: DuplexReceiver): void {
    if (this.#state !== 'unopened') return queueMicrotask(() => receiver.onClose(openedTwice))
    this.#state = 'opening'
    queueMicrotask(() => this.#begin(receiver))
  }

  #begin(receiver: DuplexReceiver): void {
    const early = this.#early?.taken() ?? []
    const { state } = this.#owner
    this.#state = 'delivering'
    this.#early = undefined
    this.#receiver = receiver
    for (const [message, bytes] of early) {
      this.deliver(message, bytes)
      // The receiver has closed: the rest is not delivered any more.
      if (this.#owner.state !== state) break
    }
    this.reportEnd()
  }

  deliver(message: Message, bytes: number): void {
    if (this.#early) {
      const fault = this.#early.keep(message, bytes)
      if (fault) this.#owner.breakOff(fault)
      return
    }
    this.#guard(receiver => receiver.onMessage(message, bytes))
  }

  drain(): void {
    this.#guard(receiver => receiver.onDrain())
  }

  /** Notes the end of the connection; the receiver learns of it by {@link reportEnd}. */
  end(reason: CloseReason): void {
    this.#endReason ??= reason
  }

  /** Calls `onClose` if the connection has ended; does nothing before there is a receiver, and a second time. */
  reportEnd(): void {
    const reason = this.#endReason
    if (!reason || this.#state !== 'delivering') return
    this.#state = 'over'
    try {
      this.#receiver?.onClose(reason)
    } catch {
      // This was the last call; nothing is left to end.
    }
  }

  /**
   * Receivers catch their own errors; an error that gets here all the same must not end the process from within an
   * event.
   */
  #guard(callback: (receiver: DuplexReceiver) => void): void {
    if (this.#state !== 'delivering' || !this.#receiver) return
    try {
      callback(this.#receiver)
    } catch (error) {
      this.#owner.terminate({ code: closeCodes.internalError, message: `the receiver failed: ${String(error)}` })
    }
  }
}

import { DialError } from '../dial-error.js'
import { type CloseReason, callerDrains, closeCodes, type Duplex } from '../duplex.js'
import { HeldDuplex } from './held-duplex.js'

/** The part of a connection group that a parked dial needs. */
export interface DrainSource {
  onDrain(listener: () => void): () => void
}

/** Settings of {@link ParkedDial}. `T` are the facts of a duplex, such as the instance of the far side. */
export interface ParkedDialOptions<T = undefined> {
  /**
   * Ends this dial when the group begins to drain: calls that wait for a duplex fail with `draining` at once, since the
   * far side goes to another server. Absent: they wait until their deadlines.
   */
  group?: DrainSource
  /** Returns the reason with which an older duplex is closed when a newer one comes. Default: 1000. */
  replaced?: (older: T, newer: T) => CloseReason
}

/**
 * A dial for `connect` in this process to a side that does the dialling: it waits for the next duplex that the far side
 * brings. One connection has one parked dial: `connect({ dial: parked.dial, random: () => 0 })`, since the far side
 * spreads the dials already.
 *
 * ```
 * empty ──bring()──▶ parked ──dial()──▶ taken ──its close, the next dial()──▶ empty
 *   └──dial() waits──bring()─────────────▲
 * any ──close(), a drain──▶ closed
 * ```
 * A duplex that is parked or taken gives way to a newer one, on which its calls in flight are sent again if they may
 * be. A duplex that its connection has left, because one of the ends asked for a move, stays for its calls in flight.
 */
export class ParkedDial<T = undefined> {
  readonly #replaced: (older: T, newer: T) => CloseReason
  readonly #unlisten: (() => void) | undefined
  /** parked or taken, and not closed */
  #held: { readonly duplex: HeldDuplex; readonly facts: T; state: 'parked' | 'taken' } | undefined
  readonly #waiting = new Set<(duplex: Duplex | DialError) => void>()
  #closed: CloseReason | undefined

  constructor({ group, replaced = () => replacedReason }: ParkedDialOptions<T> = {}) {
    this.#replaced = replaced
    this.#unlisten = group?.onDrain(() => this.#drain())
  }

  /** Whether the newest duplex of the far side is open. */
  get isConnected(): boolean {
    return this.#held !== undefined
  }

  /**
   * Takes a fresh duplex of the far side. After {@link close} it is closed with the reason of that.
   * @param facts for the option `replaced`
   */
  bring(...[duplex, facts]: T extends undefined ? [duplex: Duplex, facts?: T] : [duplex: Duplex, facts: T]): void {
    const fresh = new HeldDuplex(duplex)
    if (this.#closed) return fresh.close(this.#closed)
    const older = this.#held
    const held = { duplex: fresh, facts: facts as T, state: 'parked' as 'parked' | 'taken' } // absent for undefined only
    this.#held = held
    fresh.onEnded = () => {
      if (this.#held === held) this.#held = undefined
    }
    if (older && !older.duplex.hasLeft) older.duplex.abandon(this.#replaced(older.facts, held.facts))
    const [waiting] = this.#waiting
    if (waiting) this.#take(waiting)
  }

  /** Returns the parked duplex, or waits for the next one. The function stands alone: it needs no `this`. */
  readonly dial = ({ signal }: { signal: AbortSignal }): Promise<Duplex> =>
    new Promise((resolve, reject) => {
      const onAbort = (): void =>
        settle(new DialError('the dial was cancelled', { fatal: false, cause: signal.reason }))
      const settle = (outcome: Duplex | DialError): void => {
        this.#waiting.delete(settle)
        signal.removeEventListener('abort', onAbort)
        if (outcome instanceof DialError) reject(outcome)
        else resolve(outcome)
      }
      if (this.#closed) return settle(closedError(this.#closed))
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      // The connection has left the duplex that it had.
      if (this.#held?.state === 'taken') this.#held = undefined
      if (this.#held) this.#take(settle)
      else this.#waiting.add(settle)
    })

  #take(settle: (duplex: Duplex) => void): void {
    if (!this.#held) return
    this.#held.state = 'taken'
    settle(this.#held.duplex)
  }

  /**
   * Closes the newest duplex, and ends this dial for good: its connection closes with the same message and reason.
   * @param reason default: 1000
   */
  close(reason: CloseReason = closedReason): void {
    if (this.#closed) return
    this.#end(reason)
    this.#held?.duplex.close(reason)
  }

  /** The group closes a taken duplex, after its calls. */
  #drain(): void {
    if (this.#closed) return
    this.#end(callerDrains)
    if (this.#held?.state === 'parked') this.#held.duplex.close(callerDrains)
  }

  #end(reason: CloseReason): void {
    this.#closed = reason
    this.#unlisten?.()
    for (const settle of this.#waiting) settle(closedError(reason))
  }
}

const replacedReason: CloseReason = { code: closeCodes.normal, message: 'replaced by a newer connection' }
const closedReason: CloseReason = { code: closeCodes.normal, message: 'closed by this side' }

function closedError({ message, reason }: CloseReason): DialError {
  return new DialError(message, { fatal: true, ...(reason !== undefined && { reason }) })
}

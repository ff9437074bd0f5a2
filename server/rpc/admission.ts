import { now } from '../../shared/rpc/deadlines.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import { heapBytes } from '../../shared/rpc/json/heap-bytes.js'
import type { ConnectionLimits } from '../../shared/rpc/limits.js'
import type { CallMessage, CallType } from '../../shared/rpc/messages.js'
import { turnBudget } from '../../shared/rpc/turn-budget.js'
import { type HeldCall, HeldCalls } from './held-calls.js'
import { duplicate, tooMany } from './rejections.js'
import type { RunningProcedures } from './running-procedures.js'

/** The parts of the connection that admission needs. */
interface Owner {
  readonly state: 'opening' | 'open' | 'draining' | 'closed'
  /** started calls without a response, by id */
  readonly calls: { readonly size: number; has(id: string | number): boolean }
  start(message: CallMessage, batchIndex: number, waitedMs: number): void
}

/** Of connections that have held no call, as most. */
const none = new HeldCalls()

/**
 * Decides for each call of one connection whether it starts, is held back or is rejected:
 * ```
 * received ──a limit is reached──▶ rejected
 *     ├──room──▶ started
 *     └──no context yet, a slow reader, too many procedures, no time left in this turn──▶ held
 * held ──room, in order──▶ started
 *   └──cancelled, closed, draining──▶ taken out
 * ```
 * Rejections count calls without a response, which the peer knows. Starts count running procedures: a cancelled call is
 * over for its peer before its procedure has returned.
 */
export class Admission {
  readonly #owner: Owner
  readonly #duplex: Duplex
  readonly #running: RunningProcedures
  readonly #limits: ConnectionLimits
  #held = none
  #heldBytes = 0
  /** subscriptions that are held or started, without those that were settled */
  #subscriptions = 0
  /** responses to calls that were rejected or stopped before there was a context */
  #earlyResponses = 0
  #turn: 'not needed' | 'awaited' = 'not needed'

  constructor(owner: Owner, duplex: Duplex, running: RunningProcedures, limits: ConnectionLimits) {
    this.#owner = owner
    this.#duplex = duplex
    this.#running = running
    this.#limits = limits
  }

  /** Starts or holds a call. Returns the error of a call that is rejected. */
  admit(message: CallMessage, batchIndex: number): RpcError | undefined {
    const mustHold = this.#held.size > 0 || !this.#mayStart
    // A call that waits for its turn only takes no more memory than a call that runs.
    const bytes = mustHold && !this.#hasRoom ? heapBytes(message) : 0
    const rejection = this.#rejectionOf(message, bytes)
    if (rejection) {
      if (!mustHold) turnBudget.giveBack()
      return rejection
    }
    if (message.method === 'subscription') this.#subscriptions++
    if (mustHold) this.#hold(message, batchIndex, bytes)
    else this.#owner.start(message, batchIndex, 0)
    return undefined
  }

  /** Starts held calls while the connection has room. */
  startHeld(): void {
    for (;;) {
      const { first } = this.#held
      if (!first || !this.#mayStart) return
      this.#startFrom(first)
    }
  }

  /** Starts held calls after a turn of the event loop, the first of them with the granted unit. */
  #onTurn(): void {
    this.#turn = 'not needed'
    const { first } = this.#held
    if (!first || !this.#hasRoom) return turnBudget.giveBack()
    this.#startFrom(first)
    this.startHeld()
  }

  #startFrom(held: HeldCall): void {
    this.#remove(held)
    this.#owner.start(held.message, held.batchIndex, now() - held.receivedAt)
  }

  /** Takes out the held call with this id; does nothing without such a call. */
  take(id: string | number): CallMessage | undefined {
    const held = this.#held.get(id)
    if (!held) return undefined
    this.#remove(held)
    this.settled(held.message.method)
    return held.message
  }

  /** Takes all held calls out: the connection starts no call any more. */
  takeAll(): CallMessage[] {
    const messages: CallMessage[] = []
    for (let held = this.#held.first; held; held = held.next) messages.push(held.message)
    this.#held = none
    this.#heldBytes = 0
    return messages
  }

  /** Reports that an admitted call has its response, or will never have one. */
  settled(type: CallType): void {
    if (type === 'subscription') this.#subscriptions--
  }

  /** Counts a response to a call that was not started. Returns whether a peer without a context may still get one. */
  mayRespondEarly(): boolean {
    return this.#owner.state !== 'opening' || ++this.#earlyResponses <= this.#limits.maxInFlight
  }

  get #mayStart(): boolean {
    if (!this.#hasRoom) return false
    if (turnBudget.begin()) return true
    if (this.#turn === 'not needed') {
      this.#turn = 'awaited'
      turnBudget.wait('call', () => this.#onTurn())
    }
    return false
  }

  get #hasRoom(): boolean {
    return this.#owner.state === 'open' && !this.#duplex.full && this.#running.total < this.#limits.maxInFlight
  }

  /** @param bytes memory that the call would take while it is held */
  #rejectionOf({ id, method }: CallMessage, bytes: number): RpcError | undefined {
    const { maxInFlight, maxSubscriptions } = this.#limits
    const { calls } = this.#owner
    if (calls.has(id) || this.#held.get(id)) return duplicate
    if (calls.size + this.#held.size >= maxInFlight) {
      return tooMany('too_many_calls', `${maxInFlight} calls are in flight, as many as maxInFlight allows`)
    }
    if (method === 'subscription' && this.#subscriptions >= maxSubscriptions) {
      const problem = `${maxSubscriptions} subscriptions are open, as many as maxSubscriptions allows`
      return tooMany('too_many_subscriptions', problem)
    }
    if (this.#heldBytes + bytes > this.#maxHeldBytes) {
      const limit = this.#maxHeldBytes.toLocaleString('en')
      return tooMany('too_many_calls', `calls that wait to be started would take more than ${limit} bytes`)
    }
    return undefined
  }

  /** Less for a peer without a context: that peer may never be authenticated. */
  get #maxHeldBytes(): number {
    const { maxBufferedBytes, maxMessageBytes } = this.#limits
    return this.#owner.state === 'opening' ? maxMessageBytes : maxBufferedBytes
  }

  #hold(message: CallMessage, batchIndex: number, bytes: number): void {
    this.#heldBytes += bytes
    if (this.#held === none) this.#held = new HeldCalls()
    this.#held.add({
      id: message.id,
      message,
      batchIndex,
      receivedAt: now(),
      bytes,
      previous: undefined,
      next: undefined,
    })
  }

  #remove(held: HeldCall): void {
    this.#held.delete(held)
    this.#heldBytes -= held.bytes
  }
}

import { Deadlines, now } from '../../shared/rpc/deadlines.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { OwnedJson } from '../../shared/rpc/json/owned-json.js'
import { connectionLimits, times } from '../../shared/rpc/limits.js'
import type { CallType, WireError } from '../../shared/rpc/messages.js'
import { cancelledError, PendingCall } from './call.js'
import type { CallObserver, CallOptions } from './call-observer.js'
import { CallQueue } from './call-queue.js'
import { closedError, noTimeError, notSent } from './errors.js'
import type { LiveDuplex } from './live-duplex.js'
import { lostError, splitLostCalls } from './lost-calls.js'

type Live = LiveDuplex<PendingCall>

/** The parts of the connection that calls need. */
interface Owner {
  /** the duplex for new calls; undefined without an open one */
  readonly current: Live | undefined
  /** why the connection is closed for good; undefined before that */
  readonly closeReason: CloseReason | undefined
  /** the server's error with which it closed the connection for good, if there was one */
  readonly rejection: WireError | undefined
  /** why no duplex is open */
  readonly lastFailure: string | undefined
  /** Called when a duplex may have lost its last call. */
  closeWhenDone(live: Live): void
  report(thrown: unknown): void
}

/** Settings of {@link PendingCalls}, which are settings of the connection. */
export interface PendingCallsOptions {
  resend?: (call: { type: CallType; path: string }) => boolean
  callTimeoutMs?: number
  maxInFlight?: number
}

/** A call in flight may be sent this often again. */
const maxResends = 2

/**
 * The calls of one connection: queued until a duplex has room, then in flight on that duplex, until the end of each.
 */
export class PendingCalls {
  readonly #owner: Owner
  readonly #resend: (call: { type: CallType; path: string }) => boolean
  /** whether mutations are never sent again after they may have run */
  readonly #mutatesOnce: boolean
  readonly #callTimeoutMs: number
  readonly #maxInFlight: number
  readonly #deadlines = new Deadlines()
  readonly #queue = new CallQueue()
  #nextId = 1

  constructor(owner: Owner, options: PendingCallsOptions) {
    this.#owner = owner
    this.#resend = options.resend ?? (call => call.type === 'query')
    this.#mutatesOnce = options.resend === undefined
    this.#callTimeoutMs = options.callTimeoutMs ?? times.callTimeoutMs
    this.#maxInFlight = options.maxInFlight ?? connectionLimits.maxInFlight
  }

  get lastFailure(): string | undefined {
    return this.#owner.lastFailure
  }

  /** Starts a call. Returns a function that cancels it without a further callback. */
  begin(options: CallOptions, observer: CallObserver): () => void {
    const call = new PendingCall(this.#nextId++, options, observer, this)
    const { input, type } = options
    // The procedure of the first attempt may change the input that it was given.
    if (input instanceof OwnedJson && !(type === 'mutation' && this.#mutatesOnce)) input.keep()
    const timeoutMs = options.timeoutMs ?? (options.type === 'subscription' ? Infinity : this.#callTimeoutMs)
    const { closeReason } = this.#owner
    if (closeReason) {
      queueMicrotask(() => this.#failClosed(call))
    } else if (options.signal?.aborted) {
      queueMicrotask(() => call.fail(cancelledError(options.signal, false)))
    } else if (!(timeoutMs > 0)) {
      queueMicrotask(() => call.fail(noTimeError(options.path, timeoutMs)))
    } else {
      const time = now()
      if (timeoutMs !== Infinity) {
        call.deadlineAt = time + Math.min(timeoutMs, times.maxCallTimeoutMs)
        this.#deadlines.add(call)
      }
      if (options.signal) call.listen(options.signal)
      const live = this.#queue.size === 0 ? this.#liveWithRoom() : undefined
      if (live) this.#send(live, call, time)
      else this.#queue.add(call)
    }
    return () => this.cancel(call)
  }

  /** Ends a call and asks the server, where the call may run, to end the call too. */
  cancel(call: PendingCall): void {
    const { place } = call
    if (place === 'settled') return
    if (place !== 'queued') place.stop(call)
    this.forget(call)
    this.sendQueued()
  }

  /** Drops a call that is settled. */
  forget(call: PendingCall): void {
    const { place } = call
    call.place = 'settled'
    if (call.deadlineAt !== Infinity) this.#deadlines.delete(call)
    call.unlisten()
    if (typeof place === 'object') this.#takeFrom(place, call)
    else this.#queue.delete(call)
  }

  /** Sends queued calls while a duplex has room. */
  sendQueued(): void {
    if (this.#queue.size === 0) return
    this.#queue.sendAll(
      () => this.#liveWithRoom(),
      (live, call) => this.#send(live, call, now()),
    )
  }

  /**
   * Moves the subscriptions of a duplex to the current one: the old duplex stops each, and the new one goes on, in one
   * turn.
   */
  moveSubscriptions(live: Live): void {
    for (const call of live.subscriptions) {
      live.stop(call)
      this.#takeFrom(live, call)
      this.#queue.putBack(call)
    }
    this.sendQueued()
  }

  /** Sends a call again that a draining server did not start. */
  sendElsewhere(live: Live, call: PendingCall): void {
    call.sends--
    this.#takeFrom(live, call)
    if (this.#owner.closeReason) return this.#failClosed(call)
    this.#queue.putBack(call)
    this.sendQueued()
  }

  /** Queues calls of a duplex that closed if they may be sent again, and fails all other calls. */
  release(live: Live, reason: CloseReason): void {
    const lost = live.calls.values()
    live.calls.clear()
    const unstarted = new Set(lost.filter(call => live.excludesStart(call)))
    for (const call of lost) {
      call.place = 'queued'
      if (unstarted.has(call)) call.sends--
    }
    const maySendAgain = (call: PendingCall): boolean => unstarted.has(call) || this.#maySendAgain(call)
    const { resent, failed } = splitLostCalls(lost, reason, maySendAgain)
    // The callback `resend` may have closed the connection.
    for (const call of resent) {
      if (this.#owner.closeReason) failed.set(call, lostError(call, reason))
      else this.#queue.putBack(call)
    }
    this.sendQueued()
    for (const [call, error] of failed) call.fail(error)
  }

  /** Fails queued calls, after the connection was closed for good. */
  failQueued(): void {
    for (const call of this.#queue) this.#failClosed(call)
  }

  /** Fails the subscriptions of a duplex, after the connection was closed for good. */
  failSubscriptions(live: Live): void {
    for (const call of live.subscriptions) {
      live.stop(call)
      this.#failClosed(call)
    }
  }

  /** Fails all calls of a duplex, after the connection was closed for good. */
  failAll(live: Live): void {
    for (const call of live.calls.values()) this.#failClosed(call)
  }

  /** Stops the timer of the deadlines. */
  stop(): void {
    this.#deadlines.clear()
  }

  #maySendAgain({ options, sends }: PendingCall): boolean {
    if (this.#owner.closeReason) return false
    if (options.type === 'subscription') return true
    if (sends > maxResends) return false
    try {
      return this.#resend(options)
    } catch (thrown) {
      // Called during the close of a duplex, whose owner catches nothing.
      this.#owner.report(thrown)
      return false
    }
  }

  #failClosed(call: PendingCall): void {
    const { closeReason, rejection } = this.#owner
    if (rejection === undefined) return call.fail(closedError(closeReason, call.mayHaveRun))
    // A copy: decoding takes the message over.
    const failure = { remote: structuredClone(rejection) }
    call.failWith(call.mayHaveRun ? { ...failure, sentBefore: true } : failure)
  }

  #liveWithRoom(): Live | undefined {
    const live = this.#owner.current
    return live?.hasRoom(this.#maxInFlight) ? live : undefined
  }

  #send(live: Live, call: PendingCall, time: number): void {
    live.calls.add(call)
    call.place = live
    try {
      live.send(call, call.message(time))
      call.sends++
    } catch (thrown) {
      this.#takeFrom(live, call)
      // Not encodable or too large: nothing was sent, and other calls are not concerned.
      if (thrown instanceof RpcError) queueMicrotask(() => call.fail(notSent(thrown, call.mayHaveRun)))
      else this.#failBroken(live, call, thrown)
    }
  }

  /** Fails the call at which a duplex broke down: sent again, the call might break every duplex. */
  #failBroken(live: Live, call: PendingCall, cause: unknown): void {
    live.breakDown(cause)
    const problem = `${call.options.path} was not sent: the duplex threw an error that is no RpcError`
    const error = new RpcError('SERVICE_UNAVAILABLE', problem, { reason: 'connection_lost', mayHaveRun: true, cause })
    queueMicrotask(() => call.fail(error))
  }

  /** Takes a call from the duplex on which it was sent. */
  #takeFrom(live: Live, call: PendingCall): void {
    live.calls.delete(call.id)
    if (call.place === live) call.place = 'queued'
    this.#owner.closeWhenDone(live)
  }
}

import type { CallEnd } from '../../shared/rpc/call-end.js'
import { CallTable } from '../../shared/rpc/call-table.js'
import { type Deadlines, now } from '../../shared/rpc/deadlines.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../shared/rpc/errors.js'
import { type ConnectionLimits, times } from '../../shared/rpc/limits.js'
import type { CallMessage } from '../../shared/rpc/messages.js'
import { turnBudget } from '../../shared/rpc/turn-budget.js'
import { Admission } from './admission.js'
import { Call } from './call.js'
import { isAbort, toTrpcError } from './error-shape.js'
import { invoke } from './invoke.js'
import { disposeIterable, isIterable } from './iterables.js'
import { cancelledUnstarted, draining } from './rejections.js'
import type { RespondedCall, Responses } from './responses.js'
import { RunningProcedures } from './running-procedures.js'
import { ConnectionStragglers, type Stragglers } from './stragglers.js'
import { pump } from './subscription.js'
import { type AnyRouter, TRPCError } from './trpc-internals.js'
import { withUnknownProcedure } from './unknown-procedure.js'

/** The parts of the connection that calls need. */
interface Owner {
  readonly state: 'opening' | 'open' | 'draining' | 'closed'
  readonly deadlines: Deadlines
  /** Closes for a peer that breaks the protocol. */
  closeInvalid(problem: string): void
  /** Asks the client to go on elsewhere, because too many procedures of this connection hang. */
  moveAway(error: RpcError): void
}

/** Settings of {@link ConnectionCalls}. */
export interface ConnectionCallsOptions {
  duplex: Duplex
  router: AnyRouter
  responses: Responses
  limits: ConnectionLimits
  /** of the connection's group */
  stragglers: Stragglers
  onCallEnd: ((end: CallEnd) => void) | undefined
}

/**
 * The calls of one connection:
 * ```
 * received ──▶ started ──▶ settled (one terminal message) ──▶ released (the procedure has returned)
 *     └──▶ rejected (the terminal message is an error)
 * ```
 * A cancel, a deadline or a lost connection settles a call first and aborts its signal; the call is released when its
 * procedure returns.
 */
export class ConnectionCalls {
  /** started and not settled */
  readonly calls = new CallTable<Call>()
  readonly running = new RunningProcedures()
  readonly #owner: Owner
  readonly #duplex: Duplex
  readonly #router: AnyRouter
  readonly #responses: Responses
  readonly #admission: Admission
  readonly #stragglers: ConnectionStragglers
  readonly #maxInFlight: number
  readonly #onCallEnd: ((end: CallEnd) => void) | undefined
  /** of subscriptions that wait for a slow reader */
  #drainWaiters: (() => void)[] | undefined

  constructor(owner: Owner, options: ConnectionCallsOptions) {
    const { duplex, router, responses, limits, stragglers, onCallEnd } = options
    this.#owner = owner
    this.#duplex = duplex
    this.#router = router
    this.#responses = responses
    this.#maxInFlight = limits.maxInFlight
    this.#onCallEnd = onCallEnd
    this.#admission = new Admission(this, duplex, this.running, limits)
    this.#stragglers = new ConnectionStragglers(stragglers, limits.maxInFlight, owner)
  }

  get state(): Owner['state'] {
    return this.#owner.state
  }

  get deadlines(): Deadlines {
    return this.#owner.deadlines
  }

  /** Takes a new call. */
  receive(message: CallMessage, batchIndex: number): void {
    if (this.state === 'draining') return this.#rejectDraining(message)
    const hanging = this.#stragglers.rejectionOf(message.params.path)
    const rejection = hanging ?? this.#admission.admit(message, batchIndex)
    if (rejection) this.#reject(message, rejection)
  }

  /** Ends the call with this id for its caller, held or started; does nothing without such a call. */
  cancel(id: string | number): void {
    const call = this.calls.get(id)
    if (!call) return this.#cancelHeld(id)
    const cancelled = new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun: true })
    if (call.type === 'subscription') this.stop(call)
    else this.#respondError(call, cancelled)
    call.abort(cancelled)
  }

  /** Starts held calls, and lets subscriptions go on, after the connection has got room or its context. */
  resume(): void {
    this.#resumeSubscriptions()
    this.#admission.startHeld()
  }

  /** Rejects all held calls: the client makes the calls elsewhere. */
  drain(): void {
    for (const message of this.#admission.takeAll()) this.#rejectDraining(message)
  }

  /** Whether a caller waits for the response of a query or mutation. */
  get isAwaited(): boolean {
    return [...this.calls.values()].some(call => call.type !== 'subscription')
  }

  /** Sends the error of a shutdown to queries and mutations, and aborts all calls. */
  abort(): void {
    const error = transportError('draining', 'the server shut down before the call ended', { mayHaveRun: true })
    for (const call of this.calls.values()) {
      if (call.type !== 'subscription') this.#respondError(call, error)
      this.#settleAndAbort(call, error)
    }
  }

  /** Ends all calls of a connection that has closed: no response can leave any more. */
  end(lost: RpcError): void {
    for (const call of this.calls.values()) this.#settleAndAbort(call, lost)
    for (const message of this.#admission.takeAll()) this.#reportUnstarted(message, lost)
    this.#resumeSubscriptions()
    this.running.reportIdle()
  }

  #resumeSubscriptions(): void {
    const waiters = this.#drainWaiters
    this.#drainWaiters = undefined
    for (const resume of waiters ?? []) resume()
  }

  /** Whether a subscription must wait before the next pull. */
  get full(): boolean {
    return this.#duplex.full
  }

  /** Calls `listener` once, when the peer has caught up or the connection has closed. */
  onDrained(listener: () => void): void {
    this.#drainWaiters ??= []
    this.#drainWaiters.push(listener)
  }

  /** Sends one event of a subscription. */
  sendData(call: Call, data: unknown, eventId?: string): void {
    this.#responses.sendData(call, data, eventId)
  }

  sendStarted(call: Call): void {
    this.#responses.sendStarted(call)
  }

  /** Sends the terminal message of a subscription that ran to its end or was stopped. */
  stop(call: Call): void {
    if (call.settled) return
    this.#settle(call)
    this.#responses.sendStopped(call)
  }

  /** Sends the terminal message of a call that failed. */
  fail(call: Call, thrown: unknown): void {
    if (!call.settled) this.#respondError(call, withUnknownProcedure(this.#router, call, thrown))
    // After a cancel, a deadline or a lost connection the peer has its response; only a fault of the procedure is worth
    // a report.
    else if (!isAbort(thrown)) this.report(call, thrown)
  }

  /** Reports a failure that the peer does not get. */
  report(call: Call, thrown: unknown): void {
    this.#responses.report(call, thrown)
  }

  /** Called by the admission for a call that may start. */
  start(message: CallMessage, batchIndex: number, waitedMs: number): void {
    const { timeoutMs = Infinity } = message.params
    if (timeoutMs <= waitedMs) {
      this.#admission.settled(message.method)
      turnBudget.giveBack()
      const problem = `not started within timeoutMs ${timeoutMs}`
      return this.#reject(message, new RpcError('TIMEOUT', problem, { mayHaveRun: false }))
    }
    const call = new Call(message, batchIndex, this.#router, this)
    if (this.#onCallEnd) call.startedAt = now() - waitedMs
    this.calls.add(call)
    this.running.add(call.type)
    if (call.type === 'subscription') {
      void pump(this, call, invoke(this.#router, this.#responses.context, call)).then(() => this.#release(call))
    } else void this.#run(call)
    if (timeoutMs <= times.maxCallTimeoutMs && !call.settled) call.setDeadline(timeoutMs, waitedMs)
  }

  async #run(call: Call): Promise<void> {
    try {
      const value = await invoke(this.#router, this.#responses.context, call)
      call.returned = true
      if (isIterable(value)) {
        disposeIterable(value, thrown => this.report(call, thrown))
        const message = `a ${call.type} cannot return an async iterable or observable on this link`
        if (!call.settled) throw new TRPCError({ code: 'UNSUPPORTED_MEDIA_TYPE', message })
      } else if (!call.settled) {
        this.#responses.sendData(call, value)
        this.#settle(call)
      }
    } catch (thrown) {
      call.returned = true
      this.fail(call, thrown)
    }
    this.#release(call)
  }

  #release(call: Call): void {
    if (call.straggler) this.#stragglers.delete(call.straggler)
    turnBudget.end()
    this.running.delete(call.type)
    this.#admission.startHeld()
  }

  #cancelHeld(id: string | number): void {
    const message = this.#admission.take(id)
    if (!message) return
    if (message.method !== 'subscription') return this.#reject(message, cancelledUnstarted)
    this.#reportUnstarted(message, undefined)
    if (this.#mayRespond()) this.#responses.sendStopped(respondedCall(message))
  }

  /** Ends a call whose deadline has passed. */
  expire(call: Call, timeoutMs: number): void {
    const error = new RpcError('TIMEOUT', `no response within timeoutMs ${timeoutMs}`, { mayHaveRun: true })
    this.#respondError(call, error)
    call.abort(error)
  }

  #respondError(call: Call, thrown: unknown): void {
    if (call.settled) return
    this.#settle(call, thrown)
    this.#responses.sendError(call, thrown)
  }

  /** Ends a call whose peer gets no response any more. */
  #settleAndAbort(call: Call, reason: RpcError): void {
    this.#settle(call, reason)
    call.abort(reason)
  }

  #settle(call: Call, error?: unknown): void {
    if (call.settled) return
    call.settled = true
    if (this.#onCallEnd) this.#reportEnd(call, now() - call.startedAt, error)
    call.clearDeadline()
    this.calls.delete(call.id)
    this.#admission.settled(call.type)
    if (!call.returned) call.straggler = this.#stragglers.add(call.path)
  }

  #rejectDraining(message: CallMessage): void {
    this.#reject(message, draining, 'draining')
  }

  /** Sends the error of a call that was not started. */
  #reject(message: CallMessage, error: RpcError, refused?: 'draining'): void {
    this.#reportUnstarted(message, error)
    if (refused || this.#mayRespond()) this.#responses.sendError(respondedCall(message), error, refused)
  }

  /**
   * Closes a connection whose unauthenticated peer provokes too many responses. Rejections by a drain do not count:
   * each held call gets one, and then the connection is closed.
   */
  #mayRespond(): boolean {
    if (this.#admission.mayRespondEarly()) return true
    this.#owner.closeInvalid(`more than ${this.#maxInFlight} calls were rejected or stopped before there was a context`)
    return false
  }

  #reportUnstarted({ method: type, params: { path } }: CallMessage, error: RpcError | undefined): void {
    if (this.#onCallEnd) this.#reportEnd({ type, path }, 0, error)
  }

  #reportEnd({ type, path }: Pick<CallEnd, 'type' | 'path'>, durationMs: number, error: unknown): void {
    observe(() => {
      const code = error === undefined ? undefined : toTrpcError(error).code
      this.#onCallEnd?.({ type, path, code, durationMs })
    })
  }
}

function observe(callback: () => void): void {
  try {
    callback()
  } catch {
    // An observer that throws must not change the peer's response, and no other observer is left.
  }
}

function respondedCall({ id, jsonrpc, method, params }: CallMessage): RespondedCall {
  return { id, jsonrpc, type: method, path: params.path }
}

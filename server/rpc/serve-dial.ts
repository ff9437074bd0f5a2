/**
 * Serves one tRPC router over duplexes that this side dials: the reversed link. The far side accepts them and calls.
 *
 * ```
 * connecting ──dial() returns a duplex──▶ open ──closed, or one end asks for a move──▶ waiting ──backoff──▶ connecting
 *     └─────────────dial() throws──────────────────────────────────────────────────────▲
 * any ──the group drains, a fatal DialError, or a final close code──▶ closed (final)
 * ```
 * The states and waits are those of a client's connection. A connection that one of the ends wants to leave stays until
 * its calls have their responses, while the next one is dialled.
 */
import { now } from '../../shared/rpc/deadlines.js'
import { DialError } from '../../shared/rpc/dial-error.js'
import { Dialler } from '../../shared/rpc/dialler.js'
import { type CloseReason, closeCodes, type Duplex } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { connectionLimits, times } from '../../shared/rpc/limits.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { type AbandonableConnection, type ServeDuplexOptions, serveAs } from './connection.js'
import { type CloseResult, ConnectionGroup } from './connection-group.js'
import type { ContextRequirement } from './context-handshake.js'
import type { AnyRouter } from './trpc-internals.js'
import { UnauthenticatedPeer } from './unauthenticated-peer.js'

/** Settings of {@link serveDial}. */
export interface ServeDialOptions<R extends AnyRouter>
  extends Omit<ServeDuplexOptions<R>, 'duplex' | 'group' | 'expectConnectionParams'> {
  /** Returns a fresh duplex each time, or throws: as the `dial` of a client's connection, such as `webSocketDial`. */
  dial: (info: { signal: AbortSignal }) => Duplex | Promise<Duplex>
  /** Counts the connections and their calls; its `close()` ends the service. Default: a group of its own. */
  group?: ConnectionGroup
  /**
   * Close codes of the far side after which this side does not dial again, beside 4401 and 4403: code → the reason for
   * which the code stands; `closed` resolves with it. Default: none.
   */
  finalCloseCodes?: Readonly<Record<number, string>>
  /** Called with the errors of dials, and of connections that were lost. */
  onDialError?: (error: Error) => void
  /** Returns the random part of each wait, in [0, 1): for tests and simulations. Default: `Math.random`. */
  random?: () => number
}

/** The state of a {@link DialledService}; `closed` is final. */
export type DialledServiceState = 'connecting' | 'open' | 'waiting' | 'closed'

/** A router that is served over the duplexes of a dial. */
export interface DialledService {
  readonly state: DialledServiceState
  /** Calls `listener` after each change of `state`. Returns a function that ends the calls of `listener`. */
  onStateChange(listener: (state: DialledServiceState) => void): () => void
  /** Resolves, never rejects, with the cause, when the service is closed for good and its last call has ended. */
  readonly closed: Promise<CloseReason>
  /** Closes the group, which lets calls in flight end, see {@link ConnectionGroup.close}. */
  close(options?: { graceMs?: number }): Promise<CloseResult>
}

/**
 * Dials at once, and serves a router on each duplex until the group is closed.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a `handshakeTimeoutMs` that is no time
 */
export function serveDial<R extends AnyRouter>(options: ServeDialOptions<R> & ContextRequirement<R>): DialledService {
  return new ServingDialler(options)
}

/** Final on every connection: the far side knows this one and rejects further connections. */
const alwaysFinal: ReadonlySet<number> = new Set([closeCodes.unauthorized, closeCodes.forbidden])

/** Connections that were left and have calls in flight. A rolling restart leaves a few, a far side that lies many. */
const maxLeft = 8

/** A connection that has not closed. */
interface Served {
  readonly connection: AbandonableConnection
  readonly openedAt: number
}

class ServingDialler implements DialledService {
  readonly closed: Promise<CloseReason>
  readonly #options: ServeDialOptions<AnyRouter>
  readonly #group: ConnectionGroup
  readonly #dialler: Dialler
  readonly #listeners = new Set<(state: DialledServiceState) => void>()
  #state: DialledServiceState = 'connecting'
  #current: Served | undefined
  /** oldest first */
  readonly #left = new Set<Served>()
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(options: ServeDialOptions<AnyRouter>) {
    // A wrong option would otherwise fail each dial.
    timeoutOf('handshakeTimeoutMs', options.handshakeTimeoutMs ?? times.handshakeTimeoutMs)
    this.#options = options
    this.#group = options.group ?? new ConnectionGroup()
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#dialler = new Dialler(options, this)
    const onDrain = (): void => this.#finish({ code: closeCodes.normal, message: 'closed by this side' })
    this.#group.onDrain(onDrain)
    if (this.#group.state === 'open') this.#dialler.dial()
    else onDrain()
  }

  get state(): DialledServiceState {
    return this.#state
  }

  onStateChange(listener: (state: DialledServiceState) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(options?: { graceMs?: number }): Promise<CloseResult> {
    return this.#group.close(options)
  }

  onDial(): void {
    this.#enter('connecting')
  }

  onWait(): void {
    this.#enter('waiting')
  }

  onDialFailed(error: Error): void {
    this.#report(error)
    if (!(error instanceof DialError && error.fatal)) return
    const { message, reason } = error
    this.#finish({ code: closeCodes.abnormal, message, ...(reason !== undefined && { reason }) })
  }

  onDialled(duplex: Duplex): void {
    const { dial: _dial, random: _random, limits, ...options } = this.#options
    const group = this.#group
    const peer = new UnauthenticatedPeer(group)
    const onMove = (): void => this.#move(served)
    const all = { ...connectionLimits, ...limits }
    const connection = serveAs({ ...options, duplex, group, limits: all, onMove }, peer)
    const served: Served = { connection, openedAt: now() }
    this.#current = served
    void connection.closed.then(reason => {
      peer.release()
      this.#lost(served, reason)
    })
    this.#enter('open')
  }

  /** Dials anew, because one of the ends wants to leave this connection; its calls in flight end there. */
  #move(served: Served): void {
    // The group drains: no further connection follows.
    if (served !== this.#current || this.#group.state !== 'open') return
    this.#left.add(served)
    this.#leave(served, 'one of the ends asked for another connection')
    this.#dialler.move()
    const [oldest] = this.#left
    if (!oldest || this.#left.size <= maxLeft) return
    oldest.connection.abandon({ code: closeCodes.goingAway, message: 'too many connections were left with calls' })
  }

  #lost(served: Served, given: CloseReason): void {
    this.#left.delete(served)
    if (this.#state === 'closed') return
    const finalReason = this.#options.finalCloseCodes?.[given.code]
    const reason = finalReason === undefined ? given : { reason: finalReason, ...given }
    const isFinal = finalReason !== undefined || alwaysFinal.has(reason.code)
    if (served === this.#current) {
      const message = `the connection was lost: ${reason.message} (${reason.code})`
      this.#leave(served, message)
      if (reason.code !== closeCodes.goingAway) this.#report(lostError(message, reason))
      if (!isFinal) this.#dialler.redial()
    }
    if (isFinal) this.#finish(reason, 0)
  }

  #leave({ connection, openedAt }: Served, why: string): void {
    this.#current = undefined
    const wasOfUse = connection.wasCalled || now() - openedAt >= times.reconnectResetMs
    this.#dialler.lost(why, wasOfUse)
  }

  /**
   * Dials no more, and closes when the last call has ended.
   * @param graceMs for calls on connections that were left; 0 for a far side that rejects this one
   */
  #finish(reason: CloseReason, graceMs: number = times.graceMs): void {
    if (this.#state === 'closed') return
    this.#dialler.stop()
    this.#enter('closed')
    this.#listeners.clear()
    // Not within a drain, which has no promise yet that a second close() could get.
    void Promise.resolve()
      .then(() => this.#group.close({ graceMs }))
      .then(() => this.#resolveClosed(reason))
  }

  #report(error: Error): void {
    try {
      this.#options.onDialError?.(error)
    } catch {
      // An observer that throws is the last observer; the error is lost.
    }
  }

  #enter(state: DialledServiceState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    for (const listener of [...this.#listeners]) {
      try {
        listener(state)
      } catch (thrown) {
        this.#report(thrown instanceof Error ? thrown : new Error(String(thrown)))
      }
    }
  }
}

function lostError(message: string, { reason = 'connection_lost' }: CloseReason): RpcError<string> {
  return new RpcError<string>('SERVICE_UNAVAILABLE', message, { reason })
}

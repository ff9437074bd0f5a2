import type { Socket } from 'node:net'
import { type CloseReason, closeCodes } from '../../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../../shared/rpc/errors.js'
import type { GroupMember, MemberObserver } from '../connection-group.js'
import { rejectUpgrade, type UpgradeDetails } from './upgrade-rejection.js'

/**
 * An upgrade without a decision yet. The connection group counts it, so that a shutdown rejects it and waits for the
 * end of its socket.
 *
 * ```
 * pending ──become()──▶ connected: a member of its own takes over
 *    └──reject(), timeout, drain, the client leaves──▶ rejected
 * ```
 */
export class UpgradeHandshake implements GroupMember {
  readonly activeCalls = 0
  /** Resolves when the upgrade has become a connection or its socket is gone. */
  readonly closed: Promise<CloseReason>
  /** Called for a socket that closes before the upgrade. */
  onSocketClosed: ((this: Socket) => void) | undefined
  readonly #socket: Socket
  readonly #lifetime = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #onRejected: ((error: RpcError<string>) => void) | undefined
  #state: 'pending' | 'rejected' | 'connected' = 'pending'
  #resolveClosed: (reason: CloseReason) => void = () => {}
  #observer: MemberObserver | undefined

  /** @param onRejected is called with the cause; its own errors are ignored */
  constructor(socket: Socket, timeoutMs: number, onRejected?: (error: RpcError<string>) => void) {
    this.#socket = socket
    this.#onRejected = onRejected
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#timer = setTimeout(() => {
      const problem = `the upgrade was not decided within handshakeTimeoutMs ${timeoutMs.toLocaleString('en')}`
      this.reject(new RpcError('SERVICE_UNAVAILABLE', problem, { reason: 'handshake_timeout' }))
    }, timeoutMs).unref()
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
  }

  get pending(): boolean {
    return this.#state === 'pending'
  }

  /** Aborts when a decision is of no use any more. */
  get signal(): AbortSignal {
    return this.#lifetime.signal
  }

  /** Leaves the socket to a connection. */
  become(): void {
    this.#decide('connected')
    this.#socket.off('error', this.#onError)
    this.#socket.off('close', this.#onClose)
    this.#end({ code: closeCodes.normal, message: 'it has become a connection' })
  }

  /** Sends the rejection and ends the socket. Does nothing after a decision. */
  reject(thrown: unknown, details?: UpgradeDetails): void {
    if (!this.pending) return
    this.#decide('rejected')
    rejectUpgrade(this.#socket, thrown, details)
    this.#lifetime.abort(thrown)
    try {
      this.#onRejected?.(RpcError.from(thrown))
    } catch {
      // The client has its response, and no other observer is left.
    }
  }

  #decide(state: 'rejected' | 'connected'): void {
    this.#state = state
    clearTimeout(this.#timer)
  }

  /** An error without a listener would end the process; `close` follows the error. */
  readonly #onError = (): void => {}

  readonly #onClose = (): void => {
    const reason = { code: closeCodes.abnormal, message: 'the socket closed before the upgrade' }
    if (this.pending) {
      this.#decide('rejected')
      this.#lifetime.abort(new RpcError('CLIENT_CLOSED_REQUEST', reason.message))
    }
    this.onSocketClosed?.call(this.#socket)
    this.#end(reason)
  }

  #end(reason: CloseReason): void {
    this.#observer?.onMemberClosed(this)
    this.#observer = undefined
    this.#resolveClosed(reason)
  }

  observeClose(observer: MemberObserver): void {
    this.#observer = observer
  }

  drain(): void {
    this.reject(transportError('draining', 'the server is draining'))
  }

  async whenIdle(): Promise<void> {}

  async whenReleased(): Promise<void> {}

  abortCalls(): void {}

  close(): void {
    this.drain()
  }

  terminate(): void {
    this.#socket.destroy()
  }
}

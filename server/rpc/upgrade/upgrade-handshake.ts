import type { Socket } from 'node:net'
import { type CloseReason, closeCodes } from '../../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../../shared/rpc/errors.js'
import type { GroupMember } from '../connection-group.js'
import { refuseUpgrade, type UpgradeDetails } from './upgrade-refusal.js'

/**
 * An upgrade that is not decided yet. It counts in the connection group, so that shutting down refuses it and waits until its socket is gone.
 *
 * ```
 * pending ──become()──▶ a connection of its own
 *    └──refuse(), timeout, drain, the client leaves──▶ refused
 * ```
 */
export class UpgradeHandshake implements GroupMember {
  readonly activeCalls = 0
  /** Resolves when it has become a connection or its socket is gone. */
  readonly closed: Promise<CloseReason>
  readonly #socket: Socket
  readonly #lifetime = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #onRefused: ((error: RpcError<string>) => void) | undefined
  #state: 'pending' | 'refused' | 'connected' = 'pending'
  #resolveClosed: (reason: CloseReason) => void = () => {}

  /** @param onRefused hears why; what it throws is left aside */
  constructor(socket: Socket, timeoutMs: number, onRefused?: (error: RpcError<string>) => void) {
    this.#socket = socket
    this.#onRefused = onRefused
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#timer = setTimeout(() => {
      const problem = `the upgrade was not decided within handshakeTimeoutMs ${timeoutMs.toLocaleString('en')}`
      this.refuse(new RpcError('SERVICE_UNAVAILABLE', problem, { reason: 'handshake_timeout' }))
    }, timeoutMs).unref()
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
  }

  get pending(): boolean {
    return this.#state === 'pending'
  }

  /** Aborts when the answer is of no use any more. */
  get signal(): AbortSignal {
    return this.#lifetime.signal
  }

  /** The socket belongs to a connection from now on. */
  become(): void {
    this.#leave('connected')
    this.#socket.off('error', this.#onError)
    this.#socket.off('close', this.#onClose)
    this.#resolveClosed({ code: closeCodes.normal, message: 'it has become a connection' })
  }

  refuse(thrown: unknown, details?: UpgradeDetails): void {
    if (!this.pending) return
    this.#leave('refused')
    refuseUpgrade(this.#socket, thrown, details)
    this.#lifetime.abort(thrown)
    try {
      this.#onRefused?.(RpcError.from(thrown))
    } catch {
      // The client has its answer, and there is nobody else to tell.
    }
  }

  #leave(state: 'refused' | 'connected'): void {
    this.#state = state
    clearTimeout(this.#timer)
  }

  /** Without a listener it would end the process; `close` follows. */
  readonly #onError = (): void => {}

  readonly #onClose = (): void => {
    const reason = { code: closeCodes.abnormal, message: 'the socket closed before the upgrade' }
    if (this.pending) {
      this.#leave('refused')
      this.#lifetime.abort(new RpcError('CLIENT_CLOSED_REQUEST', reason.message))
    }
    this.#resolveClosed(reason)
  }

  // ── what the connection group asks ──

  drain(): void {
    this.refuse(transportError('draining', 'the server is draining'))
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

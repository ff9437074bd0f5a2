import { type Deadline, type Deadlines, now } from '../../shared/rpc/deadlines.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { type ConnectionParams, InvalidMessage, parseConnectionParams } from '../../shared/rpc/messages.js'
import type { AnyRouter, inferRouterContext } from './trpc-internals.js'

/** Requires `createContext` for a router whose context has required members. tRPC's own adapters require the same. */
export type ContextRequirement<R extends AnyRouter> =
  object extends inferRouterContext<R> ? unknown : { createContext: unknown }

/** The facts of a connection when its context is made. */
export interface ConnectionInfo {
  /** aborts when the connection has closed */
  signal: AbortSignal
  /** the peer's values in place of headers; null for an unannounced handshake */
  connectionParams: ConnectionParams
  /** closes this connection */
  close(reason: CloseReason): void
}

export interface ContextHandshakeOptions {
  createContext: ((info: ConnectionInfo) => unknown) | undefined
  expectConnectionParams: boolean | undefined
  timeoutMs: number | undefined
}

/** The connection's functions that the handshake needs. The handshake calls one of the last two, once. */
interface Owner {
  readonly deadlines: Deadlines
  close(reason: CloseReason): void
  begin(context: unknown): void
  reject(thrown: unknown): void
}

/**
 * A connection's way to its context: the peer's parameters, if announced, and then the factory; both within one time.
 */
export class ContextHandshake {
  readonly #owner: Owner
  /** until the handshake is over: the factory holds on to the request */
  #options: ContextHandshakeOptions | undefined
  #state: 'params' | 'context' | 'over' = 'context'
  #deadline: Deadline | undefined
  /** for the factory; unused without a factory */
  #lifetime: AbortController | undefined

  constructor(owner: Owner, options: ContextHandshakeOptions) {
    this.#owner = owner
    this.#options = options
  }

  start(): void {
    if (!this.#options?.expectConnectionParams) return this.#makeContext(null)
    this.#state = 'params'
    this.#limitTime('connectionParams')
  }

  /** Whether a factory has the signal of this connection. */
  get hasSignal(): boolean {
    return this.#lifetime !== undefined
  }

  /** Returns whether the next message must be the parameters. */
  get expectsParams(): boolean {
    return this.#state === 'params'
  }

  takeParams(raw: object): void {
    this.#state = 'context'
    const message = parseConnectionParams(raw)
    if (message instanceof InvalidMessage) this.#reject(new RpcError('PARSE_ERROR', message.problem))
    else this.#makeContext(message.data)
  }

  /** Ends the handshake of a closed connection. */
  abort(reason: RpcError): void {
    this.#settle()
    this.#lifetime?.abort(reason)
  }

  #makeContext(connectionParams: ConnectionParams): void {
    const createContext = this.#options?.createContext
    if (!createContext) return this.#begin(undefined)
    const lifetime = new AbortController()
    this.#lifetime = lifetime
    let context: unknown
    try {
      context = createContext({
        signal: lifetime.signal,
        connectionParams,
        close: reason => this.#owner.close(reason),
      })
    } catch (error) {
      return this.#reject(error)
    }
    if (!isThenable(context)) return this.#begin(context)
    // Also if the factory itself has closed the connection: the promise's outcome changes nothing then.
    Promise.resolve(context).then(
      value => this.#begin(value),
      error => this.#reject(error),
    )
    if (this.#state !== 'over' && !this.#deadline) this.#limitTime('the context')
  }

  #limitTime(missing: string): void {
    const timeoutMs = this.#options?.timeoutMs ?? times.handshakeTimeoutMs
    const onDeadline = (): void => {
      const message = `${missing} did not come within handshakeTimeoutMs ${timeoutMs.toLocaleString('en')}`
      this.#reject(new RpcError('TIMEOUT', message, { reason: 'handshake_timeout', mayHaveRun: false }))
    }
    this.#deadline = { deadlineAt: now() + timeoutMs, onDeadline }
    this.#owner.deadlines.add(this.#deadline)
  }

  #begin(context: unknown): void {
    if (this.#settle()) this.#owner.begin(context)
  }

  #reject(thrown: unknown): void {
    if (this.#settle()) this.#owner.reject(thrown)
  }

  /** Returns whether the handshake was open until now. */
  #settle(): boolean {
    if (this.#state === 'over') return false
    this.#state = 'over'
    this.#options = undefined
    if (this.#deadline) this.#owner.deadlines.delete(this.#deadline)
    return true
  }
}

/** A factory of any program may return a promise of another library; taken for the context, it would admit anybody. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof Reflect.get(Object(value), 'then') === 'function'
}

import { type Deadline, type Deadlines, now } from '../../shared/rpc/deadlines.js'
import type { CloseReason } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { type ConnectionParams, InvalidMessage, parseConnectionParams } from '../../shared/rpc/messages.js'
import type { AnyRouter, inferRouterContext } from './trpc-internals.js'

/** Part of the options of a router whose context has required members: somebody has to make it. Also what tRPC's own adapters ask. */
export type ContextRequirement<R extends AnyRouter> =
  object extends inferRouterContext<R> ? unknown : { createContext: unknown }

/** What is known of a connection when its context is made. */
export interface ConnectionInfo {
  /** aborts when the connection has closed */
  signal: AbortSignal
  /** what the peer sent instead of headers; null if it announced nothing */
  connectionParams: ConnectionParams
  /** closes this connection */
  close(reason: CloseReason): void
}

export interface ContextHandshakeOptions {
  createContext: ((info: ConnectionInfo) => unknown) | undefined
  expectConnectionParams: boolean | undefined
  timeoutMs: number | undefined
}

/** What the handshake needs of its connection. It hears one of the last two, once. */
interface Owner {
  readonly deadlines: Deadlines
  close(reason: CloseReason): void
  begin(context: unknown): void
  reject(thrown: unknown): void
}

/** The way of a connection to its context: the peer's parameters, if they are announced, and then the factory; both within one time. */
export class ContextHandshake {
  readonly #owner: Owner
  /** until it is over: what makes the context holds on to the request */
  #options: ContextHandshakeOptions | undefined
  #state: 'params' | 'context' | 'over' = 'context'
  #deadline: Deadline | undefined
  /** for the factory, if there is one */
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

  /** Whether the next message is to be the parameters. */
  get expectsParams(): boolean {
    return this.#state === 'params'
  }

  takeParams(raw: object): void {
    this.#state = 'context'
    const message = parseConnectionParams(raw)
    if (message instanceof InvalidMessage) this.#reject(new RpcError('PARSE_ERROR', message.problem))
    else this.#makeContext(message.data)
  }

  /** The connection has closed. */
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
    if (!(context instanceof Promise)) return this.#begin(context)
    // Also where it is over already, as the factory has closed the connection: what becomes of the promise changes nothing then.
    context.then(
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

  /** Whether it was open until now. */
  #settle(): boolean {
    if (this.#state === 'over') return false
    this.#state = 'over'
    this.#options = undefined
    if (this.#deadline) this.#owner.deadlines.delete(this.#deadline)
    return true
  }
}

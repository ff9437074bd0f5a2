import { serializeForMessage } from '../../shared/rpc/json/transformer.js'
import type { CallType } from '../../shared/rpc/messages.js'
import type { CallFailure, CallObserver } from './call-observer.js'
import type { Connection } from './connection.js'
import { failureError, noResponse, notDecodable, notEncodable, remoteError } from './errors.js'
import { duplexLink } from './link.js'
import { SubscriptionIterator } from './subscription-iterator.js'
import { clientTransformer, type DataTransformer } from './transformer.js'
import {
  type AnyRouter,
  createTRPCUntypedClient,
  type TRPCClient,
  type TRPCClientError,
  type TransformerOptions,
} from './trpc-internals.js'

/** Options of one call. `context.timeoutMs` is the deadline in milliseconds, on both sides; `Infinity` is none. */
export interface ProcedureOptions {
  signal?: AbortSignal
  context?: { timeoutMs?: number }
}

const callTypes: { readonly [method: string]: CallType } = {
  query: 'query',
  mutate: 'mutation',
  subscribe: 'subscription',
}

/**
 * Makes a router's typed client straight on a connection: the same calls, types and errors as `createTRPCClient`,
 * without the chain of links. `client.posts.create.mutate(input, { signal, context: { timeoutMs } })`.
 *
 * A failed call rejects with a `TRPCClientError` whose `data` has `code`, and where applicable `reason`, `requestId`
 * and `mayHaveRun`.
 * @param options.transformer the router's; absent for a router that has none
 */
export function createDuplexClient<R extends AnyRouter>(
  options: { connection: Connection } & TransformerOptions<R>,
): TRPCClient<R> {
  const caller = new Caller(options.connection, clientTransformer(options))
  return stub(caller, '') as TRPCClient<R> // the proxy has exactly the paths of the type
}

/**
 * Makes one step of a path: `client.a.b`, and at the end `query`, `mutate` or `subscribe`. Each step is made once.
 * @param procedure the function that the step calls; the function is a step too, since a router or procedure may have
 *   the name of a call
 */
function stub(caller: Caller, path: string, procedure?: object): unknown {
  const steps: { [key: string]: unknown } = Object.assign(Object.create(null), procedure && functionMethods)
  return new Proxy(procedure ?? steps, {
    get(_target, key) {
      // An awaited or inspected client is no promise and no procedure.
      if (typeof key !== 'string' || key === 'then') return undefined
      const known = steps[key]
      if (known !== undefined) return known
      const type = path === '' || !Object.hasOwn(callTypes, key) ? undefined : callTypes[key]
      steps[key] = stub(caller, path === '' ? key : `${path}.${key}`, type && caller.procedure(type, path))
      return steps[key]
    },
  })
}

const { apply, bind, call } = Function.prototype
const functionMethods = { apply, bind, call }

type Subscribe = ReturnType<typeof createTRPCUntypedClient<AnyRouter>>['subscription']

class Caller {
  readonly #connection: Connection
  readonly #transformer: DataTransformer
  #subscribe: Subscribe | undefined

  constructor(connection: Connection, transformer: DataTransformer) {
    this.#connection = connection
    this.#transformer = transformer
  }

  procedure(type: CallType, path: string): object {
    if (type === 'subscription') {
      return (input: unknown, options?: Parameters<Subscribe>[2]) =>
        hasCallbacks(options) ? this.#subscription(path, input, options) : this.#iterate(path, input, options)
    }
    return (input: unknown, options?: ProcedureOptions) => this.#call(type, path, input, options)
  }

  /** A subscription is opened once and read many times, so tRPC's own client serves subscriptions with callbacks. */
  get #subscription(): Subscribe {
    if (!this.#subscribe) {
      const link = duplexLink({ connection: this.#connection, transformer: this.#transformer })
      const client = createTRPCUntypedClient<AnyRouter>({ links: [link] })
      this.#subscribe = client.subscription.bind(client) as Subscribe // bind() keeps only the last overload
    }
    return this.#subscribe
  }

  /** tRPC's own iterator keeps every item that its reader has not taken. */
  #iterate(path: string, input: unknown, options: ProcedureOptions | undefined): SubscriptionIterator {
    const { signal, context } = options ?? {}
    const call = { type: 'subscription', path, input, timeoutMs: context?.timeoutMs, signal } as const
    return new SubscriptionIterator(this.#connection, call, this.#transformer)
  }

  #call(type: CallType, path: string, input: unknown, options: ProcedureOptions | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let encoded: unknown
      try {
        encoded = serializeForMessage(this.#transformer, input)
      } catch (cause) {
        return reject(notEncodable(cause))
      }
      this.#connection.call(
        { type, path, input: encoded, timeoutMs: options?.context?.timeoutMs, signal: options?.signal },
        new PromiseObserver(resolve, reject, this.#transformer),
      )
    })
  }
}

function hasCallbacks(options: object | undefined): boolean {
  return options !== undefined && Object.values(options).some(value => typeof value === 'function')
}

/** Settles a promise with the one response of a query or mutation. */
class PromiseObserver implements CallObserver {
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: TRPCClientError<never>) => void
  readonly #transformer: DataTransformer

  constructor(
    resolve: (value: unknown) => void,
    reject: (error: TRPCClientError<never>) => void,
    transformer: DataTransformer,
  ) {
    this.#resolve = resolve
    this.#reject = reject
    this.#transformer = transformer
  }

  onData(data: unknown): void {
    let value: unknown
    try {
      value = this.#transformer.deserialize(data)
    } catch (cause) {
      return this.#reject(notDecodable(cause))
    }
    this.#resolve(value)
  }

  onError(failure: CallFailure): void {
    this.#reject(failureError(failure, this.#transformer))
  }

  /** No server ends a query or mutation like this; one that does has sent no response. */
  onStopped(): void {
    this.#reject(noResponse())
  }

  decodeError(encoded: unknown): Error {
    return remoteError(encoded, this.#transformer)
  }
}
